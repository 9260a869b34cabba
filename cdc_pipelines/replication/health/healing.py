"""Self-healing: which cure an incident needs next, and doing it under the pipeline's lease.

Never against a person's word: a pipeline that shall not run, and a connector that somebody paused or stopped, stay.
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime

from cdc_pipelines.replication.agent import ensure_agent
from cdc_pipelines.replication.control.records import Action, Incident
from cdc_pipelines.replication.databases.postgres.lane_store import LaneStore
from cdc_pipelines.replication.errors import LeaseHeldError, RetryableError
from cdc_pipelines.replication.health.rules import RULES, Cure
from cdc_pipelines.replication.health.settings import Health
from cdc_pipelines.replication.health.status import status
from cdc_pipelines.replication.lanes.joining import detach_misread
from cdc_pipelines.replication.lanes.requests import resync_table
from cdc_pipelines.replication.operations.connector import put_connector
from cdc_pipelines.replication.operations.consumer_state import STALE_AFTER_S, age_seconds
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.stream import connector_life
from cdc_pipelines.replication.stream.connector_failures import misread_table, unknown_table
from cdc_pipelines.replication.verify.request import consumer_at_work

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

PAUSES_S = (0.0, 30.0, 120.0, 300.0, 600.0)
"""Between the tries of one incident: a fault that passes is mended soon, one that lasts is not made worse."""
REQUESTED = "requested"
_ORDER: tuple[Cure, ...] = ("recreate_connector", "restart_task", "restart_consumer")
_TABLES: Cure = "copy_tables"
_CONSUMER_S = 60.0
_POLL_S = 0.5


def next_cure(incident: Incident, actions: Sequence[Action], limits: Health, now: datetime) -> Cure:
    """What to try now; empty: nothing, or not yet, or tried often enough."""
    tries = [action for action in actions if action.outcome == REQUESTED]
    wanted = {RULES[each.kind].cure for each in incident.problems}
    cure: Cure = next((each for each in (*_ORDER, _TABLES) if each in wanted), "")
    if not limits.heal or not cure or incident.calm_since is not None or len(tries) >= limits.heal_attempts:
        return ""
    pause = PAUSES_S[min(len(tries), len(PAUSES_S) - 1)]
    if tries and (now - tries[-1].at).total_seconds() < pause:
        return ""
    return cure


def heal(rt: Runtime, log: Log) -> str:
    """Look again, and do what the pipeline needs now. Returns what was done, in words.

    The caller holds the lease. Raises the error that says why it can't be mended.
    """
    done = _learn_anew(rt, log) if rt.refresh().desired == "running" else []
    problems = status(rt)["problems"]
    wanted = {RULES[each["kind"]].cure for each in problems}
    if rt.record.desired != "running" or not wanted & set(_ORDER):
        return "; ".join(done) or "nothing to do any more"
    for cure in _ORDER:
        if cure in wanted:
            log.info("%s: %s", rt.name, cure.replace("_", " "))
            done.append(_CURES[cure](rt, log))
    return "; ".join(done)


def _learn_anew(rt: Runtime, log: Log) -> list[str]:
    """A connector that holds wrong columns of a table fails at its next row, however often it is restarted."""
    trace = _trace(rt)
    if trace is not None:
        if (left := _leave_out(rt, log, trace)) is not None:
            return [left]
        _detach_misread(rt, log, trace)
    with rt.target("heal") as (_, state):
        wrong = [name for name, each in state.detached().items() if each.relearn] if state.exists() else []
    if not wrong:
        return []
    put_connector(rt, log, anew=True)
    with rt.target("heal") as (conn, state):
        for name in wrong:
            state.learnt(name)
        conn.commit()
    return [f"the connector was made anew, to learn the columns of {', '.join(wrong)}"]


def _trace(rt: Runtime) -> str | None:
    status = rt.connect.status(rt.pipeline.connector_name)
    return connector_life.failed_trace(status) if status is not None else None


def _leave_out(rt: Runtime, log: Log, trace: str) -> str | None:
    """MariaDB writes rows of its sequences into the log, as if they were tables. None: that is not why."""
    name = unknown_table(trace, rt.pipeline.source.database)
    if name is None or rt.pipeline.source.type != "mariadb" or name in rt.source.table_names():
        return None
    with rt.target("heal") as (_, state):
        if any(table.name == name for table in state.mapped_tables()):
            return None
    put_connector(rt, log, left_out=[name])
    return f"the connector leaves out {name}, which is a sequence"


def _detach_misread(rt: Runtime, log: Log, trace: str) -> None:
    """It may fail before the stream has come to the statement that explains it, or where no statement does."""
    if consumer_at_work(rt) is None:
        return
    with rt.target("heal") as (_, state):
        streamed = {t.name for t in state.mapped_tables()} - state.detached().keys() if state.exists() else set()
    table = misread_table(trace, streamed)
    if table is not None:
        log.warning(
            "table %s: the connector has other columns of it than the source; it is set apart", table,
            extra={"table": table},
        )
        detach_misread(rt, table)


def _restart_task(rt: Runtime, log: Log) -> str:
    name = rt.pipeline.connector_name
    if connector_life.connector_state(rt.connect, name)["healthy"]:  # it says that it runs, and is silent
        rt.connect.restart(name, only_failed=False)
        connector_life.wait_running(rt.connect, name, deadline_s=_CONSUMER_S)
    else:
        connector_life.ensure_running(rt.connect, rt.pipeline, rt.record.generation or 0, owner=rt.owner())
    return f"connector {name} was restarted"


def _recreate_connector(rt: Runtime, log: Log) -> str:
    facts = put_connector(rt, log)
    return f"connector {facts['connector']} was made anew, from position {facts['position']}"


def _restart_consumer(rt: Runtime, log: Log) -> str:
    """Agents start consumers: one that lives is given a new word, so that it does not wait any longer."""
    lived = bool(rt.store.live_agents())
    agent = ensure_agent(rt.store)
    if lived:
        rt.store.set_desired(rt.name, "running", group=rt.record.consumer_group, generation=rt.record.generation)
    ends = time.monotonic() + _CONSUMER_S
    while time.monotonic() < ends:
        beat = rt.store.heartbeat(rt.name)
        if beat is not None and beat.state == "streaming" and age_seconds(beat) < STALE_AFTER_S:
            return f"consumer process {beat.pid} streams" + ("" if lived else f"; agent {agent.pid} was started")
        time.sleep(_POLL_S)
    raise RetryableError(f"the consumer of {rt.name} does not stream {_CONSUMER_S:.0f} s after it was started again",
                         "look at its log.")


def heal_tables(rt: Runtime, log: Log, holder: str) -> str:
    """Copy tables again that changed, and finish lanes that nobody works on. Returns what was done, in words.

    It may take long, and takes no lease: the pipeline is not in anybody's way meanwhile.
    """
    wanted = {RULES[each["kind"]].cure for each in status(rt)["problems"]}
    if rt.record.desired != "running" or _TABLES not in wanted:
        return ""
    with rt.target("heal") as (conn, state):
        tables = [name for name, each in state.detached().items() if each.kind == "changed"]
        tables += [lane.table for lane in LaneStore(conn, rt.name).all() if lane.phase in ("detached", "merged")]
    done = []
    for table in dict.fromkeys(tables):
        try:
            resync_table(rt, log, table, holder=holder)
        except LeaseHeldError:
            continue  # somebody works on it after all
        done.append(table)
    return f"copied again and back in the stream: {', '.join(done)}" if done else ""


_CURES = {
    "restart_task": _restart_task, "recreate_connector": _recreate_connector, "restart_consumer": _restart_consumer,
}
