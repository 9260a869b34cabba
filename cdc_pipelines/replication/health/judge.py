"""From facts to problems: what of a pipeline that shall stream is not as it should be. Pure, by the table of health."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from cdc_pipelines.replication.control.records import Problem
from cdc_pipelines.replication.health.rules import problem
from cdc_pipelines.replication.health.settings import Health
from cdc_pipelines.replication.lanes.runtime import SILENT_AFTER_S
from cdc_pipelines.replication.stream.findings import Findings

Facts = dict[str, Any]

CRASHES = 3
_GB = 1e9


def connector_problems(pipeline: str, name: str, connector: Facts) -> Iterator[Problem]:
    """Of a connector that should run. One that is out of reach is told by who asked for it."""
    state, message, tasks = connector["state"], connector["message"], connector["tasks"]
    if state == "UNREACHABLE" or connector["healthy"]:
        return
    start = f"run `cdc start {pipeline}`"
    if state == "MISSING":
        yield problem("connector_missing", message, f"{start}: it is made anew, from the applied position.")
    elif state == "FAILED":
        yield problem("connector_failed", message, f"run `cdc restart {pipeline}`, once its cause is mended.")
    elif any(task["state"] == "FAILED" for task in tasks):
        yield problem("task_failed", message, f"run `cdc restart {pipeline}`, once its cause is mended.")
    elif state == "PAUSED":
        yield problem("connector_paused", f"connector {name} is PAUSED", f"{start}, or `cdc stop {pipeline}`.")
    elif state == "STOPPED":
        yield problem("connector_stopped", f"connector {name} is STOPPED", f"{start}, or `cdc stop {pipeline}`.")
    elif state == "RUNNING" and not tasks:
        yield problem("no_tasks", f"connector {name} is RUNNING and has no task", "look at the Connect worker's log.")
    else:
        words = ", ".join(f"task {task['id']} {task['state']}" for task in tasks) or "no tasks"
        yield problem("connector_not_running", f"connector {name} is {state}, {words}", "it may take a moment.")


def is_in_passing(found: Problem, operation: str) -> bool:
    """Whether the problem is what `operation`, which holds the pipeline just now, makes of its connector for a moment.

    To let it capture other tables, or read from another place, it is stopped, or made anew, and resumed.
    """
    works_on_it = operation in _WORK_ON_CONNECTOR or operation.startswith("resync ")
    return works_on_it and found.kind in _IN_PASSING


_WORK_ON_CONNECTOR = frozenset({"add table", "remove table", "restart", "start", "rewind"})
_IN_PASSING = frozenset(
    {"connector_missing", "connector_stopped", "connector_paused", "no_tasks", "connector_not_running"}
)


def consumer_problems(pipeline: str, consumer: Facts, crashes: int, has_agent: bool) -> Iterator[Problem]:
    """Of a consumer that should stream. One that needs a person is told by the pipeline's own status."""
    start = f"run `cdc start {pipeline}`; the consumer's log says more."
    state = consumer["state"]
    if state == "NOT_RUNNING":
        yield problem("consumer_missing", consumer["message"], start)
    elif consumer["gone"]:
        yield problem("consumer_gone", _said(consumer), start)
    elif state == "STALE":
        yield problem("consumer_stale", _said(consumer), start)
    elif not consumer["healthy"]:
        yield problem("consumer_not_streaming", _said(consumer), "it may take a moment; its log says more.")
    if crashes >= CRASHES:
        yield problem("crash_loop", f"the consumer ended unasked {crashes} times within 15 minutes",
                      f"look at its log, and at `cdc status {pipeline}`.")
    if not has_agent:
        yield problem("agent_missing", "no agent beats: if the consumer ended, nobody would start it again",
                      "run `cdc agent` as a service of its own.")


def _said(consumer: Facts) -> str:
    return f"consumer {consumer['state']}" + (f": {consumer['message']}" if consumer["message"] else "")


def stream_problems(limits: Health, pipeline: str, lag: Facts) -> Iterator[Problem]:
    """Of how far the target is behind."""
    seconds = lag["seconds"]
    if seconds is not None and seconds > limits.lag_seconds:
        behind = f"{lag['messages']:,} records of the log" if lag.get("messages") else "nothing of it in the log yet"
        yield problem("lag", f"the target is {seconds:,.0f} s behind the source ({behind}); "
                      f"health.lag_seconds is {limits.lag_seconds:,.0f}",
                      "wait where it shrinks; where it grows, look at the connector and at the target's load.")


def runway_limit(limits: Health, lag: Facts) -> float | None:
    """Seconds of runway under which an alarm is due; None where the source keeps its log for ever."""
    retention = (lag.get("runway") or {}).get("retention_seconds")
    return None if retention is None else min(limits.runway_hours * 3600, retention / 2)


def runway_problems(limits: Health, lag: Facts, left: float | None) -> Iterator[Problem]:
    """The alarm before the source purges what is needed; `left` in seconds."""
    limit = runway_limit(limits, lag)
    if limit is None or left is None or left >= limit:
        return
    hours = lag["runway"]["retention_seconds"] / 3600
    yield problem(
        "runway", f"the source may purge what is still needed in {left / 3600:.1f} h (it keeps its log for "
        f"{hours:.1f} h, oldest file {lag['runway']['oldest_file']}); the alarm is set to {limit / 3600:.1f} h",
        "let the pipeline go on, or let the source keep its log longer (binlog_expire_logs_seconds): what is purged "
        "must be copied again.",
    )


