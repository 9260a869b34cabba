"""What `/metrics` tells, from a real control store: values, names, and what must not look as if it had happened."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cdc_pipelines.agent.metrics import serving
from cdc_pipelines.replication.changes.batches import Commit
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.control.records import Incident, Problem
from cdc_pipelines.replication.control.store import ControlStore, Heartbeat
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.metrics.catalogue import METRICS
from cdc_pipelines.replication.metrics.collector import registry
from cdc_pipelines.replication.metrics.looks import Looks
from cdc_pipelines.replication.pipeline import Apply
from cdc_pipelines.replication.stream import measures as measures_module
from cdc_pipelines.replication.stream.measures import Histogram, Measures
from cdc_pipelines.replication.stream.run import Run
from tests.control_specs import make_spec
from tests.unit.log_reading import KEYED

Samples = dict[tuple[Any, ...], float]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ControlStore]:
    with contextlib.closing(ControlStore.open(f"sqlite:///{tmp_path / 'home' / 'control.db'}")) as opened:
        opened.save_pipeline(make_spec("shop", 1), "", ())
        yield opened


class Seen(Looks):
    """A look whose outcome is given."""

    def __init__(self, *, age_s: float = 0, **statuses: Any) -> None:
        self._last = (time.monotonic() - age_s, statuses)


def looked(**changes: Any) -> dict[str, Any]:
    """A status as a look finds it."""
    return {
        "overall": "healthy", "problems": [], "tables": [], "change_log": {},
        "lag": {"seconds": None, "messages": None, "source_bytes": None},
    } | changes  # fmt: skip


def scrape(source: CollectorRegistry) -> Samples:
    """(name, label values in the order of their names) → value."""
    text = generate_latest(source).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text) for sample in family.samples
    }


def beat(store: ControlStore, **facts: Any) -> None:
    at = datetime.now(UTC) - timedelta(seconds=facts.pop("age_s", 0))
    assert store.beat(Heartbeat("shop", "g", 1, "here", "0", facts.pop("state", "streaming"), at, **facts))


def exits(store: ControlStore, code: int | None) -> None:
    store.record_exit("shop", group="g", revision=1, host="here", pid=1, exit_code=code, last_lines="")


def test_a_histogram_counts_values_at_their_bounds() -> None:
    made = Histogram.over((1.0, 10.0))
    for value in (0.5, 1.0, 1.1, 10.0, 11.0):
        made.observe(value)
    assert (made.counts, made.number, made.total) == ([2, 4], 5, pytest.approx(23.6))
    made.observe_ages([100_000, 88_900, 90_000, 99_000, 98_900], 100_000.0)
    assert (made.counts, made.number, made.total) == ([4, 8], 10, pytest.approx(23.6 + 23.2))


def test_latency_is_measured_on_the_sources_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source is an hour ahead: its commits lie in our future."""
    monkeypatch.setattr(measures_module.time, "time", lambda: 1000.0)
    made = Measures.fresh()
    made.applied(7, [4_599_000, 4_599_500], None)
    assert made.latency.number == 0, "nobody knew yet"
    made.applied(8, [4_599_000, 4_599_980], 3_600_000)
    assert (made.latency.number, made.latency.total) == (2, pytest.approx(1.02))
    assert (made.runs.number, made.runs.total) == (2, 15)


def test_commit_times_are_those_of_a_runs_own_transactions_with_rows() -> None:
    """Of empty ones, of other databases, a run may hold millions."""
    items: queue.Queue[Any] = queue.Queue()
    position = MySqlPosition("binlog.000001", 4)
    run = Run(items, threading.Event(), Apply(), 0, position, lambda table, batch: batch)
    codec = RowCodec(KEYED, "mysql", "postgres")
    for offset, (commit_ms, rows, repeated) in enumerate(
        [(100, 1, False), (200, 0, False), (300, 2, False), (400, 1, True), (500, 0, False)], start=1
    ):
        for row in range(rows):
            run.add(codec, "c", (offset, row), None, None, 10, None)
        run.complete(None, None, commit_ms, offset, repeated=repeated)
    run.send()
    run.add(codec, "d", (1, 0), None, None, 10, None)
    run.complete(None, None, 600, 9, repeated=False)
    run.send()
    commits = [item.commits_ms for item in items.queue if isinstance(item, Commit)]
    assert commits == [[100, 300], [600]]


def test_what_another_version_measured_is_not_told(store: ControlStore) -> None:
    assert Measures.from_json('{"latency": 3}') is None
    assert Measures.from_json("nonsense") is None
    beat(store, measures='{"latency": 3}')
    assert not [key for key in scrape(registry(store, Seen())) if key[0].startswith("cdc_latency")]


