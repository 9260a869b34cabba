"""One asset check per replicated table: is it equal to its source?

"Execute" in the UI compares that table, under load, at one position of the source. What is compared elsewhere, by the
job, the command line or the background, shows under the same check.
"""

from collections.abc import Iterable, Iterator

import dagster as dg

from cdc_pipelines.assets.declared import DeclaredPipeline, DeclaredTable
from cdc_pipelines.assets.metadata import compared_metadata
from cdc_pipelines.assets.names import node_name, table_key
from cdc_pipelines.replication.verify import verify
from cdc_pipelines.resources.failures import RETRIES
from cdc_pipelines.resources.pipelines import PipelinesResource

EQUAL_TO_SOURCE = "equal_to_source"
_OUT = "compared"


def equality_checks(pipelines: Iterable[DeclaredPipeline]) -> Iterator[dg.AssetChecksDefinition]:
    """The check of every table of every pipeline."""
    for pipeline in pipelines:
        for table in pipeline.tables:
            yield _check(pipeline.name, table)


def _check(name: str, table: DeclaredTable) -> dg.AssetChecksDefinition:
    key = table_key(name, table.name)

    spec = dg.AssetCheckSpec(
        EQUAL_TO_SOURCE, asset=key,
        description=f"Every row of `{table.name}` on the source is on the target, with the same values, and no other: "
        "compared at one position of the source, while changes flow.",
    )

    @dg.op(
        name=f"verify__{node_name(name, table.name)}", ins={"table": dg.In(dg.Nothing)}, out={_OUT: dg.Out(None)},
        retry_policy=RETRIES,
    )
    def check(context: dg.OpExecutionContext, pipelines: PipelinesResource) -> dg.AssetCheckResult:
        """Compare one table with its source."""
        with pipelines.operation(context, name, "verify") as rt:
            (compared,) = verify(rt, context.log, tables=[table.name], by="dagster").tables
        return dg.AssetCheckResult(
            asset_key=key, check_name=EQUAL_TO_SOURCE, passed=compared.equal, metadata=compared_metadata(compared)
        )

    # By hand: the decorators make names from the table's, which Dagster refuses where it is called `order lines`.
    return dg.AssetChecksDefinition.create(
        node_def=check, keys_by_input_name={"table": key}, check_specs_by_output_name={_OUT: spec}, can_subset=False
    )
