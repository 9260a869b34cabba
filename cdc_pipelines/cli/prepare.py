"""`cdc discover|configure|check|schema`: everything before a start; nothing here writes to a target."""

import sys
from pathlib import Path

import click

from cdc_pipelines.cli.output import console, emit_json, grid


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--type", "kind", type=click.Choice(["mysql", "mariadb"]), default="mysql", show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default="3306", show_default=True, help="Port, or a ${env:NAME} reference.")
@click.option("--database", help="Database (schema) to look into.")
@click.option("--user", default="cdc", show_default=True)
@click.option(
    "--password", default="${env:CDC_SOURCE_PASSWORD}", show_default=True, help="A reference, never the password."
)
@click.option("--name", default=None, help="Name of the proposed pipeline; the database's by default.")
@click.option("--client", default=1, show_default=True)
@click.option("--config", default=1, show_default=True)
@click.option("--target-schema", default=None, help="Target schema; the database's name by default.")
@click.option("--tables", "only_tables", is_flag=True, help="List the tables instead of printing a pipeline file.")
@click.option("--json", "as_json", is_flag=True, help="Print tables and columns as JSON.")
def discover(
    file: str | None,
    kind: str,
    host: str,
    port: str,
    database: str | None,
    user: str,
    password: str,
    name: str | None,
    client: int,
    config: int,
    target_schema: str | None,
    only_tables: bool,
    as_json: bool,
) -> None:
    """Look at a source and print a complete pipeline file for it.

    The source is that of an existing pipeline FILE, or is given by the options.
    """
    import re

    from pydantic import ValidationError

    from cdc_pipelines.replication.catalog import to_json
    from cdc_pipelines.replication.operations.discover import discover as look
    from cdc_pipelines.replication.pipeline import Source
    from cdc_pipelines.replication.pipeline_file import load_pipeline

    if file:
        source = load_pipeline(file).source
    elif not database:
        raise click.UsageError("give --database, or a pipeline FILE whose source is meant.")
    else:
        try:
            source = Source(
                type=kind,
                host=host,
                port=int(port) if port.isdigit() else port,
                database=database,
                user=user,
                password=password,
            )
        except ValidationError as error:
            raise click.UsageError("; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())) from None
    found = look(source)
    if as_json:
        import json

        emit_json([json.loads(to_json(t)) for t in found.tables])
    elif only_tables:
        grid(
            ["table", "columns", "key", "rows (estimate)", "bytes"],
            [[t.name, len(t.columns), ", ".join(t.key) or "-", t.rows_estimate, t.data_bytes] for t in found.tables],
        )
    else:
        chosen = name or re.sub(r"[^a-z0-9_]", "_", source.database.lower())
        target = {
            "type": "postgres",
            "host": "127.0.0.1",
            "port": 5432,
            "database": "cdc_target",
            "schema": target_schema or source.database,
            "user": "cdc",
            "password": "${env:CDC_TARGET_PASSWORD}",
        }
        click.echo(found.pipeline_yaml(chosen, client=client, config=config, target=target), nl=False)


@click.command()
@click.argument("file", type=click.Path())
@click.option("--plan", is_flag=True, help="Save nothing; tell what saving would change, and when it takes effect.")
@click.option("--json", "as_json", is_flag=True)
def configure(file: str, plan: bool, as_json: bool) -> None:
    """Check a pipeline FILE against its live source and save it (status `configured`). Creates nothing else."""
    from cdc_pipelines.replication.control.store import ControlStore
    from cdc_pipelines.replication.operations.configure import configure as save
    from cdc_pipelines.replication.pipeline_file import load_pipeline

    load_pipeline(file)  # an unreadable file is told before the store is opened
    result = save(Path(file), ControlStore.open(), plan=plan)
    spec, record = result.spec, result.record
    status = record.status if record else "not configured"
    if as_json:
        emit_json(
            {
                "pipeline": spec.name,
                "id": spec.config,
                "status": status,
                "is_active": record is not None and record.is_active,
                "created": result.created,
                "saved": not plan,
                "changes": [str(change) for change in result.changes],
                "needs_resync": result.needs_resync,
                "connector_name": spec.connector_name,
                "kafka_topic_prefix": spec.topic_prefix,
                "tables": {t.name: f"{t.target_schema}.{t.target_name}" for t in result.tables},
            }
        )
        return
    done = "would be" if plan else "is"
    console.print(
        f"{spec.name} {done} {'saved' if result.created else 'updated'}, status {status}, "
        f"{len(result.tables)} tables, connector {spec.connector_name}", markup=False,
    )
    for change in result.changes:
        console.print(f"  {change.what}: {change.effect}" if plan else f"  changed: {change}", markup=False)
    if not result.created and not result.changes:
        console.print("  nothing changes")
    if result.needs_resync:
        console.print(f"  The target holds the old mapping: {'then ' if plan else ''}run `cdc start {spec.name} "
                      "--force-resync`.")  # fmt: skip
    elif not plan:
        console.print(f"  Next: `cdc check {spec.name}`, then `cdc start {spec.name}`.")


@click.command()
@click.argument("name")
@click.option("--force-resync", is_flag=True, help="The prerequisites of a start that copies everything again.")
@click.option("--json", "as_json", is_flag=True)
def check(name: str, force_resync: bool, as_json: bool) -> None:
    """Check every prerequisite of a start of pipeline NAME. Writes nothing; exit code 2 if one is not met.

    The addresses of its alerts, too; only for these a start does not wait.
    """
    from cdc_pipelines.replication.alerts.channels import check_channels
    from cdc_pipelines.replication.operations.check import check as look
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt:
        results = [*look(rt, force_resync=force_resync), *check_channels(rt.pipeline.alerts)]
    if as_json:
        emit_json([{"name": r.name, "ok": r.ok, "message": r.message, "fix": r.fix} for r in results])
    else:
        for result in results:
            console.print(f"{'ok ' if result.ok else 'NOT'} {result.name}: {result.message}", markup=False)
            for line in result.fix.splitlines() if not result.ok else []:
                console.print(f"      fix: {line}", markup=False)
    sys.exit(0 if all(r.ok for r in results) else 2)


@click.command()
def schema() -> None:
    """Print the JSON Schema of a pipeline file, for editors."""
    from cdc_pipelines.replication.pipeline_file import json_schema

    click.echo(json_schema(), nl=False)
