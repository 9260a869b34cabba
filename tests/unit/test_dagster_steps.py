"""`start_replication` and the tables' assets over a fake engine: events, partitions, leases, failures."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdc_pipelines.assets.declared import declared_pipelines
from cdc_pipelines.assets.partitions import materialization
from cdc_pipelines.assets.tables import replicated_tables
from cdc_pipelines.jobs.start import start_steps
from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.copy.chunk import Chunk
from cdc_pipelines.replication.errors import (
    CheckResult,
    ConfigurationError,
    IntegrityError,
    PrerequisiteError,
    ResyncRequiredError,
    RetryableError,
)
from cdc_pipelines.replication.operations import start as steps
from cdc_pipelines.resources import failures
from cdc_pipelines.resources.pipelines import PIPELINE_TAG, PipelinesResource
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


def test_one_run_from_nothing_to_running(
    start: Any, engine: FakeEngine, instance: dg.DagsterInstance, store: ControlStore, capfd: pytest.CaptureFixture[str]
) -> None:
    result = start()
    assert result.success
    assert [c for c in engine.calls if "copy " not in c] == [
        "validate", "plan force_resync=False", "check", "connector", "consumer"
    ]  # fmt: skip
    assert partitions(instance, "customers") == partitions(instance, "orders") == chunk_keys(2)
    assert sorted(copied_partitions(result)) == [(t, k) for t in ("customers", "orders") for k in chunk_keys(2)]
    heading = [line.split(" - ")[-1][:8] for line in capfd.readouterr().err.splitlines() if "STEP " in line]
    assert [h for h in heading if h.startswith("STEP ") and "/" in h] == [f"STEP {n}/4" for n in (1, 2, 3, 4)]
    assert instance.get_run_by_id(result.run_id).tags[PIPELINE_TAG] == "shop"
    assert store.lease_info("shop") is None, "the run has ended: the pipeline is free"
    assert [(e.operation, e.outcome) for e in store.history("shop")] == [("start", "done")]


def test_metadata_of_chunks_and_tables(start: Any, engine: FakeEngine, instance: dg.DagsterInstance) -> None:
    result = start()
    [first, *_] = [e for e in result.all_events if e.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION]
    metadata = {k: v.value for k, v in first.materialization.metadata.items()}
    assert metadata["dagster/partition_row_count"] == 10
    assert (metadata["bytes"], metadata["seconds"], metadata["rows/s"]) == (400, 0.5, 20)
    observed = [e for e in result.all_events if e.event_type == dg.DagsterEventType.ASSET_OBSERVATION]
    assert [e.asset_key.path for e in observed] == [["shop", "customers"], ["shop", "orders"]]
    table = observed[0].asset_observation_data.asset_observation.metadata
    assert table["dagster/row_count"].value == 20
    assert [c.name for c in table["dagster/column_schema"].value.columns] == ["id", "note"]


def test_the_pipeline_is_held_between_the_steps(start: Any, engine: FakeEngine, store: ControlStore) -> None:
    seen: list[Any] = []
    engine.fail["connector"] = lambda: seen.append(store.lease_info("shop")) or ConfigurationError("stop here")
    start()
    [held] = seen
    assert held.operation == "start"
    assert held.seconds_left > 30


def test_chunks_are_reported_while_the_shard_is_copied(
    start: Any, engine: FakeEngine, instance: dg.DagsterInstance
) -> None:
    """Not when the step ends: a copy of hours must fill the bar while it runs."""
    known: list[int] = []

    def look() -> BaseException:
        run = instance.get_runs(limit=1)[0]
        deadline = time.monotonic() + 20
        while not known or (known[-1] == 0 and time.monotonic() < deadline):
            logs = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
            known.append(len(logs))
            time.sleep(0.05)
        return ConfigurationError("far enough")

    engine.per_table = 50
    engine.fail["copy customers#49"] = look
    start()
    assert known[-1] > 0


def test_only_what_is_missing_is_copied_by_the_next_run(
    start: Any, engine: FakeEngine, instance: dg.DagsterInstance
) -> None:
    engine.fail["copy orders#1"] = lambda: ConfigurationError("the disk is full", "make room.")
    assert not start().success
    engine.fail.clear()
    engine.calls.clear()
    again = start()
    assert again.success
    assert [c for c in engine.calls if "#" in c] == ["copy orders#1"]
    assert copied_partitions(again) == [("orders", chunk_keys(2)[1])]


def test_dagster_hears_of_chunks_whose_events_were_lost(start: Any, engine: FakeEngine) -> None:
    """A copy that was killed between a chunk's commit and its event."""
    engine.fail["connector"] = lambda: ConfigurationError("not now")
    engine.fail["copy orders#1"] = lambda: ConfigurationError("killed")
    start()
    engine.copied("orders", 1)  # the chunk had been committed
    engine.fail.clear()
    assert copied_partitions(start()) == [("orders", chunk_keys(2)[1])]


