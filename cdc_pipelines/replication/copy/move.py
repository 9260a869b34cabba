"""Moving chunks: each in one target transaction, together with its mark and the position at which it was read.

A process that dies leaves whole chunks and nothing else; whoever runs the same again copies what is missing.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
import psycopg

from cdc_pipelines.replication.added_columns import of_copied_rows
from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.progress import Progress
from cdc_pipelines.replication.databases.mysql.ranges import KeyRange, is_exact
from cdc_pipelines.replication.databases.postgres import ddl, existing, history, soft_deletes
from cdc_pipelines.replication.databases.postgres.connection import connect, server_errors, take_replica_role
from cdc_pipelines.replication.databases.postgres.load import Batch, copy_rows
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import FencedError, ResyncRequiredError, RetryableError
from cdc_pipelines.replication.pipeline import Target


class Reader(Protocol):
    """What is asked of a session of the source's snapshot, which was taken at `taken_at`."""

    taken_at: str

    def read(self, table: MappedTable, where: KeyRange) -> Iterator[Batch]: ...


class ReadPosition(Protocol):
    """The position that the snapshot stands for."""

    @property
    def log_place(self) -> str: ...

    def to_json(self) -> str: ...


class _Stopped(Exception):  # noqa: N818 (not an error: the caller asked for it)
    """Raised inside a chunk's transaction, which is rolled back by it."""


