"""One table's way through its lane, from a fresh copy to its place in the stream.

    copying → (shadow is full) following → (near the stream) detached → (target has the rows) merged → joined

Every phase stands in the target; a worker that dies anywhere is followed by the next one, which goes on from there.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.plan import plan
from cdc_pipelines.replication.copy.progress import Progress
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres.connection import server_errors
from cdc_pipelines.replication.databases.postgres.lane_store import LaneStore
from cdc_pipelines.replication.databases.postgres.shadow import create_shadow
from cdc_pipelines.replication.errors import (
    CdcError,
    ConfigurationError,
    FencedError,
    IntegrityError,
    ResyncRequiredError,
    RetryableError,
    UnsupportedChangeError,
)
from cdc_pipelines.replication.lanes.follow import Follower, follower
from cdc_pipelines.replication.lanes.joining import detach, join, mapping_before, replace
from cdc_pipelines.replication.lanes.opening import abandon, given_up, open_lane
from cdc_pipelines.replication.lanes.runtime import LaneRuntime
from cdc_pipelines.replication.logs import About
from cdc_pipelines.replication.operations.consumer_state import connector_covers, done_to
from cdc_pipelines.replication.operations.copying import copy_missing, end_unseen
from cdc_pipelines.replication.operations.runtime import Runtime

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]
OnChunk = Callable[[Chunk], None]
T = TypeVar("T")

_BEAT_S = 3.0
_PATIENCE_S = 180.0
"""For the consumer to stand still, for readers to let go of the table, for the source's log to come by."""
_NEAR_S = 0.7
"""A stretch of the log that is applied within this time is a short one: the rest fits into a moment's standstill."""
_SWAP_TRIES = 5
_FRESH_STARTS = 3


@dataclass(frozen=True)
class Joined:
    """A table that is back in the stream. `how`: `swapped` or `merged`; `rows` are those that were copied."""

    table: MappedTable
    rows: int
    how: str
    seconds: float
    chunks: tuple[Chunk, ...]


def run_lane(
    main: Runtime, log: Log, table: MappedTable, *, reason: str, capture: Callable[[], None] = lambda: None,
    on_chunk: OnChunk = lambda chunk: None, progress: Progress | None = None,
) -> Joined:
    """Copy `table` beside the stream and join it, or finish what a worker before this one had begun.

    `table` is the mapping that it is to have. `capture` is called once the lane is known, before anything is read: it
    sees to it that the table's changes come. Raises LeaseHeldError where another process does that already,
    RetryableError where the consumer is not there to be met (what is done stays; the same call goes on from there),
    FencedError where something newer took over, and what the copy raises.
    """
    log = About(log, pipeline=main.name, table=table.name)
    for attempt in range(1, _FRESH_STARTS + 1):
        with LaneRuntime(main, table.name) as lane:
            try:
                return _Worker(lane, log, table, reason, capture, on_chunk, progress).run()
            except (ResyncRequiredError, UnsupportedChangeError) as error:
                # The table's definition changed under the copy, or the log can't be followed from there.
                if attempt == _FRESH_STARTS:
                    raise
                log.warning("table %s: %s; its lane begins anew", table.name, error.message)
                abandon(main, table.name)
            except (ConfigurationError, IntegrityError) as error:
                # The target refuses its rows. The shadow was made like the table: with what will be mended there.
                raise _named_after(table, given_up(main, table.name), error) from error
    raise AssertionError("unreachable")


def _named_after(table: MappedTable, shadow: str | None, error: CdcError) -> CdcError:
    """The error in the words of who knows the target table, and not the lane's shadow."""
    if shadow is None:
        return error
    message, step = (
        text.replace(f"_cdc.{shadow}", f"{table.target_schema}.{table.target_name}").replace(shadow, table.target_name)
        for text in (error.message, error.next_step)
    )
    return type(error)(message, step)


