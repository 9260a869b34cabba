"""`cdc incidents|heal`: when pipelines were not healthy, what was done; mend one now."""

import sys
from dataclasses import asdict

import click

from cdc_pipelines.cli.output import console, emit_json, grid, holder, step_log


@click.command()
@click.argument("name", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="How many, the newest first.")
@click.option("--json", "as_json", is_flag=True)
def incidents(name: str | None, limit: int, as_json: bool) -> None:
    """Times in which pipelines (or pipeline NAME) were not healthy. Dagster's sensor `replication_health` sees them."""
    from cdc_pipelines.replication.control.store import ControlStore

    store = ControlStore.open()
    if name is not None:
        store.get(name)
    found = store.incidents(name, limit)
    if as_json:
        emit_json(
            [
                asdict(each) | {"seconds": each.seconds, "actions": [asdict(a) for a in store.actions(each.id)]}
                for each in found
            ]
        )
        return
    grid(
        ["incident", "pipeline", "worst", "opened (UTC)", "lasted", "problems"],
        [
            [
                str(each.id), each.pipeline, each.worst, f"{each.opened_at:%Y-%m-%d %H:%M:%S}",
                f"{each.seconds:,.0f} s" + ("" if each.resolved_at else ", still open"),
                ", ".join(p.kind for p in each.problems),
            ]
            for each in found
        ],
    )
    for each in (each for each in found if each.resolved_at is None):
        for problem in each.problems:
            console.print(f"! {each.pipeline}: {problem.message}; {problem.next_step}", markup=False)
        for action in store.actions(each.id):
            console.print(f"  {action.at:%H:%M:%S} {action.action}: {action.outcome} {action.message}", markup=False)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True)
def heal(name: str, as_json: bool) -> None:
    """Mend pipeline NAME now: restart failed tasks or its consumer, make a deleted connector anew.

    Exit code 3 where it is not healthy afterwards.
    """
    from cdc_pipelines.replication.health import healing
    from cdc_pipelines.replication.health.status import status
    from cdc_pipelines.replication.operations.runtime import Runtime

    log = step_log(name, quiet=as_json)
    with Runtime.open(name) as rt:
        with rt.store.lease(name, holder(), "heal"):
            done = healing.heal(rt, log)
        done = "; ".join(filter(None, (done, healing.heal_tables(rt, log, holder()))))
        incident = rt.store.open_incident(name)
        if incident is not None:
            rt.store.record_action(incident.id, "heal", "done", f"by hand: {done}")
        overall = status(rt)["overall"]
    if as_json:
        emit_json({"pipeline": name, "done": done, "overall": overall})
    else:
        console.print(f"{name}: {done}; it is {overall}", markup=False)
    sys.exit(0 if overall == "healthy" else 3)
