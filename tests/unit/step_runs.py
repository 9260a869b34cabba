"""Runs of `start_replication` in this process over a fake engine, and what they left."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdc_pipelines.jobs.start import start_steps
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.resources.pipelines import PipelinesResource
from tests.unit.dagster_pipelines import GENERATION, FakeEngine, configure

STEPS = ("validate_prerequisites", "plan_copy", "copy_shard", "check_copy", "create_connector", "start_consumer")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlStore]:
    """A control store with one configured pipeline, `shop`."""
    monkeypatch.setenv("CDC_HOME", str(tmp_path))
    monkeypatch.setenv("CDC_PIPELINES_DIR", str(tmp_path))
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    with contextlib.closing(ControlStore.open()) as opened:
        configure(opened)
        yield opened


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    return FakeEngine().install(monkeypatch)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def start(instance: dg.DagsterInstance, store: ControlStore) -> Callable[..., dg.ExecuteInProcessResult]:
    """Run the job's steps in this process; retries come at once."""
    job = start_steps.to_job(resource_defs={"pipelines": PipelinesResource()})

    def run(*, force_resync: bool = False, pipeline: str = "shop") -> dg.ExecuteInProcessResult:
        ops: dict[str, Any] = {name: {"config": {"pipeline": pipeline}} for name in STEPS}
        ops["plan_copy"]["config"]["force_resync"] = force_resync
        return job.execute_in_process({"ops": ops}, instance=instance, raise_on_error=False)

    return run


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps retry without their pauses."""
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda *_: 0)


def partitions(instance: dg.DagsterInstance, table: str) -> list[str]:
    return sorted(instance.get_dynamic_partitions(f"shop/{table}"))


def chunk_keys(count: int, generation: int = GENERATION) -> list[str]:
    return [f"g{generation}-{n:04d}" for n in range(count)]


def failure(result: dg.ExecuteInProcessResult, step: str) -> Any:
    """The one failure of a step: its user-facing data."""
    [event] = [e for e in result.all_events if e.is_step_failure and e.step_key == step]
    return event.step_failure_data


def copied_partitions(result: dg.ExecuteInProcessResult) -> list[tuple[str, str | None]]:
    return [
        (e.asset_key.path[-1], e.partition)
        for e in result.all_events
        if e.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION
    ]
