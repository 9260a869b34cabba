"""One asset per replicated table, partitioned by chunk, and the source table upstream of it.

"Materialize" on a partition in the UI copies that chunk, by the same function as `start_replication`'s steps.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta

import dagster as dg

from cdc_pipelines.assets.declared import DeclaredPipeline, DeclaredTable
from cdc_pipelines.assets.metadata import chunk_metadata, source_metadata, target_metadata
from cdc_pipelines.assets.names import ChunkPartition, node_name, partitions_name, source_key, table_key
from cdc_pipelines.assets.observations import FRESH_FAIL_S, FRESH_WARN_S
from cdc_pipelines.replication.copy.chunk import Chunk
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.operations import start as engine
from cdc_pipelines.resources.failures import RETRIES
from cdc_pipelines.resources.pipelines import PipelinesResource

COPY_POOL = "cdc_copy"
_FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(seconds=FRESH_FAIL_S), warn_window=timedelta(seconds=FRESH_WARN_S)
)


def replicated_tables(pipelines: Iterable[DeclaredPipeline]) -> Iterator[dg.AssetsDefinition | dg.AssetSpec]:
    """Target and source asset of every table of every pipeline."""
    for pipeline in pipelines:
        for table in pipeline.tables:
            yield _source_table(pipeline, table)
            yield _target_table(pipeline, table)


def _source_table(pipeline: DeclaredPipeline, table: DeclaredTable) -> dg.AssetSpec:
    source = pipeline.spec.source
    return dg.AssetSpec(
        key=source_key(pipeline.name, table.name),
        group_name=pipeline.name,
        kinds={source.type},
        description=f"Table `{table.name}` of the {source.type} database `{source.database}`: where the rows come from."
        + (f"\n\n{comment}" if (comment := table.mapped.source.comment if table.mapped else "") else ""),
        metadata=source_metadata(pipeline, table),
    )


def _target_table(pipeline: DeclaredPipeline, table: DeclaredTable) -> dg.AssetsDefinition:
    name, table_name = pipeline.name, table.name

    # `multi_asset` of one: unlike `asset` it lets us name step, input and output, for which Dagster's own names,
    # made from the key, are refused as soon as a table is called `order lines` or `größen`.
    @dg.multi_asset(
        name=node_name(name, table_name),
        ins={"source": dg.AssetIn(key=source_key(name, table_name), dagster_type=dg.Nothing)},
        outs={
            "copy": dg.AssetOut(
                key=table_key(name, table_name),
                dagster_type=dg.Nothing,
                group_name=name,
                kinds={pipeline.spec.target.type},
                description=_description(pipeline, table),
                metadata=target_metadata(pipeline, table),
                freshness_policy=_FRESHNESS,
            )
        },
        partitions_def=dg.DynamicPartitionsDefinition(name=partitions_name(name, table_name)),
        pool=COPY_POOL,
        retry_policy=RETRIES,
    )
    def copy(context: dg.AssetExecutionContext, pipelines: PipelinesResource) -> dg.MaterializeResult[None]:
        """Copy one chunk."""
        with pipelines.operation(context, name, "copy chunk") as rt:
            partition = ChunkPartition.parse(context.partition_key)
            if partition.generation != rt.record.generation:
                raise ConfigurationError(
                    f"partition {context.partition_key} is of generation {partition.generation}; "
                    f"pipeline {name} is at {rt.record.generation or 'none: it was never started'}",
                    "choose a partition of the present generation; if there is none, launch start_replication.",
                )
            copied: list[Chunk] = []
            engine.copy_chunk(rt, context.log, table_name, partition.ordinal, copied.append)
        return dg.MaterializeResult(metadata=chunk_metadata(copied[-1]) if copied else {})

    return copy


def _description(pipeline: DeclaredPipeline, table: DeclaredTable) -> str:
    target = pipeline.spec.target
    text = (
        f"Table `{table.target_schema}.{table.target_name}` of the {target.type} database `{target.database}`, "
        f"kept equal to `{pipeline.spec.source.database}.{table.name}` by pipeline `{pipeline.name}`.\n\n"
        "A partition is a chunk of the initial copy: a range of the key. `start_replication` plans the chunks and "
        "copies them; afterwards every change follows through the change log, for which no run of Dagster is needed."
    )
    if not pipeline.configured:
        text += f"\n\n**Not configured yet**: launch `configure` with the file of `{pipeline.name}`."
    return text
