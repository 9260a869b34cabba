"""The connector of a long copy: made before the copy begins, so that the source may purge its log meanwhile.

Nothing else changes: the change log fills while the copy runs, the copy's chunks say from where on it counts, and step
3 finds the connector at work. For a short copy it is made afterwards, which leaves nothing behind where a copy fails.
"""

import logging
from collections.abc import Sequence

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres.state import PipelineState
from cdc_pipelines.replication.errors import ResyncRequiredError
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.stream.connector import GENERATION_KEY, LOG_TOPIC_KEY
from cdc_pipelines.replication.stream.connector_life import source_offset

COPY_BYTES_PER_SECOND = 20_000_000  # on small machines, and rather too slow than too quick

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def estimated_seconds(tables: Sequence[MappedTable]) -> float:
    """How long copying the tables may take, by their sizes on the source."""
    return sum(table.source.data_bytes for table in tables) / COPY_BYTES_PER_SECOND


def is_long(rt: Runtime, tables: Sequence[MappedTable], position: MySqlPosition) -> bool:
    """Whether the copy is one that gets its connector first."""
    seconds = estimated_seconds(tables)
    retention = rt.source.log_runway(position)["retention_seconds"]
    limit = rt.pipeline.copy_.early_connector_minutes * 60
    return seconds >= limit or (retention is not None and seconds > retention / 3)


def covers(rt: Runtime, log: Log, facts: PipelineState | None) -> bool:
    """Whether the change log goes on from where the copy began, whatever the source still has of its own log."""
    if facts is None or facts.log_topic is None or rt.topics.topic_id(facts.log_topic) != facts.log_topic_id:
        return False
    config = rt.connect.config(rt.pipeline.connector_name)
    if config is None or config.get(GENERATION_KEY) != str(facts.generation):
        return False
    if config.get(LOG_TOPIC_KEY) != facts.log_topic:
        return False
    offset = source_offset(rt.connect, rt.pipeline.connector_name)
    if not offset or not offset.get("file") or "snapshot" in offset:
        return False
    try:
        rt.source.require_reachable(MySqlPosition.from_connect_offset(offset, rt.source.position()))
    except ResyncRequiredError as error:
        log.warning("  connector %s was left behind: %s", rt.pipeline.connector_name, error.message)
        return False
    return True
