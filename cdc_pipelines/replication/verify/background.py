"""The background's verification: walks all tables in turn, a slice at a time, at a low rate, in the consumer's process.

Each slice is compared exactly, at a position of its own. It lasts for some seconds, because DDL on the source waits for
its snapshot's session; then it rests for as long as keeps the load where the pipeline's file wants it. Tables whose key
is no integer are compared in one slice each, the smallest way that there is for them; very large ones are left out.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.mysql.checksum import has_ranges
from cdc_pipelines.replication.databases.postgres.connection import server_errors
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.databases.postgres.verified import (
    Verified,
    Walk,
    last_verified,
    record_verified,
    record_walk,
    walks,
)
from cdc_pipelines.replication.errors import CdcError, IntegrityError, RetryableError
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.verify.barrier import Meeting, meet
from cdc_pipelines.replication.verify.recheck import recheck
from cdc_pipelines.replication.verify.report import MALFORMED
from cdc_pipelines.replication.verify.tables import new_salt, verify_table

FIRST_AFTER_S = 15.0  # a stream that has just begun is left alone
SLICE_S = 5.0
_REST_S = 3600.0  # for a table that could not be compared
_MOST_BEHIND = 50_000  # records of the log: a stream that lags has better things to do
_IDLE_S = 60.0  # between looks whether a table is due
_ROWS_PER_SLICE = 500_000  # up to which small tables are put together
_TABLES_PER_SLICE = 50
_MOST_ROWS_AT_ONCE = 5_000_000  # of a table that can't be cut

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Turn(NamedTuple):
    """A table that is due, and where its walk goes on (None: from the start)."""

    table: MappedTable
    walk: Walk | None


class Background(threading.Thread):
    """Compares while the consumer streams. An error is logged and tried again later; it never ends the consumer."""

    def __init__(self, open_runtime: Callable[[], Runtime], log: Log, stop: threading.Event) -> None:
        super().__init__(name="background-verification", daemon=True)
        self._open, self._log, self._stop_event = open_runtime, log, stop
        self._left_out: set[str] = set()
        self._resting: dict[str, float] = {}

    def run(self) -> None:
        if self._stop_event.wait(FIRST_AFTER_S):
            return
        while True:
            pause = _IDLE_S
            try:
                with self._open() as rt:
                    while (used := self.slice(rt)) is not None:
                        pause = max(1.0, used * (100 / rt.pipeline.verify.busy_percent - 1))
                        if self._stop_event.wait(pause):
                            return
                    pause = _IDLE_S
            except CdcError as error:
                self._log.info("background verification: %s; tried again later", error.message)
            except Exception:  # noqa: BLE001 (a comparison must not take the stream down)
                self._log.exception("background verification failed; tried again later")
            if self._stop_event.wait(pause):
                return

    def slice(self, rt: Runtime) -> float | None:
        """Compare what is due next; the seconds that it took, None where nothing is due. Raises CdcError."""
        beat = rt.store.heartbeat(rt.name)
        if beat is not None and (beat.log_end or 0) - (beat.log_offset or 0) > _MOST_BEHIND:
            raise RetryableError(f"pipeline {rt.name}: the stream is behind", "")
        with rt.target("background") as (conn, state), server_errors("looking for what to verify"):
            apart = state.detached()
            awake = [
                t for t in state.mapped_tables()
                if t.name not in apart and self._resting.get(t.name, 0) < time.monotonic()
            ]
            every = timedelta(hours=rt.pipeline.verify.round_hours)
            turns = due(awake, last_verified(conn, rt.name), walks(conn, rt.name), every)
        self._tell_left_out(rt)
        if not turns:
            return None
        with meet(rt, [turn.table.source for turn in turns]) as meeting:
            started = time.monotonic()
            until = started + SLICE_S
            state = TargetState(meeting.target, rt.name)
            current, apart = {table.name: table for table in state.mapped_tables()}, state.detached()
            for turn in turns:
                table = current.get(turn.table.name)
                if table is None or table.name in apart:  # since it was found to be due
                    continue
                if table.name in meeting.gone:  # and the log did not tell
                    self._resting[table.name] = time.monotonic() + _REST_S
                    self._log.error(
                        "background verification: table %s is gone from the source", table.name,
                        extra={"table": table.name},
                    )
                    continue
                try:
                    self._compare(rt, meeting, turn._replace(table=table), until)
                except IntegrityError as error:
                    self._resting[table.name] = time.monotonic() + _REST_S
                    self._log.error("background verification: %s", error, extra={"table": table.name})
                if time.monotonic() > until or self._stop_event.is_set():
                    break
        return time.monotonic() - started

    def _compare(self, rt: Runtime, meeting: Meeting, turn: Turn, until: float) -> None:
        table, walk = turn
        start = walk.next_key if walk is not None and len(walk.next_key) == len(table.key) else None
        if walk is None or start is None:
            walk = Walk((), meeting.position.to_json(), 0, 0)
        salt = new_salt()
        compared = verify_table(
            meeting.source, meeting.target, table, start=start, salt=salt,
            over=lambda: time.monotonic() > until or self._stop_event.is_set(),
        )
        compared = recheck(rt, table, compared, salt)
        result = compared.result
        rows, differences = walk.rows + result.rows_source, walk.differences + result.wrong
        if result.malformed:
            self._log.warning(
                f"background verification: {MALFORMED}", table.name, result.malformed, extra={"table": table.name}
            )
        if result.difference_count:
            self._log.warning(
                "background verification: table %s: %d row(s) differ, the first one: %s; `cdc verify %s --table %s "
                "--repair` mends them", table.name, result.difference_count, result.differences[0], rt.name, table.name,
                extra={"table": table.name, "position": meeting.position.log_place},
            )
        with rt.target("background") as (conn, _), server_errors("recording the comparison"):
            if compared.next_key is not None:
                record_walk(conn, rt.name, table.name, Walk(compared.next_key, walk.position, rows, differences))
            if compared.next_key is None or differences:  # what differs is told at once
                record_verified(
                    conn, rt.name, table.name, position=walk.position, rows=rows, differences=differences,
                    complete=result.complete, by="background", ends_walk=compared.next_key is None,
                )
            conn.commit()

    def _tell_left_out(self, rt: Runtime) -> None:
        for table in rt.tables:
            if not can_be_walked(table) and table.name not in self._left_out:
                self._left_out.add(table.name)
                self._log.warning(
                    "background verification leaves table %s out: %d rows (estimate) can only be compared in one go; "
                    "`cdc verify %s --table %s` does it", table.name, table.source.rows_estimate, rt.name, table.name,
                    extra={"table": table.name},
                )


def can_be_walked(table: MappedTable) -> bool:
    """Whether the background compares the table."""
    return has_ranges(table) or table.source.rows_estimate <= _MOST_ROWS_AT_ONCE


def due(
    tables: Sequence[MappedTable], verified: Sequence[Verified], under_way: dict[str, Walk], every: timedelta,
    now: datetime | None = None,
) -> list[Turn]:
    """What the next slice compares: a walk that is under way, else the tables that waited longest, small ones together.

    `every` is the time between two comparisons of a table, whoever makes them.
    """
    known = {table.name: table for table in tables if can_be_walked(table)}
    for name, walk in under_way.items():
        if name in known:
            return [Turn(known[name], walk)]
    at = {v.table: v.at for v in verified}
    limit = (now or datetime.now(UTC)) - every
    never = datetime.min.replace(tzinfo=UTC)
    waiting = sorted((t for t in known.values() if at.get(t.name, never) <= limit), key=lambda t: at.get(t.name, never))
    turns: list[Turn] = []
    rows = 0
    for table in waiting[:_TABLES_PER_SLICE]:
        rows += table.source.rows_estimate
        if turns and rows > _ROWS_PER_SLICE:
            break
        turns.append(Turn(table, None))
    return turns
