"""What is seen of a pipeline's parts, each asked by itself: connector, consumer, target, lag. JSON-ready values."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from cdc_pipelines.replication.control.store import Heartbeat
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres import schema_log
from cdc_pipelines.replication.databases.postgres.carried_store import CarriedStore
from cdc_pipelines.replication.databases.postgres.identity import target_identity
from cdc_pipelines.replication.databases.postgres.lane_store import Lane, LaneStore, state_name
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.operations.consumer_state import (
    DEAD_AFTER_S,
    STALE_AFTER_S,
    age_seconds,
    connector_offset,
)
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.stream import connector_life

_JUST_NOW = timedelta(seconds=15)  # a consumer beats every 3 s

Facts = dict[str, Any]

CRASHES_WITHIN_S = 900.0
SCHEMA_CHANGES = 10  # the last ones, in a status


Connectors = dict[str, Facts] | CdcError | None
"""Every connector's status by name, where it was asked for once; the error, where that failed; None: not asked yet."""


def connector(rt: Runtime, connectors: Connectors) -> Facts:
    """`state`, `healthy`, `tasks`, `message`. Raises RetryableError where Connect is out of reach."""
    name = rt.pipeline.connector_name
    if connectors is None:
        return connector_life.connector_state(rt.connect, name)
    if isinstance(connectors, CdcError):
        raise connectors
    found = connectors.get(name)
    return connector_life.connector_facts(rt.connect.url, name, found["status"] if found else None)


def consumer(beat: Heartbeat | None) -> Facts:
    """By its last heartbeat."""
    if beat is None:
        return {
            "state": "NOT_RUNNING",
            "healthy": False,
            "last_heartbeat": None,
            "heartbeat_recent": False,
            "message": "no consumer has beaten since the last start",
            "gone": False,
        }
    age = age_seconds(beat)
    recent = age < STALE_AFTER_S
    ended = beat.state in ("stopped", "failed")
    message = beat.message or ""
    if not recent and not ended:
        message = f"last heartbeat {age:.0f} s ago (process {beat.pid} on {beat.host})"
    return {
        "state": beat.state.upper() if recent or ended else "STALE",
        "healthy": recent and beat.state in ("streaming", "barrier"),
        "last_heartbeat": iso(beat.at),
        "heartbeat_recent": recent,
        "heartbeat_age_seconds": round(age, 1),
        "message": message,
        "pid": beat.pid,
        "host": beat.host,
        "version": beat.version,
        "last_record_at": iso(beat.last_heartbeat_event_at),
        "gone": age > DEAD_AFTER_S,
    }


def target(rt: Runtime) -> Facts:
    """What the target knows of itself, and its size in bytes."""
    held = rt.store.lease_info(rt.name)
    with rt.target("status") as (conn, state):
        identity = target_identity(conn)
        size = conn.execute("select pg_database_size(current_database())").fetchone()
        facts = state.load() if state.exists() else None
        found: Facts = {"identity": identity, "bytes": size[0] if size else None}
        if facts is None:
            return found
        offset = state.offset()
        return found | {
            "generation": facts.generation,
            "epoch": facts.epoch,
            "log_topic": facts.log_topic,
            "log_topic_id": facts.log_topic_id,
            "log_offset": offset.next_offset if offset else None,
            "position": offset.position if offset else None,
            "commit_ms": offset.commit_ms if offset else None,
            "last_sync_at": offset.updated_at if offset else None,
            "tables": state.table_stats(since=held.acquired_at if held else None),
            "lanes": [_lane(conn, rt.name, lane) for lane in LaneStore(conn, rt.name).all()],
            "schema_changes": schema_log.latest(conn, rt.name, SCHEMA_CHANGES),
            "carried": CarriedStore(conn, rt.name).summary(),
        }


def _lane(conn: psycopg.Connection, pipeline: str, lane: Lane) -> Facts:
    """Where a table that is copied beside the stream stands; `rows_copied` and chunks are those of this copy."""
    copy = TargetState(conn, state_name(pipeline, lane.table)).table_stats()
    return {
        "table": lane.table,
        "phase": lane.phase,
        "reason": lane.reason,
        "doing": lane.message,
        "since": iso(lane.started_at),
        "last_beat": iso(lane.beat_at),
        **{key: sum(each[key] for each in copy) for key in ("chunks", "chunks_done", "rows_copied")},
    }


def messages_behind(beat: Heartbeat | None) -> int | None:
    """Records of the log that the consumer had not applied at its last heartbeat."""
    if beat is None or beat.log_end is None or beat.log_offset is None:
        return None
    return max(0, beat.log_end - beat.log_offset)


def lag(rt: Runtime, target: Facts, connector: Facts, beat: Heartbeat | None) -> Facts:
    """Lag = the source's clock now − the commit time applied; 0 where the source has nothing newer.

    What other databases write moves the source's position and not ours: then the connector's own committed offset
    tells, together with a log that the consumer, which must have been heard of just now, has read to its end.
    """
    found: Facts = {"seconds": None, "source_bytes": None}
    if not target.get("position"):
        return found
    applied = MySqlPosition.from_json(target["position"])
    now = rt.source.position()
    runway = rt.source.log_runway(applied)
    found["source_bytes"] = runway.get("bytes_behind")
    found["runway"] = runway
    at_end = beat is not None and datetime.now(UTC) - beat.at < _JUST_NOW and messages_behind(beat) == 0
    read = connector_offset(rt) if at_end and connector["state"] != "UNREACHABLE" else {}
    if applied.includes(now) or (read and rt.source.has_told(read, applied, now)):
        found["seconds"], found["source_bytes"] = 0.0, 0
    elif told := max(target.get("commit_ms") or 0, 1000 * int(read.get("ts_sec") or 0)):
        found["seconds"] = max(0.0, round((rt.source.clock_ms() - told) / 1000, 3))
    return found


def runway_of_reading(rt: Runtime, target: Facts) -> float | None:
    """Seconds until the source may purge what the connector has not read yet; None: never, or unknown.

    What is in the change log already, the source may purge.
    """
    applied = MySqlPosition.from_json(target["position"])
    read = connector_life.source_offset(rt.connect, rt.pipeline.connector_name)
    if read is None:
        return None
    seconds: float | None = rt.source.log_runway(MySqlPosition.from_connect_offset(read, applied))["runway_seconds"]
    return seconds


def crashes(rt: Runtime) -> int:
    """How often the consumer ended unasked lately, since the last word about what is desired."""
    now = datetime.now(UTC)
    return sum(
        each.revision == rt.record.desired_revision and each.exit_code != 0
        and (now - each.at).total_seconds() < CRASHES_WITHIN_S
        for each in rt.store.exits(rt.name)
    )


def has_agent(rt: Runtime) -> bool:
    """Whether somebody would start the consumer again. True where the store can't be asked: it tells itself."""
    try:
        return bool(rt.store.live_agents())
    except CdcError:
        return True


def iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