def test_a_streaming_pipeline_in_figures(store: ControlStore) -> None:
    measured = Measures.fresh()
    measured.applied(3, [int(time.time() * 1000) - 40], 0)
    beat(store, age_s=4, log_offset=70, log_end=75, events_total=33, transactions_total=11, measures=measured.to_json())
    verified = {"at": (datetime.now(UTC) - timedelta(hours=2)).isoformat(), "differences": 0, "complete": True}
    table = {
        "table": "t", "chunks": 5, "chunks_done": 4, "rows_copied": 900, "inserts": 1, "updates": 2, "deletes": 3,
        "truncates": 0, "verified": verified, "detached": {"kind": "quarantined"}, "dead_letters": 2,
    }  # fmt: skip
    status = looked(
        lag={"seconds": 1.5, "messages": 5, "source_bytes": 9, "runway": {"runway_seconds": 7200.0}},
        change_log={"bytes_estimate": 4096, "records": 12}, tables=[table],
        lanes=[
            {"table": name, "phase": phase, "last_beat": (datetime.now(UTC) - timedelta(seconds=silent_s)).isoformat()}
            for name, phase, silent_s in (("a", "copying", 1), ("b", "copying", 61), ("c", "merged", 59))
        ],
    )
    found = scrape(registry(store, Seen(age_s=12, shop=status)))
    assert found["cdc_consumer_heartbeat_age_seconds", "shop"] == pytest.approx(4, abs=1)
    assert found["cdc_look_age_seconds",] == pytest.approx(12, abs=1)
    assert found["cdc_verification_age_seconds", "shop", "t"] == pytest.approx(7200, abs=5)
    expected: Samples = {
        ("cdc_control_store_up",): 1,
        ("cdc_pipeline_health", "shop"): 0,
        ("cdc_open_incidents", "shop"): 0,
        ("cdc_pipeline_active", "shop"): 0,
        ("cdc_pipeline_status", "shop", "configured"): 1,
        ("cdc_pipeline_status", "shop", "running"): 0,
        ("cdc_consumer_state", "shop", "streaming"): 1,
        ("cdc_consumer_state", "shop", "failed"): 0,
        ("cdc_lag_records", "shop"): 5,
        ("cdc_lag_seconds", "shop"): 1.5,
        ("cdc_log_runway_seconds", "shop"): 7200,
        ("cdc_change_log_bytes", "shop"): 4096,
        ("cdc_events_applied_total", "shop"): 33,
        ("cdc_transactions_applied_total", "shop"): 11,
        ("cdc_latency_seconds_bucket", "0.025", "shop"): 0,
        ("cdc_latency_seconds_bucket", "0.5", "shop"): 1,
        ("cdc_latency_seconds_count", "shop"): 1,
        ("cdc_run_events_bucket", "1", "shop"): 0,
        ("cdc_run_events_bucket", "10", "shop"): 1,
        ("cdc_run_events_sum", "shop"): 3,
        ("cdc_copy_chunks", "shop", "t"): 5,
        ("cdc_copy_chunks_done", "shop", "t"): 4,
        ("cdc_copied_rows", "shop", "t"): 900,
        ("cdc_changes_applied_total", "delete", "shop", "t"): 3,
        ("cdc_verification_differences", "shop", "t"): 0,
        ("cdc_lanes", "copying", "shop"): 2,
        ("cdc_lanes", "following", "shop"): 0,
        ("cdc_lanes", "merged", "shop"): 1,
        ("cdc_lanes_idle", "shop"): 1,
        ("cdc_tables_quarantined", "shop"): 1,
        ("cdc_dead_letters", "shop"): 2,
    }
    assert {key: found.get(key) for key in expected} == expected


def test_an_incident_and_problems_are_told(store: ControlStore) -> None:
    opened = datetime(2026, 1, 1, tzinfo=UTC)
    problem = Problem("lag", "degraded", "late")
    store.save_incident(Incident(0, "shop", "degraded", "failed", (problem,), opened, opened))
    unseen = scrape(registry(store, Seen()))
    assert unseen["cdc_pipeline_health", "shop"] == 1
    assert unseen["cdc_incident_opened_timestamp_seconds", "shop"] == opened.timestamp()
    problems = [{"kind": "task_failed", "severity": "failed", "message": "secret words", "next_step": ""}]
    seen = scrape(registry(store, Seen(shop=looked(overall="failed", problems=problems))))
    assert (seen["cdc_pipeline_health", "shop"], seen["cdc_open_incidents", "shop"]) == (2, 1)
    assert seen["cdc_pipeline_problem", "task_failed", "shop", "failed"] == 1
    assert "secret words" not in str(seen)


