"""What Dagster hears of a table that was copied beside the stream: its new chunks, as partitions that are there."""

from collections.abc import Collection
from typing import Any

import dagster as dg

from cdc_pipelines.assets.metadata import copied_metadata
from cdc_pipelines.assets.names import table_key
from cdc_pipelines.assets.partitions import materialization, register
from cdc_pipelines.replication.lanes.worker import Joined
from cdc_pipelines.replication.operations.runtime import Runtime


def tell_joined(context: dg.OpExecutionContext, rt: Runtime, joined: Joined, told: Collection[str] = ()) -> None:
    """Make the table's partitions those of its new plan, and say that all of them are copied.

    `told` are partitions of which the caller says so.
    """
    name, generation = rt.name, rt.record.generation or 0
    register(context.instance, name, generation, joined.chunks)
    for chunk in joined.chunks:
        event = materialization(name, generation, chunk)
        if event.partition not in told:
            context.log_event(event)
    context.log_event(
        dg.AssetObservation(
            table_key(name, joined.table.name),
            description=f"copied beside the stream, {joined.rows:,} rows, and back in it ({joined.how})",
            metadata=_metadata(joined),
        )
    )


def _metadata(joined: Joined) -> dict[str, Any]:
    size, seconds = (sum(getattr(c, name) for c in joined.chunks) for name in ("bytes", "seconds"))
    return copied_metadata(joined.table, joined.rows, size, seconds, len(joined.chunks))