class _Worker:
    def __init__(
        self, lane: LaneRuntime, log: Log, table: MappedTable, reason: str, capture: Callable[[], None],
        on_chunk: OnChunk, progress: Progress | None,
    ) -> None:
        self._lane, self._main, self._log = lane, lane.main, log
        self._table, self._reason = table, reason
        self._capture, self._on_chunk, self._progress = capture, on_chunk, progress
        self._position: MySqlPosition | None = None
        self._doing = "begins"
        self._done = threading.Event()

    def run(self) -> Joined:
        began = time.monotonic()
        row = open_lane(self._lane, self._log, self._table, self._reason)
        keeper = threading.Thread(target=self._keep, name="lane", daemon=True)
        keeper.start()
        try:
            if row.phase == "copying":
                # What the copy does not hold must be in the change log.
                self._capture()
                self._copy()
                self._turn("copying", "following")
            with self._lane.target("lane") as (_, state):
                chunks = tuple(state.chunks())
            how = "merged"
            if row.phase in ("copying", "following"):
                with follower(self._lane, self._log) as follows:
                    self._lead_up(follows)
                    self._patiently(lambda: detach(self._lane, follows), "leaves the stream to its lane")
            if row.phase != "merged":
                how = self._replace()
            with follower(self._lane, self._log) as follows:
                self._lead_up(follows)
                self._patiently(lambda: join(self._lane, follows), "joins the stream")
        finally:
            self._done.set()
            keeper.join(timeout=10)
        rows, seconds = sum(c.rows for c in chunks), time.monotonic() - began
        self._tell("back in the stream, after %.1f s", seconds)
        return Joined(self._table, rows, how, seconds, chunks)

    # Phases

    def _copy(self) -> None:
        lane, settings = self._lane, self._lane.pipeline.copy_
        self._say("is copied")
        with lane.target("plan") as (conn, state), server_errors(f"table {lane.table}: planning its copy"):
            (shadow,) = state.mapped_tables()
            with conn.transaction():
                create_shadow(conn, shadow, self._table, mapping_before(conn, lane))
            if not state.chunks():
                conn.commit()
                facts = state.load()
                with lane.source.open_snapshot(
                    1, [shadow.source], lock_wait_seconds=settings.lock_wait_seconds
                ) as snapshot:
                    chunks = plan(
                        snapshot.sessions[0], [shadow], chunk_bytes=settings.chunk_mb << 20, shards=settings.shards
                    )
                assert facts is not None
                state.require_epoch(facts.epoch)
                state.save_plan(chunks)
            chunks = state.chunks()
            conn.commit()
        if self._progress is not None:
            self._progress.plan(chunks)
        copy_missing(
            lane, self._log, lambda chunk: True, workers=settings.workers, on_chunk=self._on_chunk,
            progress=self._progress,
        )
        with lane.target("plan") as (conn, state), server_errors(f"table {lane.table}: checking its copy"):
            end_unseen(conn, state)
            chunks = state.chunks()
            missing = [c for c in chunks if not c.done]
            if missing:
                raise RetryableError(
                    f"table {lane.table}: {len(missing)} of {len(chunks)} chunks are not copied",
                    "run the same command again: it copies what is missing.",
                )
            state.analyze([shadow])
            conn.commit()
        self._position = next((MySqlPosition.from_json(c.position) for c in reversed(chunks) if c.position), None)
        self._tell("%s rows in %d chunk(s)", f"{sum(c.rows for c in chunks):,}", len(chunks))

    def _lead_up(self, follows: Follower) -> None:
        """Up to where the consumer is, until that is a short way, and both are beyond what was copied."""
        self._say("takes in what came since it was copied")
        positions = self._positions()
        end: int | None = None
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            began = time.monotonic()
            offset, position = self._stream()
            self._position = position
            follows.go_to(offset)
            near = time.monotonic() - began < _NEAR_S
            if near and all(position.includes(p) for p in positions):
                return
            if near and end is not None and done_to(self._main, offset) >= end:
                return
            if end is None and all(connector_covers(self._main, p, position) for p in positions):
                end = self._main.topics.offsets(self._topic())[1]
            if not near:
                deadline = time.monotonic() + _PATIENCE_S
            elif time.monotonic() > deadline:
                raise RetryableError(
                    f"pipeline {self._main.name}: the stream did not come to {positions[0].file}:{positions[0].pos}, "
                    f"at which table {self._table.name} was copied, within {_PATIENCE_S:.0f} s",
                    "is it running? See `cdc status`. Run the same command again: the lane goes on from here.",
                )
            else:
                time.sleep(0.2)

    def _replace(self) -> str:
        """Swapped, where readers let us; a few who keep the table locked for long get their rows one by one."""
        tries = [0]

        def attempt() -> str:
            tries[0] += 1
            return replace(self._lane, self._log, swap=tries[0] <= _SWAP_TRIES)

        return self._patiently(attempt, "takes its place")

    # What is asked again and again

    def _patiently(self, step: Callable[[], T], words: str) -> T:
        """Try again what is not possible right now: the consumer is being restarted, a comparison holds it, …"""
        self._say(words)
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return step()
            except FencedError:
                raise
            except RetryableError as error:
                if time.monotonic() > deadline:
                    raise
                self._tell("%s; trying again", error.message)
                time.sleep(1.0)

    def _stream(self) -> tuple[int, MySqlPosition]:
        with self._main.target("lane") as (_, state):
            offset = state.offset()
        if offset is None:
            raise FencedError(f"pipeline {self._main.name} begins anew", "this process ends; nothing was changed.")
        return offset.next_offset, MySqlPosition.from_json(offset.position)

    def _positions(self) -> list[MySqlPosition]:
        with self._lane.target("lane") as (_, state):
            texts = {c.position for c in state.chunks() if c.position}
        return [MySqlPosition.from_json(text) for text in sorted(texts)]

    def _topic(self) -> str:
        with self._main.target("lane") as (_, state):
            facts = state.load()
        return (facts.log_topic if facts is not None else None) or ""

    def _turn(self, before: Any, after: Any) -> None:
        with self._main.target("lane") as (conn, _), conn.transaction():
            self._lane.require_mine(conn)
            LaneStore(conn, self._main.name).turn_to(self._table.name, before, after)

    def _say(self, words: str) -> None:
        self._doing = words
        self._tell("%s", words)

    def _tell(self, words: str, *facts: object) -> None:
        """A line of the log about the table, with the place in the source's log that its lane has come to."""
        place = self._position.log_place if self._position is not None else None
        self._log.info(f"table %s: {words}", self._table.name, *facts, extra={"position": place})

    def _keep(self) -> None:
        """Tell the target now and then that somebody works here."""
        while not self._done.wait(_BEAT_S):
            words = self._doing + (f": {self._progress}" if self._progress and self._doing == "is copied" else "")
            with suppress(psycopg.Error, RetryableError), self._main.target("lane") as (conn, _):
                LaneStore(conn, self._main.name).beat(self._table.name, words)
                conn.commit()
