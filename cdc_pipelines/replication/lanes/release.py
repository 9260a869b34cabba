"""Giving a table that is in quarantine back to the stream."""

import logging
from collections.abc import Callable

from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.progress import Progress
from cdc_pipelines.replication.databases.postgres.connection import server_errors
from cdc_pipelines.replication.databases.postgres.lane_store import LaneStore
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.lanes.requests import resync_table
from cdc_pipelines.replication.lanes.worker import Joined
from cdc_pipelines.replication.operations.runtime import Runtime

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def release(
    rt: Runtime, table: str, log: Log, *, holder: str, on_chunk: Callable[[Chunk], None] = lambda chunk: None,
    progress: Progress | None = None,
) -> Joined:
    """Copy the table again, beside the stream, and let it follow; its dead letters are settled by that.

    Raises ConfigurationError where the table is not in quarantine, and what `resync_table` raises.
    """
    with rt.target("release") as (conn, state), server_errors("looking for the table's quarantine"):
        apart = state.detached() if state.exists() else {}
        begun = state.exists() and LaneStore(conn, rt.name).get(table) is not None
    quarantined = [name for name, each in apart.items() if each.kind == "quarantined"]
    if table not in quarantined and not (table in apart and begun):
        raise ConfigurationError(
            f"pipeline {rt.name}: table {table} is not in quarantine",
            f"those that are: {', '.join(quarantined)}." if quarantined else "no table of it is.",
        )
    return resync_table(rt, log, table, holder=holder, reason="release", on_chunk=on_chunk, progress=progress)
