"""The run that fails for an incident, so that people see it: it carries the whole status."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from cdc_pipelines.jobs import health as jobs
from cdc_pipelines.replication.control.store import ControlStore, Incident
from cdc_pipelines.replication.health.rules import problem
from cdc_pipelines.resources.pipelines import PipelinesResource
from tests.unit.step_runs import failure, instance, store

__all__ = ["instance", "store"]  # fixtures

NOW = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
Run = Callable[[Incident], dg.ExecuteInProcessResult]


@pytest.fixture
def run(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Run:
    status = {"overall": "failed", "lag": {"seconds": 7.5}, "tables": [{"table": "customers", "at": NOW}]}
    monkeypatch.setattr(jobs, "status", lambda _: status)

    def launch(incident: Incident) -> dg.ExecuteInProcessResult:
        return jobs.replication_health.execute_in_process(
            {"pipeline": incident.pipeline, "incident": incident.id}, instance=instance, raise_on_error=False,
            resources={"pipelines": PipelinesResource()},
        )  # fmt: skip

    return launch


def opened(store: ControlStore, **more: Any) -> Incident:
    found = (problem("task_failed", "task 0 failed", "look at its trace"),)
    return store.save_incident(
        Incident(0, "shop", "failed", "failed", found, opened_at=NOW, seen_at=NOW, raised_at=NOW, **more)
    )


def test_it_fails_with_the_status_and_is_the_incident_s_run(store: ControlStore, run: Run) -> None:
    incident = opened(store)
    store.record_action(incident.id, "restart_task", "requested")
    result = run(incident)
    shown = failure(result, "raise_incident").user_failure_data
    assert shown.description == "pipeline shop is failed: task 0 failed"
    facts = {name: value.value for name, value in shown.metadata.items()}
    assert facts["status"] == {
        "overall": "failed", "lag": {"seconds": 7.5}, "tables": [{"table": "customers", "at": str(NOW)}]
    }  # fmt: skip
    assert (facts["incident"], facts["next step"]) == (incident.id, "look at its trace")
    assert [record.data["problem"] for record in shown.metadata["problems"].records] == ["task_failed"]
    assert [record.data["action"] for record in shown.metadata["tried by itself"].records] == ["restart_task"]
    kept = store.incident(incident.id)
    assert kept is not None
    assert kept.run == result.run_id


def test_it_succeeds_where_the_incident_is_over(store: ControlStore, run: Run) -> None:
    assert run(opened(store, resolved_at=NOW)).success