def copy_chunks(
    session: Reader,
    position: ReadPosition,
    target_spec: Target,
    pipeline: str,
    generation: int,
    epoch: int,
    tables: Mapping[str, MappedTable],
    chunks: Sequence[Chunk],
    *,
    on_chunk: Callable[[Chunk], None],
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Copy the chunks that are not done yet, one after the other; `on_chunk` gets each one once it is committed.

    `stop` is asked before every batch of rows; when it says so, the chunk under way is rolled back.
    Raises FencedError where something newer took over, ResyncRequiredError where a table's definition changed since it
    was planned, RetryableError where a server went away or another reader has the table; whole chunks stay.
    """
    with connect(target_spec, purpose=f"{pipeline}:copy") as conn:
        take_replica_role(conn)
        conn.commit()
        mover = _Mover(conn, session, position, pipeline, generation, epoch, progress, stop)
        try:
            for name in dict.fromkeys(c.table for c in chunks):
                mine = [c for c in chunks if c.table == name]
                table = tables[name]
                if not is_exact(table):
                    mover.take_table(table)
                for chunk in mine:
                    if stop():
                        return
                    done = mover.copy(table, chunk)
                    if done is not None:
                        on_chunk(done)
        except _Stopped:
            return


class _Mover:
    """One worker: its session on the source, its connection to the target."""

    def __init__(
        self,
        conn: psycopg.Connection,
        session: Reader,
        position: ReadPosition,
        pipeline: str,
        generation: int,
        epoch: int,
        progress: Progress | None,
        stop: Callable[[], bool],
    ) -> None:
        self._conn = conn
        self._session = session
        self._position, self._log_place = position.to_json(), position.log_place
        self._pipeline = pipeline
        self._generation = generation
        self._epoch = epoch
        self._progress = progress
        self._stop = stop
        self._state = TargetState(conn, pipeline)

    def take_table(self, table: MappedTable) -> None:
        """Reserve a table that must be read under one position for ours. What other positions left there goes.

        The reservation stands in the chunks' rows, which a worker locks while it copies: of two readers with
        different positions the later one waits for the earlier one's chunk, and the earlier one then gives up.
        """
        with server_errors(f"table {table.name}: preparing its copy"), self._conn.transaction():
            self._state.require_epoch(self._epoch, self._generation)
            if self._needs_nothing(self._state.chunks(table.name)):
                return
            chunks = self._state.lock_chunks(table.name)
            if self._needs_nothing(chunks):
                return
            if table.rows.history:
                history.expect_all(self._conn, table)
            elif table.rows.soft:
                soft_deletes.mark_range(self._conn, table, time.time_ns() // 1_000_000)
            elif not existing.is_empty(self._conn, table):
                ddl.truncate(self._conn, table)
            self._state.reset_table(table.name)
            self._state.reserve_table(table.name, self._position)
            if self._progress is not None:
                self._progress.reset(table.name, chunks)

    def _needs_nothing(self, chunks: Sequence[Chunk]) -> bool:
        """Whether the table is ours already, or was copied to the end by another reader."""
        finished = all(c.done for c in chunks) and len({c.position for c in chunks}) == 1
        return finished or all(c.position == self._position for c in chunks)

    def copy(self, table: MappedTable, chunk: Chunk) -> Chunk | None:
        """Copy one chunk and commit. Returns it as done; None where another worker had done it before."""
        what = f"table {table.name}, chunk {chunk.ordinal}"
        moved = _Moved(table.name, self._progress)
        try:
            with server_errors(what), self._conn.transaction():
                done = self._copy(table, chunk, what, moved)
        except BaseException:
            moved.undo()
            raise
        if done is None:
            return None
        if self._progress is not None:
            self._progress.finished(done)
        return done

    def _copy(self, table: MappedTable, chunk: Chunk, what: str, moved: "_Moved") -> Chunk | None:
        started = time.monotonic()
        self._state.require_epoch(self._epoch, self._generation)
        found = self._state.lock_chunk(chunk.table, chunk.ordinal)
        if found is None:
            raise FencedError(
                f"{what} of pipeline {self._pipeline} is not in the plan any more", "start again; nothing was written."
            )
        if found.done:
            if self._progress is not None:
                self._progress.finished(found, moved=False)
            return None
        exact = is_exact(table)
        if not exact and found.position != self._position:
            raise RetryableError(
                f"{what}: another worker reads the table under another snapshot now",
                "let it finish, then start again: what is missing is copied.",
            )
        fingerprint = table.source.fingerprint()
        if found.fingerprint is not None and found.fingerprint != fingerprint:
            raise ResyncRequiredError(
                f"table {table.name}: its definition is not the one that its chunks were planned for",
                f"run `cdc configure FILE`, then `cdc start {self._pipeline} --force-resync`.",
            )
        added = of_copied_rows(table, self._session.taken_at, self._log_place) if table.added else ()

        def load(into: MappedTable, more: tuple[bytes, ...] = ()) -> tuple[int, int]:
            return copy_rows(
                self._conn, into, self._batches(table, found), what=what, moved=moved.add, added=(*added, *more)
            )

        if table.rows.history:
            rows, size = history.load_range(
                self._conn, table, found.lower, found.upper, load, taken_at=self._session.taken_at, by_range=exact
            )
        elif table.rows.soft:
            rows, size = soft_deletes.load_range(
                self._conn, table, found.lower, found.upper, load, by_range=exact
            )
        else:
            if exact:
                # Whatever is in the range is of no worth: leftovers of a reset, or somebody's own rows.
                ddl.delete_range(self._conn, table, found.lower, found.upper)
            rows, size = load(table)
        done = msgspec.structs.replace(
            found,
            state="done",
            rows=rows,
            bytes=size,
            seconds=time.monotonic() - started,
            position=self._position,
            fingerprint=fingerprint,
        )
        return msgspec.structs.replace(done, copied_at=self._state.finish_chunk(done))

    def _batches(self, table: MappedTable, chunk: Chunk) -> Iterator[Batch]:
        where = KeyRange(table.source.key, chunk.lower, chunk.upper)
        if chunk.lower is None and chunk.upper is None:
            where = KeyRange(())
        return _until(self._session.read(table, where), self._stop)


def _until(batches: Iterator[Batch], stop: Callable[[], bool]) -> Iterator[Batch]:
    try:
        for batch in batches:
            if stop():
                raise _Stopped
            yield batch
    finally:
        close = getattr(batches, "close", None)  # a generator left in the middle ends its session here, in its thread
        if close is not None:
            close()


class _Moved:
    """What one chunk has added to the progress, to be taken back if it fails."""

    def __init__(self, table: str, progress: Progress | None) -> None:
        self._table = table
        self._progress = progress
        self._rows = 0
        self._bytes = 0

    def add(self, rows: int, size: int) -> None:
        self._rows += rows
        self._bytes += size
        if self._progress is not None:
            self._progress.moved(self._table, rows, size)

    def undo(self) -> None:
        if self._progress is not None:
            self._progress.undone(self._table, self._rows, self._bytes)
