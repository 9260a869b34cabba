"""What a failed step of `start_replication` shows, and whether it is tried again."""

from typing import Any

import dagster as dg
import pytest

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.control.store import ControlStore
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
from tests.unit.dagster_pipelines import FakeEngine
from tests.unit.step_runs import engine, failure, instance, no_delay, start, store

__all__ = ["engine", "instance", "no_delay", "start", "store"]  # fixtures


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


@pytest.mark.usefixtures("no_delay")
def test_secrets_are_masked_in_failures(start: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of what led to them as well, and in those of the tries that come before."""
    secret = "sup3rs3cret"
    monkeypatch.setenv("CDC_TEST_PASSWORD", secret)
    secrets.resolve_secret("${env:CDC_TEST_PASSWORD}")

    def refused() -> ConfigurationError:
        try:
            try:
                raise ConnectionError(f"http://user:{secret}@host")
            except ConnectionError as error:
                raise KeyError(secret) from error
        except KeyError as error:
            raise ConfigurationError(f"login with {secret} refused", f"not {secret}") from error

    engine.fail["check"] = refused
    result = start()
    failed = failure(result, "check_copy")
    assert failed.user_failure_data.description == "login with ******** refused"
    assert failed.user_failure_data.metadata["next step"].value == "not ********"
    shown = failed.error.to_string()
    assert "KeyError: '********'" in shown
    assert "ConnectionError: http://user:********@host" in shown
    assert "in refused" in shown, "where it was raised"
    for error in (RetryableError(f"{secret} is busy"), OSError(f"{secret} is out of reach")):
        engine.fail["check"] = lambda error=error: error
        tries = [e.step_retry_data.error.to_string() for e in start().all_events if e.is_step_up_for_retry]
        assert len(tries) == failures.RETRIES.max_retries
        for told in (*tries, shown):
            assert secret not in told
