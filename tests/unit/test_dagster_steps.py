"""`start_replication` and the tables' assets over a fake engine: events, partitions, leases."""

import time
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from cdc_pipelines.assets.declared import declared_pipelines
from cdc_pipelines.assets.partitions import materialization
from cdc_pipelines.assets.tables import replicated_tables
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.resources.pipelines import PIPELINE_TAG, PipelinesResource
from tests.unit.dagster_pipelines import GENERATION, FakeEngine
from tests.unit.step_runs import chunk_keys, copied_partitions, engine, failure, instance, partitions, start, store

__all__ = ["engine", "instance", "start", "store"]  # fixtures


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
