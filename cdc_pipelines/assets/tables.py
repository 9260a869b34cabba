"""One asset per replicated table, partitioned by chunk, and the source table upstream of it.

"Materialize" on a partition in the UI copies that chunk, by the same function as `start_replication`'s steps. Once the
table streams, it copies the table again, beside the stream: a chunk alone would stand at another state than the rest.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from cdc_pipelines.assets import lanes as lanes_told
from cdc_pipelines.assets.declared import DeclaredPipeline, DeclaredTable
from cdc_pipelines.assets.metadata import chunk_metadata, source_metadata, target_metadata
from cdc_pipelines.assets.names import ChunkPartition, node_name, partitions_name, source_key, table_key
from cdc_pipelines.assets.observations import FRESH_FAIL_S, FRESH_WARN_S
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.lanes import requests as lanes
from cdc_pipelines.replication.operations import start as engine
from cdc_pipelines.replication.operations.runtime import Runtime
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
        # One run for all partitions that are chosen: those of a table that streams are copied together.
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=COPY_POOL,
        retry_policy=RETRIES,
    )
    def copy(context: dg.AssetExecutionContext, pipelines: PipelinesResource) -> dg.MaterializeResult[None]:
        """Copy chunks; of a table that streams already all of them, beside the stream."""
        partitions = [ChunkPartition.parse(key) for key in context.partition_keys]
        with pipelines.beside(context, name) as rt:
            _require_present(rt, name, partitions)
            if lanes.streams(rt, table_name):
                if not lanes.copied_since(rt, table_name, _asked_at(context)):
                    joined = lanes.resync_table(rt, context.log, table_name, holder=context.run.run_id)
                    lanes_told.tell_joined(context, rt, joined, context.partition_keys)
                return dg.MaterializeResult()
        copied: list[Chunk] = []
        with pipelines.operation(context, name, "copy chunk") as rt:
            for partition in partitions:
                engine.copy_chunk(rt, context.log, table_name, partition.ordinal, copied.append)
        return dg.MaterializeResult(metadata=chunk_metadata(copied[-1]) if copied else {})

    return copy


def _require_present(rt: Runtime, name: str, partitions: Sequence[ChunkPartition]) -> None:
    for partition in partitions:
        if partition.generation != rt.record.generation:
            raise ConfigurationError(
                f"partition {partition} is of generation {partition.generation}; "
                f"pipeline {name} is at {rt.record.generation or 'none: it was never started'}",
                "choose a partition of the present generation; if there is none, launch start_replication.",
            )


def _asked_at(context: dg.AssetExecutionContext) -> datetime:
    record = context.instance.get_run_record_by_id(context.run.run_id)
    assert record is not None
    return record.create_timestamp.astimezone(UTC)


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
