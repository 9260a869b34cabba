"""What the health sensor asks of Dagster, over given looks: runs once, events not at every tick, any old cursor."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdc_pipelines.replication.control.store import ControlStore, Incident, PipelineRecord
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.health.rounds import Seen
from cdc_pipelines.replication.health.rules import problem
from cdc_pipelines.resources.pipelines import PipelinesResource
from cdc_pipelines.sensors import health as module
from tests.unit.dagster_pipelines import configure

NOW = datetime.now(UTC)
STATUS: dict[str, Any] = {
    "overall": "healthy", "generation": 7, "timestamp": "2026-05-05T12:00:00.000Z", "config": {"is_active": True},
    "consumer": {"healthy": True, "heartbeat_age_seconds": 1.5}, "change_log": {"bytes_estimate": 4096},
    "lag": {"seconds": 0.25, "messages": 3, "source_bytes": 10, "runway": {"runway_seconds": 7200}},
    "tables": [
        {"table": "order lines", "rows_copied": 10, "inserts": 5, "updates": 1, "deletes": 2, "truncates": 0,
         "changes_applied": 8}
    ],
}  # fmt: skip


@pytest.fixture
def looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Seen]]:
    """What the next look gives; at first one healthy pipeline."""
    monkeypatch.setenv("CDC_HOME", str(tmp_path))
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    store = ControlStore.open()
    configure(store)
    found = [Seen(store.get("shop"), STATUS)]
    monkeypatch.setattr(module, "look_at_all", lambda store: found)
    yield found
    store.close()


def tick(cursor: str | None = None) -> dg.SensorResult:
    result = module.health(dg.build_sensor_context(cursor=cursor, resources={"pipelines": PipelinesResource()}))
    assert isinstance(result, dg.SensorResult)
    return result


def test_tables_are_observed_and_recorded_as_fresh_but_not_at_every_tick(looks: list[Seen]) -> None:
    first = tick()
    observed, fresh = first.asset_events  # type: ignore[misc]
    assert isinstance(observed, dg.AssetObservation)
    assert observed.asset_key.path == ["shop", "order lines"]
    values = {name: value.value for name, value in observed.metadata.items()}
    assert [values[name] for name in ("lag (s)", "log runway (h)", "inserts", "overall")] == [0.25, 2, 5, "healthy"]
    assert isinstance(fresh, dg.AssetMaterialization)
    assert fresh.partition is None
    assert fresh.metadata["dagster/row_count"].value == 13
    assert fresh.tags == {"dagster/data_version": "7.10.8"}
    assert tick(first.cursor).asset_events == []


@pytest.mark.parametrize(
    "stale",
    [{"lag": {**STATUS["lag"], "seconds": 301.0}}, {"consumer": {"healthy": False}},
     {"tables": [STATUS["tables"][0] | {"detached": {"kind": "quarantined"}}]}],
)  # fmt: skip
def test_a_table_that_falls_behind_is_not_fresh(looks: list[Seen], stale: dict[str, Any]) -> None:
    looks[0] = replace(looks[0], status=STATUS | stale)
    assert [type(event) for event in tick().asset_events or []] == [dg.AssetObservation]


def test_each_schema_change_is_observed_once_on_its_table(looks: list[Seen]) -> None:
    change = {"table": "order lines", "kind": "add_column", "done": "applied", "what": "gained w",
              "statement": "alter table `order lines` add w int", "place": "uuid:7", "at": "2026-05-05T11:59:59.000Z",
              "seen_at": "2026-05-05T12:00:00.000Z"}  # fmt: skip
    looks[0] = replace(looks[0], status=STATUS | {"schema_changes": [change | {"number": 3}, change | {"number": 2}]})
    first = tick()
    seen = [e for e in first.asset_events or [] if "schema change" in (e.description or "")]
    assert [type(event) for event in seen] == [dg.AssetObservation] * 2
    assert seen[0].asset_key.path == ["shop", "order lines"]
    assert seen[0].description == "schema change, applied: order lines gained w"
    assert seen[0].metadata["source position"].value == "uuid:7"
    assert "alter table" in seen[0].metadata["statement"].value
    assert tick(first.cursor).asset_events == []
    looks[0] = replace(looks[0], status=STATUS | {"schema_changes": [change | {"number": 4}, change | {"number": 3}]})
    assert len(tick(first.cursor).asset_events or []) == 1


def incident(record: PipelineRecord, raised_at: datetime | None = None) -> Incident:
    found = (problem("task_failed", "task 0 failed"),)
    return Incident(9, record.name, "failed", "failed", found, opened_at=NOW, seen_at=NOW, raised_at=raised_at)


def test_runs_are_asked_for_under_keys_that_dagster_takes_once(looks: list[Seen]) -> None:
    record = looks[0].record
    looks[0] = Seen(record, STATUS, incident(record, raised_at=NOW), cure="restart_task", tries=2)
    requests = {request.job_name: request for request in tick().run_requests or []}
    assert requests["replication_health"].run_key == "shop:9"
    assert requests["heal_replication"].run_key == "shop:9:heal:2"
    for request in requests.values():
        assert request.run_config == {"pipeline": "shop", "incident": 9}
        assert (request.tags["cdc/pipeline"], request.tags["cdc/incident"]) == ("shop", "9")


def test_a_tick_whose_result_is_lost_loses_no_run(looks: list[Seen]) -> None:
    looks[0] = replace(looks[0], incident=incident(looks[0].record, raised_at=NOW))
    lost, again = (tick().run_requests or [] for _ in range(2))
    assert [request.run_key for request in again] == [request.run_key for request in lost] == ["shop:9"]
    begun = replace(incident(looks[0].record, raised_at=NOW), run="b59c6a3e")
    looks[0] = replace(looks[0], incident=begun)
    assert not tick().run_requests


def test_an_incident_alone_asks_for_no_run(looks: list[Seen]) -> None:
    looks[0] = replace(looks[0], incident=incident(looks[0].record))
    assert not tick().run_requests


@pytest.mark.parametrize("cursor", ["", "no json", "[1]", '{"shop": 3}', '{"shop": {"observed": "x"}}'])
def test_whatever_cursor_an_older_version_left(looks: list[Seen], cursor: str) -> None:
    assert len(tick(cursor).asset_events or []) == 2


def test_a_store_that_hangs_is_a_skipped_tick(looks: list[Seen], monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(module, "_DEADLINE_S", 0.1)
    monkeypatch.setattr(module, "look_at_all", lambda store: answered.wait(60))
    try:
        assert "gave no answer" in str(tick().skip_reason)
    finally:
        answered.set()


def test_a_store_out_of_reach_is_a_skipped_tick(looks: list[Seen], monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(store: ControlStore) -> list[Seen]:
        raise RetryableError("the control store is locked", "")

    monkeypatch.setattr(module, "look_at_all", gone)
    assert "the control store is locked" in str(tick().skip_reason)
