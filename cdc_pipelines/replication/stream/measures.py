"""What a consumer measures while it applies, in histograms that its heartbeat carries.

Counted since the process began: a reader of counters takes a smaller number than before for a new beginning.
"""

import time
from bisect import bisect_left
from typing import Self

import msgspec

LATENCY_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
RUN_BOUNDS = (1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 10_000.0, 50_000.0, 100_000.0, 500_000.0)


class Histogram(msgspec.Struct):
    """`counts[i]` values were at most `bounds[i]`; `number` were seen, `total` is their sum."""

    bounds: tuple[float, ...]
    counts: list[int]
    number: int = 0
    total: float = 0.0

    @classmethod
    def over(cls, bounds: tuple[float, ...]) -> Self:
        return cls(bounds, [0] * len(bounds))

    def observe(self, value: float) -> None:
        for index, bound in enumerate(self.bounds):
            self.counts[index] += value <= bound
        self.number += 1
        self.total += value

    def observe_ages(self, moments_ms: list[int], now_ms: float) -> None:
        """Count how old each moment is, in seconds. Quick with many: the applier's thread waits meanwhile."""
        moments = sorted(moments_ms)  # they nearly are
        for index, bound in enumerate(self.bounds):
            self.counts[index] += len(moments) - bisect_left(moments, now_ms - bound * 1000)
        self.number += len(moments)
        self.total += max(0.0, (now_ms * len(moments) - sum(moments)) / 1000)


class Measures(msgspec.Struct):
    """`latency`: seconds from each commit on the source until it was visible; `runs`: row events per target commit."""

    latency: Histogram
    runs: Histogram

    @classmethod
    def fresh(cls) -> Self:
        return cls(Histogram.over(LATENCY_BOUNDS_S), Histogram.over(RUN_BOUNDS))

    def applied(self, events: int, commits_ms: list[int], clock_ahead_ms: float | None) -> None:
        """A run is visible now. `commits_ms` are the source's times of its commits, on the source's clock.

        `clock_ahead_ms`: how much that clock is ahead of ours; None: nobody knows yet, and no latency is told.
        """
        self.runs.observe(events)
        if commits_ms and clock_ahead_ms is not None:
            self.latency.observe_ages(commits_ms, time.time() * 1000 + clock_ahead_ms)

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | None) -> Self | None:
        """None for nothing, and for what a consumer of another version wrote otherwise."""
        try:
            return msgspec.json.decode(text, type=cls) if text else None
        except msgspec.DecodeError:
            return None