def test_a_resync_replaces_the_partitions(start: Any, engine: FakeEngine, instance: dg.DagsterInstance) -> None:
    start()
    engine.per_table = 1
    result = start(force_resync=True)
    assert result.success
    assert "plan force_resync=True" in engine.calls
    assert partitions(instance, "orders") == chunk_keys(1, GENERATION + 1)
    materialized = instance.get_materialized_partitions(dg.AssetKey(["shop", "orders"]))
    assert chunk_keys(1, GENERATION + 1)[0] in materialized


@pytest.mark.parametrize("error", [ConfigurationError, ResyncRequiredError, IntegrityError])
def test_what_a_person_must_mend_is_not_retried(
    start: Any, engine: FakeEngine, store: ControlStore, error: type[ConfigurationError]
) -> None:
    engine.fail["connector"] = lambda: error("the binary log was reset", "launch with `force_resync`.")
    result = start()
    assert engine.calls.count("connector") == 1
    assert "consumer" not in engine.calls
    shown = failure(result, "create_connector").user_failure_data
    assert shown.description == "the binary log was reset"
    assert shown.metadata["next step"].value == "launch with `force_resync`."
    assert shown.metadata["error"].value == error.__name__
    assert store.lease_info("shop") is None, "whoever mends it can start at once"
    assert [(e.operation, e.outcome, e.message) for e in store.history("shop")] == [
        ("start", "failed", "the binary log was reset")
    ]  # fmt: skip


