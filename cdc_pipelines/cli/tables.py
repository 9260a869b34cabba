"""`cdc resync|add-table|remove-table`: single tables of a running pipeline. The others stream on."""

from typing import Any

import click

from cdc_pipelines.cli.output import console, emit_json, holder, step_log

_json = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")


@click.command()
@click.argument("name")
@click.option("--table", "tables", multiple=True, help="A table, by its name on the source; may be given repeatedly.")
@_json
def resync(name: str, tables: tuple[str, ...], as_json: bool) -> None:
    """Copy tables of pipeline NAME again, one after the other, while everything streams on.

    Readers see the old rows, and then the new ones, never an empty table. Without --table the whole pipeline is copied
    again, into emptied tables, as by `cdc start NAME --force-resync`.
    """
    from cdc_pipelines.cli.progress import telling_progress
    from cdc_pipelines.replication.lanes.requests import resync_table
    from cdc_pipelines.replication.operations.runtime import Runtime
    from cdc_pipelines.replication.operations.start import start

    with Runtime.open(name) as rt, telling_progress(quiet=as_json) as progress:
        log = step_log(name, quiet=as_json)
        if not tables:
            outcome = start(rt, log, force_resync=True, holder=holder(), progress=progress)
        joined = [
            resync_table(rt, log, table, holder=holder(), progress=progress) for table in dict.fromkeys(tables)
        ]
    if not tables:
        emit_json(outcome) if as_json else console.print(f"{name}: copied again, and running")
        return
    outcomes = [_outcome(name, each) for each in joined]
    if as_json:
        emit_json(outcomes)
        return
    for each in outcomes:
        console.print(f"{name}.{each['table']}: copied again, {each['rows']:,} rows, {each['seconds']} s in all")


@click.command()
@click.argument("name")
@click.argument("table")
@click.option("--target", help="Its name on the target, where that is another.")
@_json
def add_table(name: str, table: str, target: str | None, as_json: bool) -> None:
    """Take TABLE of the source into running pipeline NAME: copied beside the stream, then joined to it."""
    from cdc_pipelines.cli.progress import telling_progress
    from cdc_pipelines.replication.lanes.requests import add_table as add
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt, telling_progress(quiet=as_json) as progress:
        joined = add(rt, step_log(name, quiet=as_json), table, holder=holder(), target=target, progress=progress)
    if as_json:
        emit_json({"pipeline": name, "table": table, "added": False} if joined is None else _outcome(name, joined))
    elif joined is None:
        console.print(f"{name}.{table}: the pipeline has it already")
    else:
        console.print(f"{name}.{table}: added, {joined.rows:,} rows. Name it in the pipeline's file too.")


@click.command()
@click.argument("name")
@click.argument("table")
@click.option("--drop-table", is_flag=True, help="Drop its target table too.")
@_json
def remove_table(name: str, table: str, drop_table: bool, as_json: bool) -> None:
    """Leave TABLE out of running pipeline NAME from now on. Its target table stays, unless asked."""
    from cdc_pipelines.replication.lanes.requests import remove_table as remove
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt:
        removed = remove(rt, step_log(name, quiet=as_json), table, holder=holder(), drop=drop_table)
    if as_json:
        emit_json({"pipeline": name, "table": table, "removed": removed})
    else:
        words = "left out. Take it out of the pipeline's file too." if removed else "the pipeline does not have it"
        console.print(f"{name}.{table}: {words}")


def _outcome(pipeline: str, joined: Any) -> dict[str, Any]:
    return joined_facts(pipeline, joined) | {"added": True}


def joined_facts(pipeline: str, joined: Any) -> dict[str, Any]:
    """What became of a table that was copied beside the stream."""
    return {
        "pipeline": pipeline,
        "table": joined.table.name,
        "target": f"{joined.table.target_schema}.{joined.table.target_name}",
        "rows": joined.rows,
        "how": joined.how,
        "seconds": round(joined.seconds, 1),
    }
