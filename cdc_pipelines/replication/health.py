"""The one status of a pipeline, made from facts: connector, consumer, lag, control store and target.

The sensor, the CLI, the API and the page all call `status`. What is out of reach is told in its place; nothing raises.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import requests

from cdc_pipelines.replication.control.store import Heartbeat
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres.identity import target_identity
from cdc_pipelines.replication.errors import CdcError, ResyncRequiredError, named
from cdc_pipelines.replication.operations import foundations
from cdc_pipelines.replication.operations.consumer_state import (
    DEAD_AFTER_S,
    STALE_AFTER_S,
    age_seconds,
    connector_covers,
)
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.replication.stream import connector_life

Facts = dict[str, Any]
_ON_THE_WAY = ("copying", "connecting", "starting")


def status(rt: Runtime) -> Facts:
    """The status as JSON-ready values; times are ISO 8601 in UTC, lags in seconds, records and bytes."""
    record = rt.refresh()
    errors: list[str] = []
    ends: list[str] = []

    def ask(what: str, question: Callable[[], Facts | None], otherwise: Facts) -> Facts:
        try:
            return question() or {}
        except (CdcError, requests.RequestException) as error:
            text = f"{what}: {_words(error, rt.name)}"
            (ends if isinstance(error, ResyncRequiredError) else errors).append(text)
            return otherwise

    connector = ask(
        "connector",
        lambda: connector_life.connector_state(rt.connect, rt.pipeline.connector_name),
        {"state": "UNREACHABLE", "healthy": False, "tasks": [], "message": "Kafka Connect is out of reach"},
    )
    connector["message"] = named(connector["message"], rt.name)
    target = ask("target", lambda: _target(rt), {})
    consumer = _consumer(rt)
    beat = rt.store.heartbeat(rt.name)
    messages = _messages_behind(beat)
    if broken := _broken_off(rt):
        errors.append(broken)
    if connector["state"] not in ("MISSING", "UNREACHABLE"):
        ask("connector", lambda: foundations.connector_as_made(rt, target), {})
    log = ask("change log", lambda: foundations.change_log(rt, target), {})
    ask("source", lambda: foundations.source_history(rt, target, connector), {})
    ask("connector", lambda: foundations.connector_speaks(rt, target, connector, beat), {})
    lag = ask("source", lambda: _lag(rt, target, messages), {"seconds": None, "source_bytes": None})
    lag["messages"] = messages
    tables = target.get("tables", [])
    errors += _differences(rt.name, tables)
    return {
        "overall": "failed" if ends else _overall(record.status, record.is_active, connector, consumer, errors),
        "connector": connector,
        "consumer": consumer,
        "config": {
            "status": record.status,
            "is_active": record.is_active,
            "connector_name": rt.pipeline.connector_name,
            "kafka_topic_prefix": rt.pipeline.topic_prefix,
            "id": record.config,
            "name": record.name,
            "message": record.message,
        },
        "statistics": {
            "total_rows_synced": sum(t["rows_copied"] + t["changes_applied"] for t in tables),
            "tables_enabled": len(record.tables),
            "last_sync_at": _iso(target.get("last_sync_at")),
        },
        "lag": lag,
        "position": {
            "applied": target.get("position"),
            "log_topic": target.get("log_topic"),
            "log_offset": target.get("log_offset"),
        },
        "change_log": log,
        "generation": target.get("generation", record.generation),
        "epoch": target.get("epoch"),
        "consumer_group": record.consumer_group,
        "tables": tables,
        "errors": list(dict.fromkeys(ends + errors)),
        "timestamp": _iso(datetime.now(UTC)),
    }


def _differences(pipeline: str, tables: list[Facts]) -> list[str]:
    """What the last comparison of each table found, until a later one finds it mended."""
    return [
        f"table {table['table']}: {found['differences']} row(s) differed from the source at {found['at']}; run "
        f"`cdc verify {pipeline} --table {table['table']} --repair`"
        for table in tables if (found := table["verified"]) and (found["differences"] or not found["complete"])
    ]


def _consumer(rt: Runtime) -> Facts:
    beat = rt.store.heartbeat(rt.name)
    if beat is None:
        return {
            "state": "NOT_RUNNING",
            "healthy": False,
            "last_heartbeat": None,
            "heartbeat_recent": False,
            "message": "no consumer has beaten since the last start",
        }
    age = age_seconds(beat)
    recent = age < STALE_AFTER_S
    message = beat.message or ""
    if not recent and beat.state not in ("stopped", "failed"):
        message = f"last heartbeat {age:.0f} s ago (process {beat.pid} on {beat.host})"
    return {
        "state": beat.state.upper() if recent or beat.state in ("stopped", "failed") else "STALE",
        "healthy": recent and beat.state in ("streaming", "barrier"),
        "last_heartbeat": _iso(beat.at),
        "heartbeat_recent": recent,
        "message": message,
        "pid": beat.pid,
        "host": beat.host,
        "version": beat.version,
        "last_record_at": _iso(beat.last_heartbeat_event_at),
        "gone": age > DEAD_AFTER_S,
    }


def _target(rt: Runtime) -> Facts:
    with rt.target("status") as (conn, state):
        identity = target_identity(conn)
        facts = state.load() if state.exists() else None
        if facts is None:
            return {"identity": identity}
        offset = state.offset()
        return {
            "identity": identity,
            "generation": facts.generation,
            "epoch": facts.epoch,
            "log_topic": facts.log_topic,
            "log_topic_id": facts.log_topic_id,
            "log_offset": offset.next_offset if offset else None,
            "position": offset.position if offset else None,
            "commit_ms": offset.commit_ms if offset else None,
            "last_sync_at": offset.updated_at if offset else None,
            "tables": state.table_stats(),
        }


def _messages_behind(beat: Heartbeat | None) -> int | None:
    """Records of the log that the consumer had not applied at its last heartbeat."""
    if beat is None or beat.log_end is None or beat.log_offset is None:
        return None
    return max(0, beat.log_end - beat.log_offset)


def _broken_off(rt: Runtime) -> str:
    """What to do where a start ended before it was complete: nobody works on the pipeline any more."""
    if rt.record.status not in _ON_THE_WAY or rt.store.lease_info(rt.name) is not None:
        return ""
    if rt.refresh().status not in _ON_THE_WAY:  # it came to its end between the two looks
        return ""
    return f"start: it ended while {rt.record.status}; run `cdc start {rt.name}`, which goes on from there"


def _lag(rt: Runtime, target: Facts, messages: int | None) -> Facts:
    """Lag = the source's clock now − the commit time applied; 0 where the source has nothing newer.

    Transactions that the log leaves out (DDL of other databases) move the source's position and not ours: then the
    connector's own committed position tells, together with a log that is read to its end.
    """
    lag: Facts = {"seconds": None, "source_bytes": None}
    if not target.get("position"):
        return lag
    applied = MySqlPosition.from_json(target["position"])
    now = rt.source.position()
    runway = rt.source.log_runway(applied)
    lag["source_bytes"] = runway.get("bytes_behind")
    lag["runway"] = runway
    if applied.includes(now) or (messages == 0 and connector_covers(rt, now)):
        lag["seconds"], lag["source_bytes"] = 0.0, 0
    elif target.get("commit_ms"):
        lag["seconds"] = max(0.0, round((rt.source.clock_ms() - target["commit_ms"]) / 1000, 3))
    return lag


def _words(error: Exception, name: str) -> str:
    """An error in one line: what is wrong, and the command that mends it."""
    if not isinstance(error, CdcError):
        return redact(str(error))
    return named(redact(f"{error.message}; {error.next_step}" if error.next_step else error.message), name)


def _overall(status_: str, active: bool, connector: Facts, consumer: Facts, errors: list[str]) -> str:
    if status_ == "failed":
        return "failed"
    if not active or status_ in _ON_THE_WAY:
        # Nothing is expected to stream: what matters is only that nothing is wrong.
        return "degraded" if errors else "healthy"
    if consumer.get("gone") or connector["state"] in ("FAILED", "MISSING"):
        return "failed"
    if any(task["state"] == "FAILED" for task in connector["tasks"]):
        return "failed"
    return "healthy" if connector["healthy"] and consumer["healthy"] and not errors else "degraded"


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
