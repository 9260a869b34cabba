"""`cdc schema-changes`: what changed in the source's schema, and what was done about it."""

import click

from cdc_pipelines.cli.output import console, emit_json, grid


@click.command()
@click.argument("name")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="How many, the newest first.")
@click.option("--json", "as_json", is_flag=True)
def schema_changes(name: str, limit: int, as_json: bool) -> None:
    """The schema changes that pipeline NAME met while it streamed, and what was done about each."""
    from cdc_pipelines.replication.databases.postgres.connection import server_errors
    from cdc_pipelines.replication.databases.postgres.schema_log import latest
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt, rt.target("schema-changes") as (conn, state), server_errors("reading its changes"):
        found = latest(conn, name, limit) if state.exists() else []
    if as_json:
        emit_json(found)
        return
    if not found:
        console.print(f"{name}: no schema change was met so far", markup=False)
        return
    grid(
        ["made (UTC)", "table", "kind", "done", "what", "statement"],
        [
            [(each["at"] or each["seen_at"])[:19].replace("T", " "), each["table"], each["kind"], each["done"],
             each["what"], each["statement"][:120]]
            for each in found
        ],
    )
