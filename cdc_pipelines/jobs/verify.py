"""`verify_replication`: are both sides equal, at one position of the source?"""

import dagster as dg

from cdc_pipelines.assets.checks import EQUAL_TO_SOURCE
from cdc_pipelines.assets.metadata import compared_metadata, differences_table
from cdc_pipelines.assets.names import table_key
from cdc_pipelines.jobs.config import VerifyConfig
from cdc_pipelines.jobs.single import job_of
from cdc_pipelines.replication.verify import TableVerified, verify
from cdc_pipelines.resources.failures import RETRIES
from cdc_pipelines.resources.pipelines import PipelinesResource


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def compare_tables(context: dg.OpExecutionContext, config: VerifyConfig, pipelines: PipelinesResource) -> None:
    """Compare both sides of a pipeline row by row, while it runs. Fails, naming keys and columns, where they differ."""
    with pipelines.operation(context, config.pipeline, "verify") as rt:
        report = verify(
            rt, context.log, tables=config.tables or None, max_keys=config.max_keys, repair=config.repair,
            rows_per_second=config.rows_per_second, by="dagster",
        )
        for table in report.tables:
            context.log_event(
                dg.AssetObservation(
                    table_key(config.pipeline, table.table),
                    description="not compared with its source" if table.left_out
                    else f"{'equal to' if table.equal else 'DIFFERS from'} its source",
                    metadata=compared_metadata(table),
                )
            )
            context.log_event(
                dg.AssetCheckEvaluation(
                    asset_key=table_key(config.pipeline, table.table), check_name=EQUAL_TO_SOURCE, passed=table.equal,
                    metadata=compared_metadata(table),
                )
            )
    if not report.equal:
        different = [t for t in report.tables if not t.equal and not t.left_out]
        left_out = [t for t in report.tables if t.left_out]
        told = [f"the sides differ in {', '.join(f'{t.table} ({_count(t)})' for t in different)}"] if different else []
        told += [f"table {t.table} was not compared, it {t.left_out}" for t in left_out]
        raise dg.Failure(
            f"pipeline {config.pipeline}: {'; '.join(told)}",
            metadata={f"differences of {t.table}": differences_table(t.differences) for t in different}
            | {
                "next step": dg.MetadataValue.md(
                    "Find out who writes to the target beside the pipeline; then launch `verify_replication` with "
                    "`repair`, which writes the rows that differ anew."
                    if different else "See `cdc quarantine list`: a table that is released is copied again."
                )
            },
            allow_retries=False,
        )
    context.log.info("both sides are equal: %d tables at %s", len(report.tables), report.position)
    context.add_output_metadata({"tables": len(report.tables), "rows": sum(t.rows_source for t in report.tables)})


def _count(table: TableVerified) -> str:
    return f"{table.wrong:,} rows" if table.complete else f"{table.wrong:,} rows and more"


verify_replication = job_of(compare_tables, name="verify_replication", config=VerifyConfig)
