"""Comparing one table: checksums of parts first, then smaller parts, then the rows themselves.

Tables with a key of integers are walked in key ranges (`walk.py`). A range whose totals differ is spread over buckets,
and only the rows of buckets that differ are fetched. Other tables (keys of texts, whose order differs between servers,
or no key) are spread over buckets as a whole. Both servers work at the same time.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from cdc_pipelines.replication.databases.checksum import EVERYTHING, Key, Span, TableChecksum, Totals
from cdc_pipelines.replication.verify.judge import Found
from cdc_pipelines.replication.verify.pair import Pair
from cdc_pipelines.replication.verify.report import Difference, TableVerified
from cdc_pipelines.replication.verify.walk import Pace, spans, walk

ROWS_PER_RANGE = 20_000
_DIRECT = 300  # rows that are fetched without asking for buckets first
_PRIMES = (7, 31, 61, 127, 251, 509, 1021)  # keys often step by 2, 5 or 10: a prime spreads them all the same
_BUCKETS, _MANY_BUCKETS = 4093, 65521
_ROWS_PER_FETCH = 50_000
_MAX_FETCHES = 20
_MAX_DIFFERENCES = 100_000


class Compared(NamedTuple):
    """A comparison's result, the picks of all rows that differ, and the key to go on from (None: all was compared).

    `ranges` says that the picks are keys; else they are digests under the comparison's salt.
    """

    result: TableVerified
    picks: frozenset[Key]
    ranges: bool
    next_key: Key | None = None


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
    picks: set[Key] = field(default_factory=set)
    next_key: Key | None = None

    def add(self, found: Sequence[Found]) -> None:
        self.count += len(found)
        self.listed += [f.difference for f in found[: max(0, self.max_keys - len(self.listed))]]
        self.picks.update(f.pick for f in found)

    def full(self) -> bool:
        """Whether to give up counting."""
        if self.count < _MAX_DIFFERENCES:
            return False
        self.complete = False
        return True


def compare_table(
    source: TableChecksum, target: TableChecksum, *, ranges: bool, max_keys: int = 100,
    rows_per_range: int = ROWS_PER_RANGE, pace: Pace | None = None, start: Key | None = None,
    over: Callable[[], bool] = lambda: False,
) -> Compared:
    """Compare a table that both sides see in snapshots of the same state.

    `ranges`: the key's ranges hold the same rows on both sides (integers; unique and not null on the target too).
    Only then do `pace` and `over` count: the walk begins at the key `start` and ends early when `over` says so.
    Raises what the two sides' queries raise; the other side's query is waited for then.
    """
    started = time.monotonic()
    tally = _Tally(max_keys)
    with ThreadPoolExecutor(1, thread_name_prefix="verify-target") as pool:
        pair = Pair(source, target, pool)
        if ranges:
            _by_ranges(pair, tally, rows_per_range, pace or Pace(), start, over)
        else:
            _by_buckets(pair, tally)
    result = TableVerified(
        table=source.table.name, rows_source=tally.source, rows_target=tally.target,
        differences=tuple(tally.listed), difference_count=tally.count, seconds=round(time.monotonic() - started, 3),
        chunks=tally.parts, complete=tally.complete,
    )
    return Compared(result, frozenset(tally.picks), ranges, tally.next_key)


def _by_ranges(
    pair: Pair, tally: _Tally, step: int, pace: Pace, start: Key | None, over: Callable[[], bool]
) -> None:
    walked = walk(pair, step, pace, start=start, over=over)
    tally.source, tally.target, tally.parts = walked.source, walked.target, walked.parts
    tally.next_key = walked.next_key
    for span, ours, theirs in walked.suspects:
        if tally.full():
            return
        if ours.rows <= 4 * step:
            _look_into(pair, tally, span, max(ours.rows, theirs.rows))
            continue
        # Rows that the target lacks: the range, cut by the target's keys, is too long on the source.
        for part in spans(pair.source, span, step):
            if tally.full():
                return
            _look_into(pair, tally, part, step)


def _look_into(pair: Pair, tally: _Tally, span: Span, rows: int) -> None:
    if rows <= _DIRECT:
        tally.add(pair.rows(0, None, span))
        return
    count = next((p for p in _PRIMES if p * 64 >= rows), _PRIMES[-1])
    ours, theirs = pair.buckets(count, span)
    differing = _differing(ours, theirs)
    if differing:
        tally.add(pair.rows(count, differing if len(differing) < count // 2 else None, span))


def _by_buckets(pair: Pair, tally: _Tally) -> None:
    count = _BUCKETS if pair.source.table.source.rows_estimate < 1_000_000 else _MANY_BUCKETS
    ours, theirs = pair.buckets(count, EVERYTHING)
    tally.source = sum(t.rows for t in ours.values())
    tally.target = sum(t.rows for t in theirs.values())
    tally.parts = 1
    differing = sorted(_differing(ours, theirs))
    groups = list(_groups(differing, lambda b: max(ours.get(b, Totals()).rows, theirs.get(b, Totals()).rows)))
    for number, group in enumerate(groups):
        # Where nothing differs in the end (JSON written otherwise), there is no giving up: only the rows can tell.
        if tally.full() or (number >= _MAX_FETCHES and tally.count):
            tally.complete = False
            return
        tally.add(pair.rows(count, set(group), EVERYTHING))


def _differing(ours: dict[int, Totals], theirs: dict[int, Totals]) -> set[int]:
    return {b for b in ours.keys() | theirs.keys() if ours.get(b) != theirs.get(b)}


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