def size_problems(limits: Health, change_log: Facts, target: Facts) -> Iterator[Problem]:
    """Of what fills disks."""
    log_bytes, target_bytes = change_log.get("bytes_estimate"), target.get("bytes")
    if limits.log_gb is not None and log_bytes is not None and log_bytes > limits.log_gb * _GB:
        yield problem("log_size", f"change log {change_log['topic']} takes about {log_bytes / _GB:.1f} GB before "
                      f"compression; health.log_gb is {limits.log_gb:g}",
                      "shorten kafka.log_keep_hours, or see why the consumer is behind.")
    if limits.target_gb is not None and target_bytes is not None and target_bytes > limits.target_gb * _GB:
        yield problem("target_size", f"the target's database takes {target_bytes / _GB:.1f} GB; health.target_gb is "
                      f"{limits.target_gb:g}", "make room on the target, or raise the limit.")


def difference_problems(pipeline: str, tables: list[Facts]) -> Iterator[Problem]:
    """What the last comparison of each table found, until a later one finds it mended."""
    for table in tables:
        found = table["verified"]
        if found and (found["differences"] or not found["complete"]):
            yield problem(
                "differences",
                f"table {table['table']}: {found['differences']} row(s) differed from the source at {found['at']}",
                f"run `cdc verify {pipeline} --table {table['table']} --repair`",
            )


def silent_seconds(lane: Facts, now: datetime) -> float:
    """Since the last sign of life of who works on a lane."""
    return max(0.0, (now - datetime.fromisoformat(lane["last_beat"])).total_seconds())


def is_idle(lane: Facts, now: datetime) -> bool:
    """Whether nobody works on a lane any more."""
    return silent_seconds(lane, now) >= SILENT_AFTER_S


def changed_problems(pipeline: str, tables: list[Facts], lanes: list[Facts]) -> Iterator[Problem]:
    """Of tables that must be copied again because their definition changed, where no lane does it yet."""
    under_way = {lane["table"] for lane in lanes}
    for table in tables:
        apart = table.get("detached")
        if apart and apart["kind"] == "changed" and table["table"] not in under_way:
            yield problem(
                "table_changed", f"table {table['table']} stands apart since {apart['since']}: {apart['reason']}",
                f"it is copied again by itself, where self-healing is on; else run `cdc resync {pipeline} --table "
                f"{table['table']}`.",
            )


def found_problems(pipeline: str, tables: list[Facts], found: Findings) -> Iterator[Problem]:
    """What the consumer's watch found on the source of the tables that are replicated."""
    ours = {table["table"] for table in tables}
    for name in sorted(ours & set(found.gone_tables)):
        yield problem(
            "table_gone",
            f"table {name} is gone from the source, and the log does not tell where: it was renamed into another "
            "database, or dropped out of the log's sight; its copy on the target stays as it is",
            f"rename it back; or leave it out: `cdc remove-table {pipeline} {name}` keeps the copy, with --drop-table "
            "it goes as well.",
        )
    for key in found.cascades:
        if key.child in ours:
            yield problem(
                "cascade",
                f"table {key.child} has a foreign key to {key.parent} by which the source changes its rows, and the "
                "source's log does not tell of those changes: the target keeps what they were",
                f"on the source: {key.cure} Let the application change the children; then `cdc verify {pipeline} "
                f"--table {key.child} --repair`.",
            )


def lane_problems(pipeline: str, lanes: list[Facts], now: datetime) -> Iterator[Problem]:
    """Lanes on which nobody works any more."""
    for lane in lanes:
        if not is_idle(lane, now):
            continue
        silent_s = silent_seconds(lane, now)
        step = f"run `cdc resync {pipeline} --table {lane['table']}`, which goes on from there"
        if lane["phase"] in ("detached", "merged"):
            yield problem("table_left_behind", f"table {lane['table']} left the stream to be joined to it anew, and "
                          f"nobody has worked on that for {silent_s:.0f} s: its rows grow old", step)
        else:
            yield problem("lane_idle", f"table {lane['table']} was to be copied again, and nobody has worked on that "
                          f"for {silent_s:.0f} s", step)


def quarantine_problems(pipeline: str, tables: list[Facts]) -> Iterator[Problem]:
    """Of tables that the stream passes by because the target refused a change, and of the changes themselves."""
    for table in tables:
        apart = table.get("detached")
        if apart and apart["kind"] == "quarantined":
            yield problem(
                "table_quarantined",
                f"table {table['table']} is in quarantine since {apart['since']}: {apart['reason']}",
                f"mend the target's table or the source's row, then run `cdc quarantine release {pipeline} "
                f"{table['table']}`, which copies the table again.",
            )
    held = [table["table"] for table in tables if table.get("dead_letters")]
    if held:
        count = sum(table.get("dead_letters", 0) for table in tables)
        yield problem(
            "dead_letters", f"{count} change(s) that the target refused are held as dead letters ({', '.join(held)})",
            f"`cdc deadletters list {pipeline}` shows them; releasing the table settles them, `cdc deadletters skip` "
            "accepts one as it is.",
        )
