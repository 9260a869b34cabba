"""Source and target at one and the same state, by a barrier.

The requester's row is `verify/request.py`, the consumer's side `stream/parking.py`. The protocol: we ask (requested),
the consumer ends its run and waits (parked), we open a snapshot of the source and say at which position it stands (go),
the consumer applies exactly up to there and waits again (reached), we open a snapshot of the target and let it go on
(released). Should we die, the row expires and the consumer goes on by itself.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.read import SnapshotSession
from cdc_pipelines.replication.databases.mysql.server_errors import is_missing
from cdc_pipelines.replication.databases.postgres.connection import connect, server_errors
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.stream.connector_life import raise_failed, source_offset
from cdc_pipelines.replication.verify.request import Request, consumer_at_work

if TYPE_CHECKING:
    from cdc_pipelines.replication.operations.runtime import Runtime

_CONNECT_POLL_S = 0.3
_LOOK_S = 2.0
_OPEN_TRIES = 5  # tables may go away one after the other
_AT_REST = ("MISSING", "PAUSED", "STOPPED")


@dataclass(frozen=True)
class Meeting:
    """A session on each side, both seeing the source's state at `position`.

    `held_s` is how long the consumer applied nothing, or only what leads up to `position`; None where none was running.
    `gone`: those of the tables, by name, that the source does not have at `position`.
    """

    position: MySqlPosition
    source: SnapshotSession
    target: psycopg.Connection
    held_s: float | None
    gone: frozenset[str]


@contextmanager
def meet(
    rt: "Runtime", tables: Sequence[Table], *, hold: bool = False, deadline_s: float = 300
) -> Iterator[Meeting]:
    """Snapshots of both sides at one position. The stream stands still until both are open, with `hold` till the end.

    Until the block ends DDL on `tables` waits on the source; those that are not there any more are told as `gone`.
    `deadline_s` bounds each wait for the consumer or for Kafka Connect. Raises RetryableError where one of them doesn't
    get there, ConfigurationError where no consumer runs and the target is behind the source.
    """
    with ExitStack() as stack:
        if consumer_at_work(rt) is not None:
            yield _with_consumer(rt, tables, hold, deadline_s, stack)
        else:
            yield _at_rest(rt, tables, stack)


def _open_source(
    rt: "Runtime", tables: Sequence[Table], stack: ExitStack
) -> tuple[MySqlPosition, SnapshotSession, frozenset[str]]:
    """Without those that are gone: the stream may not have come to their DROP or RENAME yet."""
    gone: set[str] = set()
    for tries_left in reversed(range(_OPEN_TRIES)):
        try:
            snapshot = stack.enter_context(
                rt.source.open_snapshot(1, tables, lock_wait_seconds=rt.pipeline.copy_.lock_wait_seconds)
            )
        except ConfigurationError as error:
            if not tries_left or not is_missing(error):
                raise
            there = rt.source.table_names()
            gone |= {table.name for table in tables if table.name not in there}
            tables = [table for table in tables if table.name in there]
        else:
            return snapshot.position, snapshot.sessions[0], frozenset(gone)
    raise AssertionError("the last try returns or raises")


def _open_target(rt: "Runtime", stack: ExitStack) -> psycopg.Connection:
    """A session whose snapshot is taken by its next statement."""
    conn = stack.enter_context(connect(rt.target_spec, purpose=f"{rt.name}:verify"))
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    conn.read_only = True
    return conn


def _at_rest(rt: "Runtime", tables: Sequence[Table], stack: ExitStack) -> Meeting:
    """Nobody applies anything: both sides are at one state if the target has all that the source has."""
    target = _open_target(rt, stack)
    # The target's snapshot first: what is applied in it can then not be newer than the source's snapshot.
    state = TargetState(target, rt.name)
    offset = state.offset() if state.load() is not None else None
    position, source, gone = _open_source(rt, tables, stack)
    applied = MySqlPosition.from_json(offset.position) if offset is not None and offset.position else None
    if applied is None:
        raise ConfigurationError(
            f"pipeline {rt.name}: nothing has been streamed into the target yet, so there is no state to compare at",
            f"run `cdc start {rt.name}` and wait until it is running.",
        )
    if not (applied.includes(position) or rt.source.is_unchanged(applied, position)):
        raise ConfigurationError(
            f"pipeline {rt.name}: no consumer is running, and the source's log has gone on since the target was last "
            f"brought up to date (source at {position.gtids or f'{position.file}:{position.pos}'}, target at "
            f"{applied.gtids or f'{applied.file}:{applied.pos}'}): the sides can't be compared at one state",
            f"run `cdc start {rt.name}`; a running consumer is held for a moment, to compare exactly.",
        )
    return Meeting(position, source, target, None, gone)


def _with_consumer(
    rt: "Runtime", tables: Sequence[Table], hold: bool, deadline_s: float, stack: ExitStack
) -> Meeting:
    with ExitStack() as standing:
        request = standing.enter_context(Request(rt, deadline_s))
        request.wait_for("parked")
        parked = time.monotonic()
        position, source, gone = _open_source(rt, tables, stack)
        request.go(position)
        request.set_end(_log_end(rt, position, request, deadline_s))
        request.wait_for("reached")
        target = _open_target(rt, stack)
        with server_errors("opening a snapshot of the target"):
            target.execute("select 1 from _cdc.format").fetchone()
        # Leaving the block releases the consumer.
        if hold:
            stack.push(standing.pop_all())
        return Meeting(position, source, target, time.monotonic() - parked, gone)


def _log_end(rt: "Runtime", position: MySqlPosition, request: Request, deadline_s: float) -> int:
    """An offset of the change log behind the last event at or before `position`.

    Kafka Connect commits a source offset only when all events before it are in the log.
    """
    with rt.target("verify") as (_, state):
        facts, applied = state.load(), state.offset()
    if facts is None or facts.log_topic is None:
        raise ConfigurationError(f"pipeline {rt.name} was never started", f"run `cdc start {rt.name}`.")
    name, topic = rt.pipeline.connector_name, facts.log_topic
    known = MySqlPosition.from_json(applied.position) if applied and applied.position else None
    end, look_at = time.monotonic() + deadline_s, time.monotonic() + _LOOK_S
    while True:
        offset = source_offset(rt.connect, name)
        if offset is not None and offset.get("file") and rt.source.has_told(offset, known, position):
            return rt.topics.offsets(topic)[1]
        if request.state() == "reached":  # the log already holds a later transaction
            return rt.topics.offsets(topic)[1]
        request.check_consumer()
        if time.monotonic() > look_at:
            _require_moving(rt, name)
            look_at = time.monotonic() + _LOOK_S
        if time.monotonic() > end:
            raise RetryableError(
                f"pipeline {rt.name}: connector {name} did not get to {position.gtids or position.file} within "
                f"{deadline_s:.0f} s (its offset: {offset})",
                f"look at `cdc status {rt.name}`: is the connector running and its lag falling? Then try again.",
            )
        time.sleep(_CONNECT_POLL_S)


def _require_moving(rt: "Runtime", connector: str) -> None:
    """Raises what made the connector fail, RetryableError where it rests: waiting for it is of no use."""
    status = rt.connect.status(connector)
    raise_failed(connector, status)
    state = "MISSING" if status is None else str(status["connector"]["state"])
    if state in _AT_REST:
        raise RetryableError(
            f"pipeline {rt.name}: connector {connector} is {state}, so the sides can't be brought to one state",
            f"run `cdc start {rt.name}`, then compare again.",
        )
