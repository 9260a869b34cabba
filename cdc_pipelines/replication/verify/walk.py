"""Walking a table with a key of integers: in key ranges, in step on both sides, one pass over each.

The walk goes by the target's keys: planning then costs the source nothing. It may end in mid-table and go on later.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cdc_pipelines.replication.databases.checksum import Key, Span, TableChecksum, Totals
from cdc_pipelines.replication.verify.pair import Pair

_AHEAD = 8  # ranges that the target may be ahead of the source


@dataclass
class Walked:
    """What a walk saw: totals of both sides, ranges, those whose totals differ, and where to go on (None: the end)."""

    source: int = 0
    target: int = 0
    parts: int = 0
    suspects: list[tuple[Span, Totals, Totals]] = field(default_factory=list)
    next_key: Key | None = None


class Pace:
    """Holds a comparison to `rows_per_second` of the source's rows; None is as fast as it goes."""

    def __init__(self, rows_per_second: float | None = None) -> None:
        self._seconds_per_row = 1 / rows_per_second if rows_per_second else 0.0
        self._due = time.monotonic()

    def after(self, rows: int) -> None:
        """Wait as long as `rows` may take, less the time that has gone by since the last call."""
        now = time.monotonic()
        self._due = max(self._due, now - 1.0) + rows * self._seconds_per_row
        if self._due > now:
            time.sleep(self._due - now)


def walk(
    pair: Pair, step: int, pace: Pace, *, start: Key | None = None, over: Callable[[], bool] = lambda: False
) -> Walked:
    """Sum up both sides from the key `start` on, `step` rows at a time, until the end or until `over` says so."""
    ahead: queue.Queue[tuple[Span, Totals] | None] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def put(item: tuple[Span, Totals] | None) -> None:
        while not stopped.is_set():
            try:
                return ahead.put(item, timeout=0.1)
            except queue.Full:
                continue

    def produce(target: TableChecksum) -> None:
        try:
            for span in spans(target, Span(start), step):
                if stopped.is_set():
                    return
                put((span, target.totals(span)))
        finally:
            put(None)

    def consume(source: TableChecksum) -> Walked:
        walked = Walked()
        try:
            while (item := ahead.get()) is not None:
                span, theirs = item
                ours = source.totals(span)
                walked.source += ours.rows
                walked.target += theirs.rows
                walked.parts += 1
                if ours != theirs:
                    walked.suspects.append((span, ours, theirs))
                pace.after(ours.rows)
                if span.upper is not None and over():
                    walked.next_key = span.upper
                    break
        finally:
            stopped.set()
        return walked

    return pair.both(consume, produce)[0]


def spans(side: TableChecksum, span: Span, step: int) -> Iterator[Span]:
    """The range in parts of `step` rows each on this side; rows of the other side lie in them as they fall."""
    lower = span.lower
    while True:
        upper = side.next_bound(Span(lower, span.upper), step)
        yield Span(lower, span.upper if upper is None else upper)
        if upper is None:
            return
        lower = upper
