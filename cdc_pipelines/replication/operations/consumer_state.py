"""Judging a consumer and the way to it: by heartbeat and positions, never by a pid."""

from datetime import UTC, datetime
from typing import Any

from cdc_pipelines.replication.control.store import Heartbeat
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.stream.connector_life import source_offset

STALE_AFTER_S = 30.0
DEAD_AFTER_S = 120.0
_LIVE_STATES = ("starting", "streaming", "barrier")


def age_seconds(beat: Heartbeat) -> float:
    return (datetime.now(UTC) - beat.at).total_seconds()


def alive(beat: Heartbeat | None, group: str | None) -> bool:
    """Whether a consumer of this group beats and streams."""
    return beat is not None and beat.group == group and beat.state in _LIVE_STATES and age_seconds(beat) < STALE_AFTER_S


def connector_offset(rt: Runtime) -> dict[str, Any]:
    """The source offset that the connector has committed: all before it is in the log. Empty where none is known."""
    try:
        offset = source_offset(rt.connect, rt.pipeline.connector_name)
    except CdcError:
        return {}
    return offset if offset and offset.get("file") else {}


def connector_covers(rt: Runtime, position: MySqlPosition, applied: MySqlPosition | None) -> bool:
    """Whether everything up to `position` is in the log: the connector has committed that it read so far.

    Behind what was `applied`, the source's log is looked at, too: it may hold nothing for us.
    """
    offset = connector_offset(rt)
    return bool(offset) and rt.source.has_told(offset, applied, position)


def done_to(rt: Runtime, stored: int) -> int:
    """The change log's offset before which the consumer has nothing left to apply; `stored` is the target's.

    That stays behind where the log ends with the beginning of a transaction of others, of which it tells no end.
    """
    beat, record = rt.store.heartbeat(rt.name), rt.store.get(rt.name)
    if beat is None or beat.group != record.consumer_group or beat.state != "streaming":
        return stored
    return max(stored, beat.log_offset or 0)


def caught_up(rt: Runtime, beat: Heartbeat, before: MySqlPosition | None) -> bool:
    """Whether a change has passed the whole way, or all that the source has done so.

    On an idle source nothing comes for most of a minute: MySQL sends its replicas a heartbeat rarely, and Debezium's
    hang on them. A log that is read to its end is proof as well, while the connector stands at the source's end, or
    the target did so `before` this consumer began.
    """
    if beat.state != "streaming":
        return False
    if beat.applied_position is not None:
        return True
    if beat.log_end is None or beat.log_offset is None or beat.log_offset < beat.log_end:
        return False
    now = rt.source.position()
    return (before is not None and before.includes(now)) or connector_covers(rt, now, before)
