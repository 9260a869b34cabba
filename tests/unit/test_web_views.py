"""What the pages make of a status: words, tones, steps, the plot's line."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdc_pipelines.replication.control.records import LeaseInfo, PipelineRecord, Status
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.web import views
from cdc_pipelines.web.watch import Sample
from tests.unit.dagster_pipelines import configure
from tests.unit.web_client import facts

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def record(tmp_path: Path) -> Any:
    store = ControlStore.open(f"sqlite:///{tmp_path / 'control.db'}")
    configure(store)

    def stands(status: Status, active: bool) -> PipelineRecord:
        store.set_status("shop", status, is_active=active)
        return store.get("shop")

    return stands


def lease(operation: str = "start", holder: str = "cli:here:1") -> LeaseInfo:
    return LeaseInfo("shop", holder, operation, START, 60)


@pytest.mark.parametrize(
    ("status", "active", "healthy", "value", "tone"),
    [
        ("running", True, True, "healthy", "good"), ("running", True, False, "degraded", "warn"),
        ("configured", False, True, "not started", "idle"), ("stopped", False, True, "stopped", "idle"),
        ("copying", True, True, "starting", "idle"), ("copying", True, False, "degraded", "warn"),
    ],
)  # fmt: skip
def test_the_one_word(record: Any, status: Status, active: bool, healthy: bool, value: str, tone: str) -> None:
    pipeline = record(status, active)
    found = views.overall(pipeline, facts(pipeline) | {"overall": "healthy" if healthy else "degraded"})
    assert (found.value, found.tone) == (value, tone)


def test_badges_of_what_runs_and_of_what_does_not(record: Any) -> None:
    running = record("running", True)
    status = facts(running)
    assert [b.tone for b in views.badges(running, status)] == ["good"] * 5
    status["connector"] |= {"tasks": [{"id": 0, "state": "FAILED"}]}
    status["consumer"] |= {"state": "STALE", "healthy": False, "heartbeat_recent": False, "gone": True,
                           "heartbeat_age_seconds": 130.0}  # fmt: skip
    status["lag"] |= {"seconds": 400.0}
    found = views.badges(running, status)
    assert [b.tone for b in found] == ["good", "bad", "bad", "warn", "warn"]
    assert [b.value for b in found] == ["running", "0 of 1", "stale", "2 min ago", "7 min"]
    stopped = record("stopped", False)
    assert {b.tone for b in views.badges(stopped, status)} <= {"good", "idle"}


def test_the_steps_of_a_start(record: Any) -> None:
    def states(status: Status, held: LeaseInfo | None) -> list[str]:
        return [s.state for s in views.steps(record(status, True), held)]

    assert states("configured", lease()) == ["now", "waits", "waits", "waits"]
    assert states("copying", lease()) == ["done", "now", "waits", "waits"]
    assert states("starting", lease()) == ["done", "done", "done", "now"]
    assert states("connecting", None) == ["done", "done", "broken", "waits"]
    assert states("running", lease()) == []
    assert states("stopped", lease("verify")) == []


def test_time_left_of_a_copy() -> None:
    at = START + timedelta(seconds=20)
    tables = [{"chunks": 4, "chunks_done": 1, "chunks_done_since": 1}] * 2
    assert views.time_left(tables, lease(), at) == "about 60 s left"
    assert views.time_left([{"chunks": 4, "chunks_done": 4, "chunks_done_since": 4}], lease(), at) == ""
    assert views.time_left([{}], lease(), at) == ""
    assert views.time_left(tables, lease(), START - timedelta(seconds=1)) == "", "seen before this start began"


def test_time_left_of_a_copy_that_goes_on() -> None:
    at = START + timedelta(seconds=20)
    tables = [{"chunks": 100, "chunks_done": 92, "chunks_done_since": 2}]
    assert views.time_left(tables, lease(), at) == "about 80 s left", "90 chunks were there before"
    assert views.time_left([tables[0] | {"chunks_done_since": 0}], lease(), at) == "", "not known yet"


def test_the_plot_has_a_gap_where_the_lag_is_unknown() -> None:
    lags = [0.0, 8.0, None, 2.0, 1.0]
    samples = [Sample(START + timedelta(seconds=15 * n), lag, 0, "healthy") for n, lag in enumerate(lags)]
    plot = views.plot(samples)
    assert plot is not None
    assert plot.paths == ("M0.0 160.0L240.0 32.0", "M720.0 128.0L960.0 144.0")
    assert plot.top == "10 s"
    assert plot.words == "Lag since 12:00 UTC: now 1 s, at most 8 s."
    assert views.plot(samples[:1]) is None


def test_numbers_as_people_read_them() -> None:
    assert [views.duration(s) for s in (0.04, 0.99, 59, 119.4, 120, 3600 * 2, 7500, 86400 * 3)] == [
        "0.0 s", "1 s", "59 s", "119 s", "2 min", "2 h", "2 h 5 min", "3 days",
    ]  # fmt: skip
    assert [views.size(n) for n in (0, 1023, 1536, 2**20 * 12, 2**50)] == [
        "0 B", "1023 B", "1.5 KiB", "12 MiB", "1,024.0 TiB",
    ]  # fmt: skip