@pytest.mark.usefixtures("no_delay")
def test_what_is_out_of_reach_is_retried(start: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [RetryableError("Connect is out of reach"), ConnectionResetError("reset by peer")]

    def fail_twice(rt: Any, log: Any) -> dict[str, Any]:
        engine.calls.append("connector")
        if outcomes:
            raise outcomes.pop()
        return {}

    monkeypatch.setattr(steps, "step_connector", fail_twice)
    result = start()
    assert result.success
    assert engine.calls.count("connector") == 3


@pytest.mark.usefixtures("no_delay")
def test_the_last_try_says_why(start: Any, engine: FakeEngine, store: ControlStore) -> None:
    engine.fail["validate"] = lambda: RetryableError("MySQL at db:3306 is out of reach", "check that it runs.")
    result = start()
    assert engine.calls == ["validate"] * (failures.RETRIES.max_retries + 1)
    shown = failure(result, "validate_prerequisites").user_failure_data
    assert shown.description == "MySQL at db:3306 is out of reach"
    assert shown.metadata["next step"].value == "check that it runs."
    assert store.lease_info("shop") is None


def test_a_bug_is_shown_with_its_traceback_and_not_retried(start: Any, engine: FakeEngine) -> None:
    engine.fail["check"] = lambda: ZeroDivisionError("division by zero")
    result = start()
    assert engine.calls.count("check") == 1
    data = failure(result, "check_copy")
    assert data.user_failure_data.description == "ZeroDivisionError: division by zero"
    assert "dagster_pipelines.py" in data.error.to_string()


def test_prerequisites_are_a_table_with_copyable_fixes(start: Any, engine: FakeEngine) -> None:
    results = [
        CheckResult("target", True, "reachable"),
        CheckResult("grants", False, "user cdc lacks REPLICATION SLAVE", "GRANT REPLICATION SLAVE ON *.* TO cdc;"),
    ]
    engine.fail["validate"] = lambda: PrerequisiteError("shop", results)
    shown = failure(start(), "validate_prerequisites").user_failure_data
    assert [r.data["met"] for r in shown.metadata["prerequisites"].value.records] == ["NO", "yes"]
    assert "```\nGRANT REPLICATION SLAVE ON *.* TO cdc;\n```" in shown.metadata["next step"].value
    assert engine.calls == ["validate"]


def test_an_unknown_pipeline_is_told_with_those_there_are(start: Any, engine: FakeEngine) -> None:
    shown = failure(start(pipeline="shpo"), "validate_prerequisites").user_failure_data
    assert "shpo" in shown.description
    assert "shop" in shown.description.replace("shpo", "")
    assert engine.calls == []


@pytest.mark.usefixtures("no_delay")
def test_another_operation_is_waited_for_and_named(start: Any, engine: FakeEngine, store: ControlStore) -> None:
    with store.lease("shop", "cdc verify on host:1", "verify"):
        shown = failure(start(), "validate_prerequisites").user_failure_data
    assert "cdc verify on host:1" in shown.description
    assert engine.calls == []


def test_a_run_that_ended_does_not_keep_the_pipeline(
    start: Any, engine: FakeEngine, store: ControlStore, instance: dg.DagsterInstance
) -> None:
    """One that was killed, so that it could not give it back."""
    engine.fail["connector"] = lambda: ConfigurationError("x")
    ended = start().run_id
    engine.fail.clear()
    with store.lease("shop", ended, "start", ttl_s=600, keep=True):
        pass
    assert store.lease_info("shop") is not None
    assert start().success


def test_secrets_are_masked_in_failures(start: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_TEST_PASSWORD", "sup3rs3cret")
    secrets.resolve_secret("${env:CDC_TEST_PASSWORD}")
    engine.fail["check"] = lambda: ConfigurationError("login with sup3rs3cret refused", "not sup3rs3cret")
    result = start()
    shown = failure(result, "check_copy").user_failure_data
    assert shown.description == "login with ******** refused"
    assert shown.metadata["next step"].value == "not ********"


class TestMaterializingOneChunk:
    """What "Materialize" on a partition does."""

    @pytest.fixture
    def materialize(
        self, start: Any, engine: FakeEngine, instance: dg.DagsterInstance, store: ControlStore
    ) -> Callable[[str], dg.ExecuteInProcessResult]:
        engine.fail["copy customers#1"] = lambda: ConfigurationError("the disk is full")
        start()
        engine.fail.clear()
        engine.calls.clear()
        assets = [*replicated_tables(declared_pipelines())]
        instance.add_dynamic_partitions("shop/customers", ["g1-0000"])

        def run(partition: str) -> dg.ExecuteInProcessResult:
            return dg.materialize(
                assets, instance=instance, partition_key=partition, selection=[dg.AssetKey(["shop", "customers"])],
                resources={"pipelines": PipelinesResource()}, raise_on_error=False,
            )  # fmt: skip

        return run

    def test_copies_that_chunk(self, materialize: Any, engine: FakeEngine, instance: dg.DagsterInstance) -> None:
        result = materialize(chunk_keys(2)[1])
        assert result.success
        assert engine.calls == ["copy customers#1"]
        assert copied_partitions(result) == [("customers", chunk_keys(2)[1])]
        [event] = result.get_asset_materialization_events()
        assert event.materialization.metadata["dagster/partition_row_count"].value == 10

    def test_shows_why_it_can_not(self, materialize: Any, engine: FakeEngine, store: ControlStore) -> None:
        engine.fail["copy customers#1"] = lambda: ConfigurationError("the table is streaming", "`force_resync`.")
        result = materialize(chunk_keys(2)[1])
        shown = failure(result, "shop__customers").user_failure_data
        assert (shown.description, shown.metadata["next step"].value) == ("the table is streaming", "`force_resync`.")
        assert store.lease_info("shop") is None

    def test_refuses_a_chunk_of_another_generation(self, materialize: Any, engine: FakeEngine) -> None:
        shown = failure(materialize("g1-0000"), "shop__customers").user_failure_data
        assert "generation 1" in shown.description
        assert str(GENERATION) in shown.description
        assert engine.calls == []


def test_materializations_name_table_chunk_and_generation() -> None:
    event = materialization("shop", 17, Chunk("orders", 3, (1,), (9,), 10, state="done", rows=8, seconds=0.0))
    assert (event.asset_key.path, event.partition) == (["shop", "orders"], "g17-0003")
    assert event.metadata["rows/s"].value == 8, "no division by a time of zero"
    assert "9" not in str(event.metadata), "key values are users' data"
