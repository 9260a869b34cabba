"""All pipelines of a control store in Prometheus's form, for whoever serves `/metrics`.

A scrape reads the control store alone, which is near; what servers must be asked for comes from the last of `Looks`.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from cdc_pipelines.replication.control.records import STATUSES, ConsumerState, Heartbeat, Incident, PipelineRecord
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.databases.postgres.lane_store import PHASES
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.health.facts import messages_behind
from cdc_pipelines.replication.health.judge import is_idle
from cdc_pipelines.replication.metrics.catalogue import Families
from cdc_pipelines.replication.metrics.looks import Looks
from cdc_pipelines.replication.operations.consumer_state import age_seconds
from cdc_pipelines.replication.stream.measures import Measures

Facts = dict[str, Any]

_HEALTH = {"healthy": 0, "degraded": 1, "failed": 2}
_CODES = ("0", "2", "10", "20", "30", "-9")
"""Told from the first scrape on: a counter that comes into being at 1 does not look as if it had grown."""
_OPERATIONS = ("inserts", "updates", "deletes", "truncates")


def registry(store: ControlStore, looks: Looks) -> CollectorRegistry:
    """What `prometheus_client` serves. `looks` is started and closed by the caller."""
    made = CollectorRegistry()
    made.register(PipelineCollector(store, looks))
    return made


class PipelineCollector(Collector):
    """Asked by every scrape, from any thread. Made where the store is out of reach, it raises RetryableError."""

    def __init__(self, store: ControlStore, looks: Looks) -> None:
        self._store, self._looks = store, looks
        self._exits: Counter[tuple[str, str]] = Counter()
        self._counted, _ = store.exit_codes_after(None)
        self._one_at_a_time = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Nothing: else the registry would scrape to find the names."""
        return []

    def collect(self) -> Iterable[Metric]:
        found = Families()
        try:
            self._from_store(found)
        except CdcError:
            found = Families()
            found.add("cdc_control_store_up", 0)
        return found.all()

    def _from_store(self, found: Families) -> None:
        records, beats = self._store.list(), self._store.heartbeats()
        open_ = self._store.open_incidents()
        self._count_exits()
        found.add("cdc_control_store_up", 1)
        found.add("cdc_agents", len(self._store.live_agents()))
        last = self._looks.last()
        age, statuses = last if last is not None else (None, {})
        found.add("cdc_look_age_seconds", age)
        for record in records:
            status = statuses.get(record.name)
            _pipeline(found, record, open_.get(record.name), status)
            _consumer(found, record.name, beats.get(record.name))
            codes = {*_CODES, *(code for name, code in self._exits if name == record.name)}
            for code in sorted(codes):
                found.add("cdc_consumer_exits_total", self._exits[record.name, code], record.name, code)
            if status is not None:
                _look(found, record.name, status)

    def _count_exits(self) -> None:
        """The store forgets old exits, so they can't be counted there."""
        with self._one_at_a_time:
            self._counted, codes = self._store.exit_codes_after(self._counted)
            self._exits.update((name, "unknown" if code is None else str(code)) for name, code in codes)


def _pipeline(found: Families, record: PipelineRecord, incident: Incident | None, status: Facts | None) -> None:
    name = record.name
    found.add("cdc_pipeline_active", record.desired == "running", name)
    for each in STATUSES:
        found.add("cdc_pipeline_status", record.status == each, name, each)
    word = incident.severity if incident is not None and incident.calm_since is None else "healthy"
    found.add("cdc_pipeline_health", _HEALTH[status["overall"] if status is not None else word], name)
    found.add("cdc_open_incidents", incident is not None, name)
    if incident is not None:
        found.add("cdc_incident_opened_timestamp_seconds", incident.opened_at.timestamp(), name)


def _consumer(found: Families, name: str, beat: Heartbeat | None) -> None:
    if beat is None:
        return
    found.add("cdc_consumer_heartbeat_age_seconds", max(0.0, age_seconds(beat)), name)
    for state in get_args(ConsumerState):
        found.add("cdc_consumer_state", beat.state == state, name, state)
    found.add("cdc_lag_records", messages_behind(beat), name)
    if beat.log_offset is not None:  # else it only begins, and its counts say 0
        found.add("cdc_events_applied_total", beat.events_total, name)
        found.add("cdc_transactions_applied_total", beat.transactions_total, name)
    measures = Measures.from_json(beat.measures)
    if measures is not None:
        found.add("cdc_latency_seconds", measures.latency, name)
        found.add("cdc_run_events", measures.runs, name)


def _look(found: Families, name: str, status: Facts) -> None:
    for kind, severity in sorted({(each["kind"], each["severity"]) for each in status["problems"]}):
        found.add("cdc_pipeline_problem", 1, name, kind, severity)
    lag, log = status["lag"], status.get("change_log") or {}
    found.add("cdc_lag_seconds", lag["seconds"], name)
    found.add("cdc_log_runway_seconds", (lag.get("runway") or {}).get("runway_seconds"), name)
    found.add("cdc_change_log_bytes", log.get("bytes_estimate"), name)
    found.add("cdc_change_log_records", log.get("records"), name)
    lanes, now = status.get("lanes", []), datetime.now(UTC)
    for phase in PHASES:
        found.add("cdc_lanes", sum(lane["phase"] == phase for lane in lanes), name, phase)
    found.add("cdc_lanes_idle", sum(is_idle(lane, now) for lane in lanes), name)
    tables = status["tables"]
    apart = [table["detached"] for table in tables if table.get("detached")]
    found.add("cdc_tables_quarantined", sum(each["kind"] == "quarantined" for each in apart), name)
    found.add("cdc_dead_letters", sum(table.get("dead_letters", 0) for table in tables), name)
    for table in tables:
        labels = (name, table["table"])
        found.add("cdc_copy_chunks", table["chunks"], *labels)
        found.add("cdc_copy_chunks_done", table["chunks_done"], *labels)
        found.add("cdc_copied_rows", table["rows_copied"], *labels)
        for operation in _OPERATIONS:
            found.add("cdc_changes_applied_total", table[operation], *labels, operation.removesuffix("s"))
        verified = table["verified"]
        if verified is not None:
            found.add("cdc_verification_differences", verified["differences"], *labels)
        if verified is not None and verified["complete"]:
            age = (datetime.now(UTC) - datetime.fromisoformat(verified["at"])).total_seconds()
            found.add("cdc_verification_age_seconds", max(0.0, age), *labels)
