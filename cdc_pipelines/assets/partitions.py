"""The chunks of a plan as dynamic partitions, and the materializations of those that are copied.

The truth about chunks is in the target. What Dagster knows of them is bookkeeping, made equal to it here: a run
that was killed between a chunk's commit and its event leaves a gap that the next run fills.
"""

from collections.abc import Iterable, Iterator, Mapping

import dagster as dg

from cdc_pipelines.assets.metadata import chunk_metadata
from cdc_pipelines.assets.names import ChunkPartition, partitions_name, table_key
from cdc_pipelines.replication.chunk import Chunk


def materialization(pipeline: str, generation: int, chunk: Chunk) -> dg.AssetMaterialization:
    """The event that says: this chunk of this table is copied."""
    return dg.AssetMaterialization(
        asset_key=table_key(pipeline, chunk.table),
        partition=str(ChunkPartition(generation, chunk.ordinal)),
        description=f"{chunk.rows:,} rows of {chunk.table} copied",
        metadata=chunk_metadata(chunk),
    )


def register(instance: dg.DagsterInstance, pipeline: str, generation: int, chunks: Iterable[Chunk]) -> tuple[int, int]:
    """Make the partitions of every planned table equal to its chunks. Returns how many were added and removed."""
    added = removed = 0
    for table, wanted in _by_table(generation, chunks).items():
        name = partitions_name(pipeline, table)
        known = set(instance.get_dynamic_partitions(name))
        for stale in sorted(known - wanted.keys()):
            instance.delete_dynamic_partition(name, stale)
            removed += 1
        fresh = [key for key in wanted if key not in known]
        if fresh:
            instance.add_dynamic_partitions(name, fresh)
            added += len(fresh)
    return added, removed


def unregister(instance: dg.DagsterInstance, pipeline: str, tables: Iterable[str]) -> int:
    """Remove all partitions of the tables. Returns how many there were."""
    removed = 0
    for table in tables:
        name = partitions_name(pipeline, table)
        for key in instance.get_dynamic_partitions(name):
            instance.delete_dynamic_partition(name, key)
            removed += 1
    return removed


def missing_events(
    instance: dg.DagsterInstance, pipeline: str, generation: int, chunks: Iterable[Chunk]
) -> Iterator[dg.AssetMaterialization]:
    """Materializations of copied chunks that Dagster has not heard of."""
    for table, by_key in _by_table(generation, chunks).items():
        done = {key: chunk for key, chunk in by_key.items() if chunk.done}
        if not done:
            continue
        heard = instance.get_materialized_partitions(table_key(pipeline, table))
        for key, chunk in done.items():
            if key not in heard:
                yield materialization(pipeline, generation, chunk)


def _by_table(generation: int, chunks: Iterable[Chunk]) -> Mapping[str, dict[str, Chunk]]:
    tables: dict[str, dict[str, Chunk]] = {}
    for chunk in chunks:
        tables.setdefault(chunk.table, {})[str(ChunkPartition(generation, chunk.ordinal))] = chunk
    return tables
