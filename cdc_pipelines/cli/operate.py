"""`cdc start|stop|restart|teardown`: what moves a pipeline from one state to another."""

import click

from cdc_pipelines.cli.output import console, emit_json, holder, step_log

_json = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")


@click.command()
@click.argument("name")
@click.option("--force-resync", is_flag=True, help="Throw the copied state away and copy everything again.")
@_json
def start(name: str, force_resync: bool, as_json: bool) -> None:
    """Start pipeline NAME: validate, copy, connector, consumer. Run again, it finishes what is missing."""
    from cdc_pipelines.cli.progress import telling_progress
    from cdc_pipelines.replication.operations.runtime import Runtime
    from cdc_pipelines.replication.operations.start import start as begin

    with Runtime.open(name) as rt, telling_progress(quiet=as_json) as progress:
        outcome = begin(
            rt, step_log(name, quiet=as_json), force_resync=force_resync, holder=holder(), progress=progress
        )
    if as_json:
        emit_json(outcome)
    else:
        console.print(
            f"{name}: running, {sum(outcome['tables'].values()):,} rows copied, {outcome['seconds']} s in all"
        )


@click.command()
@click.argument("name")
@_json
def stop(name: str, as_json: bool) -> None:
    """Stop pipeline NAME: its consumer ends, its connector pauses. Nothing is lost."""
    from cdc_pipelines.replication.operations import lifecycle
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt, rt.store.lease(name, holder(), "stop"):
        outcome = lifecycle.stop(rt, step_log(name, quiet=as_json))
    emit_json(outcome) if as_json else console.print(f"{name}: stopped")


@click.command()
@click.argument("name")
@_json
def restart(name: str, as_json: bool) -> None:
    """Stop pipeline NAME, wait a moment and start it where it was. Nothing is copied."""
    from cdc_pipelines.replication.operations import lifecycle
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt, rt.store.lease(name, holder(), "restart"):
        outcome = lifecycle.restart(rt, step_log(name, quiet=as_json))
    emit_json(outcome) if as_json else console.print(f"{name}: running")


@click.command()
@click.argument("name")
@click.option("--drop-tables", is_flag=True, help="Drop the target tables too.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@_json
def teardown(name: str, drop_tables: bool, yes: bool, as_json: bool) -> None:
    """Take pipeline NAME down: connector, offsets, topics and our records go; target tables stay unless asked."""
    from cdc_pipelines.replication.errors import NotConfiguredError
    from cdc_pipelines.replication.operations import lifecycle
    from cdc_pipelines.replication.operations.runtime import Runtime

    if not yes:
        what = f"pipeline {name}{' and drop its target tables' if drop_tables else ''}"
        click.confirm(f"Tear down {what}?", abort=True, err=True)
    try:
        rt = Runtime.open(name)
    except NotConfiguredError:
        emit_json({"pipeline": name, "consumer": "was not running", "dropped": []}) if as_json else console.print(
            f"{name}: nothing to tear down"
        )
        return
    with rt, rt.store.lease(name, holder(), "teardown"):
        outcome = lifecycle.teardown(rt, step_log(name, quiet=as_json), drop_tables=drop_tables)
    emit_json(outcome) if as_json else console.print(f"{name}: torn down")
