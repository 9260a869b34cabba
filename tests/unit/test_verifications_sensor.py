"""The sensor that tells Dagster what was compared elsewhere, over a fake look at the targets."""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.databases.postgres.verified import Verified
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.resources.pipelines import PipelinesResource
from cdc_pipelines.sensors import verifications as module
from tests.unit.dagster_pipelines import configure


def verified(table: str, minute: int, *, differences: int = 0, by: str = "background") -> Verified:
    return Verified(table, datetime(2026, 5, 5, 12, minute, tzinfo=UTC), '{"file":"b.1"}', 10, differences, True, by)


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[Verified] | Exception]]:
    """What a look at each pipeline's target gives; `shop` and `billing` are active, `idle` is not."""
    monkeypatch.setenv("CDC_HOME", str(tmp_path))
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    answers: dict[str, list[Verified] | Exception] = {"shop": [], "billing": []}

    def look(record: PipelineRecord) -> list[Verified]:
        answer = answers[record.name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(module, "_look", look)
    with contextlib.closing(ControlStore.open()) as store:
        for number, name in enumerate(("shop", "billing", "idle"), 1):
            configure(store, name, number)
            if name != "idle":
                store.set_status(name, "running", is_active=True)
        yield answers


def tick(cursor: str | None) -> tuple[list[dg.AssetCheckEvaluation], str]:
    context = dg.build_sensor_context(cursor=cursor, resources={"pipelines": PipelinesResource()})
    result = module.verifications(context)
    assert isinstance(result, dg.SensorResult)
    return list(result.asset_events), result.cursor or ""  # type: ignore[arg-type]


def test_each_comparison_is_told_once(found: dict[str, list[Verified] | Exception]) -> None:
    found["shop"] = [verified("customers", 1), verified("orders", 1, differences=3)]
    events, cursor = tick(None)
    assert [(e.asset_key.path, e.check_name, e.passed) for e in events] == [
        (["shop", "customers"], "equal_to_source", True), (["shop", "orders"], "equal_to_source", False),
    ]  # fmt: skip
    assert events[1].metadata["differences"].value == 3
    assert tick(cursor)[0] == []
    found["shop"] = [verified("customers", 2, by="command"), verified("orders", 1, differences=3)]
    events, cursor = tick(cursor)
    assert [e.asset_key.path[-1] for e in events] == ["customers"]
    assert "compared by the command" in (events[0].description or "")


def test_what_dagster_compared_itself_is_not_told_again(found: dict[str, list[Verified] | Exception]) -> None:
    found["shop"] = [verified("customers", 1, by="dagster"), verified("orders", 1)]
    assert [e.asset_key.path[-1] for e in tick(None)[0]] == ["orders"]


def test_a_target_out_of_reach_hides_no_other_and_loses_nothing(found: dict[str, list[Verified] | Exception]) -> None:
    found["shop"] = [verified("customers", 1)]
    _, cursor = tick(None)
    found["shop"], found["billing"] = RetryableError("gone", ""), [verified("orders", 5)]
    events, cursor = tick(cursor)
    assert [e.asset_key.path for e in events] == [["billing", "orders"]]
    found["shop"] = [verified("customers", 1)]
    assert tick(cursor)[0] == [], "it was told before the target went away"
    assert set(json.loads(cursor)) == {"shop", "billing"}, "inactive pipelines are not looked at"
