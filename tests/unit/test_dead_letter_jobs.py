"""The jobs for dead letters over a fake engine: what their runs show, and whether they succeed."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import msgspec
import pytest

from cdc_pipelines.jobs.dead_letters import dead_letters, retry_dead_letter, skip_dead_letter
from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.databases.postgres.dead_letters import DeadLetter
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.operations import dead_letters as letters
from cdc_pipelines.resources.pipelines import PIPELINE_TAG, PipelinesResource
from tests.unit.step_runs import failure, instance, store

__all__ = ["instance", "store"]  # fixtures

LETTER = DeadLetter(
    table="orders", op="u", key='{"id": 2}', before=None, after='{"id": 2, "note": "private"}',
    position='{"file": "b.1", "pos": 4}', commit_ms=1, log_offset=7, sqlstate="23514",
    error="violates check positive\nDETAIL: row (2, private)", id=5, state="held", note=None,
    created_at=datetime(2026, 1, 1, tzinfo=UTC), settled_at=None,
)  # fmt: skip
APART = {"table": "orders", "target": "shop.orders", "dead_letters": 1, "since": "2026-01-01", "skipped": 3,
         "reason": "violates check positive"}  # fmt: skip


@pytest.fixture
def run(instance: dg.DagsterInstance, store: ControlStore) -> Callable[..., dg.ExecuteInProcessResult]:
    """Run a job on pipeline `shop` with the Launchpad's settings."""

    def run(job: dg.JobDefinition, **config: Any) -> dg.ExecuteInProcessResult:
        return job.execute_in_process(
            {"pipeline": "shop", **config}, instance=instance, raise_on_error=False,
            resources={"pipelines": PipelinesResource()},
        )

    return run


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The metadata of the run's one output."""
    (event,) = [e for e in result.all_events if e.event_type == dg.DagsterEventType.STEP_OUTPUT]
    return {label: value.value for label, value in event.step_output_data.metadata.items()}


def rows(table: Any) -> list[dict[str, Any]]:
    return [record.data for record in table.records]


def test_they_are_listed_with_the_tables_that_stand_apart(
    run: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(letters, "letters", lambda rt, **how: asked.append((rt.name, how)) or [LETTER])
    monkeypatch.setattr(letters, "quarantined", lambda rt: [APART])
    result = run(dead_letters, table="orders", settled=True)
    assert result.success
    assert asked == [("shop", {"table": "orders", "settled": True})]
    (letter,) = rows(shown(result)["dead letters"])
    assert (letter["id"], letter["table"], letter["change"], letter["key"], letter["state"]) == (
        "5", "orders", "update", '{"id": 2}', "held"
    )  # fmt: skip
    assert letter["error"] == "violates check positive"
    assert "private" not in str(letter), "Dagster keeps no rows"
    (apart,) = rows(shown(result)["tables in quarantine"])
    assert (apart["table"], apart["changes passed by"], apart["dead letters"]) == ("orders", 3, 1)
    assert "release_tables" in shown(result)["next step"]
    run_found = instance.get_run_by_id(result.run_id)
    assert run_found is not None
    assert run_found.tags[PIPELINE_TAG] == "shop"


def test_where_there_are_none_nothing_is_to_be_done(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "letters", lambda *_, **__: [])
    monkeypatch.setattr(letters, "quarantined", lambda _: [])
    found = shown(run(dead_letters))
    assert (rows(found["dead letters"]), rows(found["tables in quarantine"])) == ([], [])
    assert "next step" not in found


def test_a_letter_that_would_be_taken_now_is_a_run_that_succeeds(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(letters, "letter", lambda *_: LETTER)
    monkeypatch.setattr(letters, "retry", lambda _, number: tried.append(number) or "")
    result = run(retry_dead_letter, id=5)
    assert (result.success, tried, shown(result)) == (True, [5], {"table": "orders"})


def test_one_that_is_still_refused_is_a_run_that_fails_at_once(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETTER_TEST_PW", "s3cr3t-of-the-letter")
    secrets.resolve_secret("${env:LETTER_TEST_PW}")
    monkeypatch.setattr(letters, "letter", lambda *_: LETTER)
    monkeypatch.setattr(letters, "retry", lambda *_: "violates check positive: s3cr3t-of-the-letter")
    result = run(retry_dead_letter, id=5)
    assert not result.success
    assert not [e for e in result.all_events if e.is_step_up_for_retry]
    told = failure(result, "try_dead_letter").user_failure_data
    assert told.description == (
        f"pipeline shop, dead letter 5 (table orders): still refused: violates check positive: {secrets.MASK}"
    )
    assert "release_tables" in told.metadata["next step"].value


def test_one_is_accepted_with_its_reason(run: Any, store: ControlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def skip(_: Any, number: int, note: str) -> DeadLetter:
        return msgspec.structs.replace(LETTER, id=number, state="skipped", note=note)

    monkeypatch.setattr(letters, "skip", skip)
    result = run(skip_dead_letter, id=5, note="known to sales")
    assert shown(result) == {"table": "orders", "note": "known to sales"}
    (entry,) = store.history("shop")
    assert (entry.operation, entry.outcome, entry.message) == (
        "skip dead letter", "done", "5 (table orders): known to sales"
    )  # fmt: skip


def test_one_that_is_not_there_is_told_with_where_to_look(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> None:
        raise ConfigurationError("pipeline shop has no dead letter 5", "`cdc deadletters list shop` shows them.")

    monkeypatch.setattr(letters, "skip", missing)
    told = failure(run(skip_dead_letter, id=5, note="seen"), "accept_dead_letter").user_failure_data
    assert told.description == "pipeline shop has no dead letter 5"
    assert "cdc deadletters list shop" in told.metadata["next step"].value
