"""How far the copy is: rows and bytes over all workers, rates over the last moments, time left."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cdc_pipelines.replication.chunk import Chunk

_WINDOW_S = 20.0
_STEP_S = 0.25


@dataclass
class _Table:
    chunks: int = 0
    chunks_done: int = 0
    rows_planned: int = 0  # estimate of the chunks that are not done
    rows_done: int = 0  # of chunks that are committed
    bytes_done: int = 0
    rows_moving: int = 0  # of chunks under way: not committed yet
    bytes_moving: int = 0

    def total(self) -> int:
        """Estimated rows of the whole table, never less than what was seen."""
        return self.rows_done + max(self.rows_planned, self.rows_moving)


class Progress:
    """Counts of a copy, fed by its workers' threads. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._tables: dict[str, _Table] = {}
        self._finished: set[tuple[str, int]] = set()
        self._rows = 0  # moved by this run, committed or not
        self._bytes = 0
        self._marks: deque[tuple[float, int, int]] = deque([(self._began, 0, 0)])

    def plan(self, chunks: Iterable[Chunk]) -> None:
        """What there is to do, chunks of earlier runs included; the clock starts here."""
        with self._lock:
            self._tables = {}
            self._finished = set()
            self._rows = self._bytes = 0
            self._began = self._clock()
            self._marks = deque([(self._began, 0, 0)])
            for chunk in chunks:
                table = self._tables.setdefault(chunk.table, _Table())
                table.chunks += 1
                if chunk.done:
                    self._finished.add((chunk.table, chunk.ordinal))
                    table.chunks_done += 1
                    table.rows_done += chunk.rows
                    table.bytes_done += chunk.bytes
                else:
                    table.rows_planned += chunk.rows_estimate

    def moved(self, table: str, rows: int, size: int) -> None:
        """Rows and bytes that went to the target, not committed yet."""
        with self._lock:
            facts = self._tables.setdefault(table, _Table())
            facts.rows_moving += rows
            facts.bytes_moving += size
            self._rows += rows
            self._bytes += size
            self._mark()

    def undone(self, table: str, rows: int, size: int) -> None:
        """A chunk failed: what was moved for it is gone again."""
        with self._lock:
            facts = self._tables.setdefault(table, _Table())
            facts.rows_moving -= rows
            facts.bytes_moving -= size
            self._rows -= rows
            self._bytes -= size

    def finished(self, chunk: Chunk, *, moved: bool = True) -> None:
        """A chunk is committed: by this run (`moved`), or found done by another worker."""
        with self._lock:
            facts = self._tables.setdefault(chunk.table, _Table())
            if moved:
                facts.rows_moving -= chunk.rows
                facts.bytes_moving -= chunk.bytes
            if (chunk.table, chunk.ordinal) in self._finished:
                return
            self._finished.add((chunk.table, chunk.ordinal))
            facts.chunks = max(facts.chunks, facts.chunks_done + 1)
            facts.chunks_done += 1
            facts.rows_done += chunk.rows
            facts.bytes_done += chunk.bytes
            facts.rows_planned = max(0, facts.rows_planned - chunk.rows_estimate)

    def reset(self, table: str, chunks: Iterable[Chunk]) -> None:
        """The table starts anew: these are its chunks, none of them done."""
        with self._lock:
            facts = self._tables.setdefault(table, _Table())
            self._finished = {key for key in self._finished if key[0] != table}
            plan = list(chunks)
            facts.chunks, facts.chunks_done = len(plan), 0
            facts.rows_done = facts.bytes_done = 0
            facts.rows_planned = sum(c.rows_estimate for c in plan)

    def _mark(self) -> None:
        now = self._clock()
        if now - self._marks[-1][0] >= _STEP_S:
            self._marks.append((now, self._rows, self._bytes))
            while len(self._marks) > 2 and now - self._marks[0][0] > _WINDOW_S:
                self._marks.popleft()

    def snapshot(self) -> dict[str, Any]:
        """The state now: `rows`, `bytes`, `rows_total` (estimate), `chunks`, `chunks_done`, `rows_per_second`,
        `bytes_per_second` (over the last 20 s), `seconds` so far, `eta_seconds` (None while unknown), and `tables`
        with rows, rows_total, chunks and chunks_done each.
        """
        with self._lock:
            now = self._clock()
            tables = {
                name: {
                    "rows": t.rows_done + t.rows_moving,
                    "bytes": t.bytes_done + t.bytes_moving,
                    "rows_total": t.total(),
                    "chunks": t.chunks,
                    "chunks_done": t.chunks_done,
                }
                for name, t in sorted(self._tables.items())
            }
            since, rows_then, bytes_then = self._marks[0]
            elapsed = now - since
            rate = max(0.0, (self._rows - rows_then) / elapsed) if elapsed > 0 else 0.0
            byte_rate = max(0.0, (self._bytes - bytes_then) / elapsed) if elapsed > 0 else 0.0
            rows = sum(t["rows"] for t in tables.values())
            total = sum(t["rows_total"] for t in tables.values())
            done = all(t["chunks_done"] >= t["chunks"] for t in tables.values())
            return {
                "rows": rows,
                "bytes": sum(t["bytes"] for t in tables.values()),
                "rows_total": total,
                "chunks": sum(t["chunks"] for t in tables.values()),
                "chunks_done": sum(t["chunks_done"] for t in tables.values()),
                "rows_per_second": rate,
                "bytes_per_second": byte_rate,
                "seconds": now - self._began,
                "eta_seconds": 0.0 if done else ((total - rows) / rate if rate > 0 else None),
                "tables": tables,
            }

    def __str__(self) -> str:
        """One line for a terminal."""
        facts = self.snapshot()
        share = 100 * facts["rows"] / facts["rows_total"] if facts["rows_total"] else 100.0
        return (
            f"{facts['chunks_done']}/{facts['chunks']} chunks, {facts['rows']:,} of about {facts['rows_total']:,} rows "
            f"({share:.0f} %), {facts['bytes'] / 2**20:,.0f} MiB, {facts['rows_per_second']:,.0f} rows/s, "
            f"{time_left(facts['eta_seconds'])}"
        )


def time_left(seconds: float | None) -> str:
    """For people; None: nobody knows yet."""
    if seconds is None:
        return "time left unknown"
    return f"{_clock_text(seconds)} left" if seconds else "done"


def _clock_text(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole // 60 % 60:02d} h"
