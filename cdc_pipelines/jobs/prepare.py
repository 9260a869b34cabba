"""`discover` and `configure`: everything before a start. Nothing here writes to a target or to Kafka."""

from pathlib import Path

import dagster as dg

from cdc_pipelines.assets.declared import configured_pipelines
from cdc_pipelines.jobs.config import FileConfig
from cdc_pipelines.jobs.single import job_of
from cdc_pipelines.replication.operations.configure import configure as configure_pipeline
from cdc_pipelines.replication.operations.discover import discover as discover_source
from cdc_pipelines.replication.operations.saving import configure_and_write
from cdc_pipelines.replication.pipeline_file import load_pipeline, parse_pipeline
from cdc_pipelines.resources.failures import RETRIES, explained
from cdc_pipelines.resources.pipelines import PipelinesResource, tag_run
from cdc_pipelines.resources.webserver import load_anew
from cdc_pipelines.schedules.shown import shown


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def discover_tables(context: dg.OpExecutionContext, config: FileConfig) -> None:
    """List the tables of a pipeline file's source: columns, keys, sizes, and which columns can't be replicated."""
    with explained(context, config.file):
        spec = parse_pipeline(config.text, Path(config.file)) if config.text else load_pipeline(config.file)
        found = discover_source(spec.source)
    columns = ("table", "columns", "key", "rows (estimate)", "MiB", "what can't be replicated")
    rows = []
    for table in found.tables:
        unsupported = ", ".join(f"{name} ({kind})" for name, kind in found.unsupported(table).items())
        without = found.why_not(table) or unsupported
        values = (
            table.name, len(table.columns), ", ".join(table.key) or "none", table.rows_estimate,
            round(table.data_bytes / 2**20, 1), without or "none",
        )
        context.log.info("%s: %d columns, key (%s), about %d rows, %.1f MiB, what can't be replicated: %s", *values)
        rows.append(dg.TableRecord(dict(zip(columns, values, strict=True))))
    schema = dg.TableSchema([dg.TableColumn(name) for name in columns])
    context.add_output_metadata({"tables": dg.MetadataValue.table(records=rows, schema=schema)})


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def configure_file(context: dg.OpExecutionContext, config: FileConfig, pipelines: PipelinesResource) -> None:
    """Check a pipeline's file against its live source and save it, status `configured`. Creates nothing else.

    With a `text` the file is written first: a pipeline can be set up without leaving the Launchpad.
    """
    with explained(context, config.file), pipelines.store() as store:
        before = shown(configured_pipelines(store))
        if config.text:
            result = configure_and_write(config.text, Path(config.file), store)
        else:
            result = configure_pipeline(config.file, store)
        other = shown(configured_pipelines(store)) != before
    record = result.record
    assert record is not None  # it was saved
    tag_run(context, record.name)
    context.log.info(
        "pipeline %s is %s: %d tables, connector %s", record.name, "saved" if result.created else "updated",
        len(record.tables), record.spec.connector_name,
    )
    for change in result.changes:
        context.log.info("changed: %s", change)
    if result.needs_resync:
        context.log.warning("The target holds the old mapping: launch start_replication with force_resync.")
    step = load_anew(context.log) if other else "Dagster shows its tables and schedules already."
    context.log.info(step)
    context.add_output_metadata(
        {
            "pipeline": record.name,
            "id": record.config,
            "status": record.status,
            "connector": record.spec.connector_name,
            "topic prefix": record.spec.topic_prefix,
            "tables": "\n".join(f"{t.name} → {t.target_schema}.{t.target_name}" for t in record.tables),
            "changes": "; ".join(map(str, result.changes)) or "none",
            "needs force_resync": result.needs_resync,
            "next step": dg.MetadataValue.md(step),
        }
    )


discover = job_of(discover_tables, name="discover", config=FileConfig)
configure = job_of(configure_file, name="configure", config=FileConfig)
