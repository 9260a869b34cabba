"""Comparing one table: checksums of parts first, then smaller parts, then the rows themselves.

Tables with a key of integers are walked in key ranges, in step on both sides, one pass over each. A range whose totals
differ is spread over buckets, and only the rows of buckets that differ are fetched. Other tables (keys of texts, whose
order differs between servers, or no key) are spread over buckets as a whole. Both servers work at the same time.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from cdc_pipelines.replication.databases.checksum import EVERYTHING, Row, Span, TableChecksum, Totals
from cdc_pipelines.replication.verify.judge import Judge
from cdc_pipelines.replication.verify.report import Difference, TableVerified

ROWS_PER_RANGE = 20_000
_DIRECT = 300  # rows that are fetched without asking for buckets first
_PRIMES = (7, 31, 61, 127, 251, 509, 1021)  # keys often step by 2, 5 or 10: a prime spreads them all the same
_BUCKETS, _MANY_BUCKETS = 4093, 65521
_ROWS_PER_FETCH = 50_000
_MAX_FETCHES = 20
_MAX_DIFFERENCES = 100_000
_AHEAD = 8  # ranges that the target may be ahead of the source

A = TypeVar("A")
B = TypeVar("B")


@dataclass
class _Tally:
    """What has been found so far in one table."""

    max_keys: int
    source: int = 0
    target: int = 0
    parts: int = 0
    count: int = 0
    complete: bool = True
    listed: list[Difference] = field(default_factory=list)

    def add(self, found: Sequence[Difference]) -> None:
        self.count += len(found)
        self.listed += found[: max(0, self.max_keys - len(self.listed))]

    def full(self) -> bool:
        return self.count >= _MAX_DIFFERENCES


def compare_table(
    source: TableChecksum, target: TableChecksum, *, ranges: bool, max_keys: int = 100,
    rows_per_range: int = ROWS_PER_RANGE,
) -> TableVerified:
    """Compare a table that both sides see in snapshots of the same state.

    `ranges`: the key's ranges hold the same rows on both sides (integers; unique and not null on the target too).
    Raises what the two sides' queries raise; the other side's query is waited for then.
    """
    started = time.monotonic()
    tally = _Tally(max_keys)
    with ThreadPoolExecutor(1, thread_name_prefix="verify-target") as pool:
        pair = _Pair(source, target, pool)
        if ranges:
            _by_ranges(pair, tally, rows_per_range)
        else:
            _by_buckets(pair, tally)
    return TableVerified(
        table=source.table.name, rows_source=tally.source, rows_target=tally.target,
        differences=tuple(tally.listed), difference_count=tally.count, seconds=round(time.monotonic() - started, 3),
        chunks=tally.parts, complete=tally.complete,
    )


class _Pair:
    """Both sides of a table; the target works in the pool's thread, the source in the caller's."""

    def __init__(self, source: TableChecksum, target: TableChecksum, pool: ThreadPoolExecutor) -> None:
        self.source = source
        self.target = target
        self.judge = Judge(source.table, source.forms)
        self._pool = pool

    def both(self, source: Callable[[TableChecksum], A], target: Callable[[TableChecksum], B]) -> tuple[A, B]:
        theirs = self._pool.submit(target, self.target)
        try:
            ours = source(self.source)
        except BaseException:
            theirs.exception()  # the session must be idle again
            raise
        return ours, theirs.result()

    def rows(self, count: int, chosen: set[int] | None, span: Span) -> list[Difference]:
        def fetch(side: TableChecksum) -> list[Row]:
            return side.rows(count, chosen, span)

        return self.judge.compare(*self.both(fetch, fetch))

    def buckets(self, count: int, span: Span) -> tuple[dict[int, Totals], dict[int, Totals]]:
        def ask(side: TableChecksum) -> dict[int, Totals]:
            return side.buckets(count, span)

        return self.both(ask, ask)


def _by_ranges(pair: _Pair, tally: _Tally, step: int) -> None:
    for span, ours, theirs in _suspects(pair, tally, step):
        if tally.full():
            tally.complete = False
            return
        if ours.rows <= 4 * step:
            _look_into(pair, tally, span, max(ours.rows, theirs.rows))
            continue
        # Rows that the target lacks: the range, cut by the target's keys, is too long on the source.
        for part in _walk(pair.source, span, step):
            if tally.full():
                tally.complete = False
                return
            _look_into(pair, tally, part, step)


def _suspects(pair: _Pair, tally: _Tally, step: int) -> list[tuple[Span, Totals, Totals]]:
    """One pass over both sides; the ranges whose totals differ."""
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
            for span in _walk(target, EVERYTHING, step):
                if stopped.is_set():
                    return
                put((span, target.totals(span)))
        finally:
            put(None)

    def consume(source: TableChecksum) -> list[tuple[Span, Totals, Totals]]:
        found = []
        try:
            while (item := ahead.get()) is not None:
                span, theirs = item
                ours = source.totals(span)
                tally.source += ours.rows
                tally.target += theirs.rows
                tally.parts += 1
                if ours != theirs:
                    found.append((span, ours, theirs))
        finally:
            stopped.set()
        return found

    # The walk goes by the target's keys: planning then costs the source nothing.
    return pair.both(consume, produce)[0]


def _walk(side: TableChecksum, span: Span, step: int) -> Iterator[Span]:
    """The range in parts of `step` rows each on this side; rows of the other side lie in them as they fall."""
    lower = span.lower
    while True:
        upper = side.next_bound(Span(lower, span.upper), step)
        yield Span(lower, span.upper if upper is None else upper)
        if upper is None:
            return
        lower = upper


def _look_into(pair: _Pair, tally: _Tally, span: Span, rows: int) -> None:
    if rows <= _DIRECT:
        tally.add(pair.rows(0, None, span))
        return
    count = next((p for p in _PRIMES if p * 64 >= rows), _PRIMES[-1])
    ours, theirs = pair.buckets(count, span)
    differing = {b for b in ours.keys() | theirs.keys() if ours.get(b) != theirs.get(b)}
    if differing:
        tally.add(pair.rows(count, differing if len(differing) < count // 2 else None, span))


def _by_buckets(pair: _Pair, tally: _Tally) -> None:
    count = _BUCKETS if pair.source.table.source.rows_estimate < 1_000_000 else _MANY_BUCKETS
    ours, theirs = pair.buckets(count, EVERYTHING)
    tally.source = sum(t.rows for t in ours.values())
    tally.target = sum(t.rows for t in theirs.values())
    tally.parts = 1
    differing = sorted(b for b in ours.keys() | theirs.keys() if ours.get(b) != theirs.get(b))
    groups = list(_groups(differing, lambda b: max(ours.get(b, Totals()).rows, theirs.get(b, Totals()).rows)))
    for number, group in enumerate(groups):
        # Where nothing differs in the end (JSON written otherwise), there is no giving up: only the rows can tell.
        if tally.full() or (number >= _MAX_FETCHES and tally.count):
            tally.complete = False
            return
        tally.add(pair.rows(count, set(group), EVERYTHING))


def _groups(buckets: Sequence[int], rows: Callable[[int], int]) -> Iterator[list[int]]:
    """The buckets in groups that are fetched together: each fetch reads the whole table anew."""
    group: list[int] = []
    total = 0
    for bucket in buckets:
        if group and total + rows(bucket) > _ROWS_PER_FETCH:
            yield group
            group, total = [], 0
        group.append(bucket)
        total += rows(bucket)
    if group:
        yield group
