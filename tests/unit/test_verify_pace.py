"""The throttle of a comparison, with a clock of the test's own."""

import pytest

from cdc_pipelines.replication.verify import walk
from cdc_pipelines.replication.verify.walk import Pace


class Clock:
    """Time goes by only where the code sleeps, or the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(walk, "time", made)
    return made


def test_rows_take_as_long_as_they_may(clock: Clock) -> None:
    pace = Pace(1000)
    for _ in range(20):
        pace.after(500)
        clock.now += 0.1  # the servers' own time counts
    assert clock.now == pytest.approx(110.0, abs=0.2)


def test_a_slow_server_is_not_made_up_for_by_a_burst(clock: Clock) -> None:
    pace = Pace(1000)
    clock.now += 60
    before = clock.now
    for _ in range(10):
        pace.after(1000)
    assert clock.now - before >= 8.9


def test_without_a_limit_nothing_waits(clock: Clock) -> None:
    Pace().after(10**9)
    assert clock.now == 100.0
