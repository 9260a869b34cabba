"""`verify_replication`: are both sides equal, at one position of the source?"""

import dagster as dg

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
            rows_per_second=config.rows_per_second,
        )
        for table in report.tables:
            context.log_event(
                dg.AssetObservation(
                    table_key(config.pipeline, table.table),
                    description=f"{'equal to' if table.equal else 'DIFFERS from'} its source",
                    metadata=_metadata(table, report.position),
                )
            )
    if not report.equal:
        different = [t for t in report.tables if not t.equal]
        raise dg.Failure(
            f"pipeline {config.pipeline}: the sides differ in "
            + ", ".join(f"{t.table} ({_count(t)})" for t in different),
            metadata={f"differences of {t.table}": _differences(t) for t in different}
            | {
                "next step": dg.MetadataValue.md(
                    "Find out who writes to the target beside the pipeline; then launch `verify_replication` with "
                    "`repair`, which writes the rows that differ anew."
                )
            },
            allow_retries=False,
        )
    context.log.info("both sides are equal: %d tables at %s", len(report.tables), report.position)
    context.add_output_metadata({"tables": len(report.tables), "rows": sum(t.rows_source for t in report.tables)})


def _count(table: TableVerified) -> str:
    return f"{table.difference_count:,} rows" if table.complete else f"{table.difference_count:,} rows and more"


def _metadata(table: TableVerified, position: str) -> dict[str, object]:
    return {
        "dagster/row_count": table.rows_target,
        "rows on the source": table.rows_source,
        "differences": table.difference_count,
        "position": position,
        "seconds": round(table.seconds, 3),
    } | ({"differences repaired": table.repaired.differences} if table.repaired else {})


def _differences(table: TableVerified) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({"kind": d.kind, "key": str(d.key), "columns": ", ".join(d.columns)})
            for d in table.differences
        ],
        schema=dg.TableSchema([dg.TableColumn(n) for n in ("kind", "key", "columns")]),
    )


verify_replication = job_of(compare_tables, name="verify_replication", config=VerifyConfig)
