"""Giving a table that is in quarantine back to the stream."""

import logging

from cdc_pipelines.replication.databases.postgres.connection import server_errors
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.operations.runtime import Runtime

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def release(rt: Runtime, table: str, log: Log) -> None:
    """Copy the table again and let it follow the stream; its dead letters are settled by that.

    Raises ConfigurationError where the table is not in quarantine.
    """
    with rt.target("release") as (_, state), server_errors("looking for the table's quarantine"):
        apart = state.detached() if state.exists() else {}
    quarantined = [name for name, each in apart.items() if each.kind == "quarantined"]
    if table not in quarantined:
        raise ConfigurationError(
            f"pipeline {rt.name}: table {table} is not in quarantine",
            f"those that are: {', '.join(quarantined)}." if quarantined else "no table of it is.",
        )
    raise ConfigurationError(
        f"pipeline {rt.name}: table {table} can't be copied again by itself yet",
        f"run `cdc start {rt.name} --force-resync`, which copies all of its tables.",
    )