def test_an_incident_that_is_calm_is_no_illness(store: ControlStore) -> None:
    """Nobody looks here but Dagster's sensor, and the pipeline has been well again for some seconds."""
    at = datetime.now(UTC)
    store.save_incident(Incident(0, "shop", "failed", "failed", (), at, at, calm_since=at))
    found = scrape(registry(store, Seen()))
    assert (found["cdc_pipeline_health", "shop"], found["cdc_open_incidents", "shop"]) == (0, 1)


def test_a_consumer_that_only_begins_does_not_reset_the_counters(store: ControlStore) -> None:
    """Its first heartbeat knows no counts yet: 0 would look as if everything were applied once more."""
    beat(store, state="starting")
    found = scrape(registry(store, Seen()))
    assert found["cdc_consumer_state", "shop", "starting"] == 1
    assert not [key for key in found if "applied" in key[0]]


def test_only_exits_after_the_beginning_are_counted_and_each_once(store: ControlStore) -> None:
    """A counter that began at a hundred would raise an alarm at every restart of the agent."""
    exits(store, 10)
    source = registry(store, Seen())
    assert scrape(source)["cdc_consumer_exits_total", "10", "shop"] == 0
    for code in (10, 10, -9, None):
        exits(store, code)
    for _ in range(2):
        found = scrape(source)
        told = {code: found["cdc_consumer_exits_total", code, "shop"] for code in ("0", "10", "-9", "unknown")}
        assert told == {"0": 0, "10": 2, "-9": 1, "unknown": 1}
    for times in (60, 120):  # the store keeps a hundred
        for _ in range(60):
            exits(store, 20)
        assert scrape(source)["cdc_consumer_exits_total", "20", "shop"] == times


def test_exits_are_counted_after_another_pipeline_was_torn_down(store: ControlStore) -> None:
    """SQLite gives the numbers of its exits anew."""
    store.save_pipeline(make_spec("other", 2), "", ())
    for _ in range(5):
        store.record_exit("other", group="g", revision=1, host="here", pid=1, exit_code=10, last_lines="")
    source = registry(store, Seen())
    store.delete("other")
    scrape(source)
    exits(store, 10)
    assert scrape(source)["cdc_consumer_exits_total", "10", "shop"] == 1


def test_an_old_look_is_not_told(store: ControlStore) -> None:
    found = scrape(registry(store, Seen(age_s=3600, shop=looked(overall="failed", lag={"seconds": 5.0}))))
    assert ("cdc_lag_seconds", "shop") not in found
    assert ("cdc_look_age_seconds",) not in found
    assert found["cdc_pipeline_health", "shop"] == 0


def test_a_store_that_is_gone_is_told(store: ControlStore, tmp_path: Path) -> None:
    source = registry(store, Seen())
    store.close()
    (tmp_path / "home" / "control.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    assert scrape(source) == {("cdc_control_store_up",): 0}


def test_a_look_that_fails_is_logged_once_and_the_next_one_tried(
    store: ControlStore, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    looks = Looks(store)
    looks.look()
    assert looks.last() is not None, "nothing to look at, but looked"
    store.close()
    (tmp_path / "home" / "control.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    looks.look()
    looks.look()
    assert len([r for r in caplog.records if "can't be looked at" in r.getMessage()]) == 1


@pytest.mark.parametrize("name", METRICS)
def test_names_follow_prometheus_conventions(name: str) -> None:
    kind, labels, words = METRICS[name]
    assert name.startswith("cdc_")
    assert name.endswith("_total") == (kind == "counter")
    assert words.endswith(".")
    assert set(labels) <= {"pipeline", "table", "status", "state", "code", "kind", "severity", "operation", "phase"}


def test_they_are_served_while_it_lasts_and_a_taken_port_is_told(store: ControlStore) -> None:
    with serving(store, "127.0.0.1", 0) as url:
        answer = requests.get(url, timeout=10)
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "# HELP cdc_pipeline_active 1 where the pipeline is meant to stream." in answer.text
        assert '\ncdc_pipeline_active{pipeline="shop"} 0.0\n' in answer.text
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(ConfigurationError, match=f"can't be served on 127.0.0.1:{port}"), \
                serving(store, "127.0.0.1", port):
            pass
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)
    with serving(store, "127.0.0.1", port) as again:
        assert again == url, "the port is free again"
