"""The sensors that tell people, over runs in an instance of the test's own and a real control store."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from cdc_pipelines.replication.control.store import ControlStore, Incident, Problem
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from cdc_pipelines.resources.failures import explained
from cdc_pipelines.resources.pipelines import PipelinesResource
from cdc_pipelines.sensors.alerts import TryAgainError, alert_follow_ups, alerts
from tests.receivers import Receiver, receiver
from tests.unit.dagster_pipelines import file_text, mapped_table

__all__ = ["receiver"]  # fixtures
PIPELINE = {"cdc/pipeline": "shop"}


class WorkedOutError(Exception):
    """A bug."""


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
def buggy() -> None:
    try:
        raise ValueError("the first cause")
    except ValueError as error:
        raise WorkedOutError("what the step says") from error


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
def in_words() -> None:
    raise dg.Failure("pipeline shop: the sides differ", metadata={"next step": dg.MetadataValue.md("launch `repair`.")})


@dg.op
def of_the_engine(context: dg.OpExecutionContext) -> None:
    with explained(context, "shop"):
        raise RetryableError("source db.example:3306: connection refused", "check that it runs.")


@dg.op
def fine() -> None:
    pass


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> Iterator[ControlStore]:
    """With one pipeline, whose webhook is the receiver."""
    monkeypatch.setenv("CDC_HOME", str(tmp_path))
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    monkeypatch.setenv("HOOK", f"{receiver.url}/hook")
    with contextlib.closing(ControlStore.open()) as opened:
        document = yaml.safe_load(file_text()) | {"alerts": {"webhook": {"url": "${env:HOOK}"}}}
        text = yaml.safe_dump(document)
        opened.save_pipeline(parse_pipeline(text, Path("shop.yaml")), text, [mapped_table("orders")])
        yield opened


@dataclass
class Watched:
    """An instance whose runs the sensor `alerts` looks at, as the daemon lets it."""

    instance: dg.DagsterInstance
    cursor: str | None = None

    def look(self) -> None:
        """One tick. Raises what ends it; a run that could not be told fails the test."""
        resources = {"pipelines": PipelinesResource()}
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources=resources, sensor_name="alerts",
            definitions=dg.Definitions(sensors=[alerts], resources=resources),
        ) as context:  # fmt: skip
            result = alerts.evaluate_tick(context)
        self.cursor = result.cursor
        assert [each.error for each in result.dagster_run_reactions if each.error] == []

    def run(self, op: dg.OpDefinition, *, job: str = "start_replication", tags: dict[str, str] | None = None) -> str:
        """A run of a job of one op, and a look. Returns the run's id."""

        @dg.job(name=job, tags=PIPELINE | (tags or {}))
        def work() -> None:
            op()

        done = work.execute_in_process(instance=self.instance, raise_on_error=False)
        self.look()
        return done.run_id

    def unstarted(self, **facts: Any) -> dg.DagsterRun:
        """A run that is there, and whose steps never begin."""
        run = dg.DagsterRun(job_name="start_replication", status=dg.DagsterRunStatus.STARTING, **facts)
        return self.instance.add_run(run)


@pytest.fixture
def watched(store: ControlStore) -> Iterator[Watched]:
    with dg.DagsterInstance.ephemeral() as instance:
        made = Watched(instance)
        made.look()  # the first one only finds out from where on to look
        yield made


def documents(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in receiver.posted]


@pytest.mark.parametrize(
    ("op", "reason", "next_step"),
    [
        (buggy, "WorkedOutError: what the step says", ""),
        (in_words, "pipeline shop: the sides differ", "launch `repair`."),
    ],
)
def test_the_real_reason_is_told_also_after_retries(
    op: dg.OpDefinition, reason: str, next_step: str, watched: Watched, receiver: Receiver
) -> None:
    run_id = watched.run(op)
    (told,) = documents(receiver)
    assert f"- {op.name}: {reason}" in told["text"]
    assert "max_retries" not in told["text"]
    assert told["title"] == f"shop: start_replication failed: {reason}"
    assert told["next_step"] == next_step
    assert told["run"]["id"] == run_id


def test_an_error_of_the_engine_brings_its_next_step(
    watched: Watched, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc_pipelines.resources.failures.RETRIES", dg.RetryPolicy(max_retries=0))
    watched.run(of_the_engine)
    (told,) = documents(receiver)
    assert told["next_step"] == "check that it runs."
    assert "connection refused" in told["title"]


def test_a_run_that_never_came_to_a_step_is_told_with_dagsters_reason(watched: Watched, receiver: Receiver) -> None:
    """No step has tagged it: the Launchpad's words say which pipeline."""
    run = watched.unstarted(run_config={"pipeline": "shop"})
    watched.instance.report_run_failed(run, "Run worker exited with code -9")
    watched.look()
    (told,) = documents(receiver)
    assert told["title"] == "shop: start_replication failed: Run worker exited with code -9"
    assert told["run"]["id"] == run.run_id


def test_what_is_no_failure_of_a_pipeline_s_run_is_not_told(watched: Watched, receiver: Receiver) -> None:
    watched.run(fine)
    watched.run(buggy, job="heal_replication", tags={"cdc/incident": "1"})
    watched.run(in_words, job="retry_dead_letter", tags=PIPELINE)
    watched.run(buggy, tags={"dagster/will_retry": "true"})
    watched.run(buggy, tags={"cdc/pipeline": "nosuch"})
    watched.instance.report_run_failed(watched.unstarted(run_config={"file": "pipelines/shop.yaml"}), "Exited")
    watched.instance.report_run_canceled(watched.unstarted(tags=PIPELINE))
    watched.look()
    assert documents(receiver) == []


def incident(store: ControlStore, began: datetime) -> Incident:
    problem = Problem("consumer_gone", "failed", "no heartbeat for 130 s", "run `cdc restart shop`.")
    return store.save_incident(Incident(0, "shop", "failed", "failed", (problem,), began, began, raised_at=began))


def test_the_run_of_an_incident_tells_the_incident(watched: Watched, receiver: Receiver, store: ControlStore) -> None:
    opened = incident(store, datetime.now(UTC))
    run_id = watched.run(in_words, job="replication_health", tags={"cdc/incident": str(opened.id)})
    (told,) = documents(receiver)
    assert (told["event"], told["incident"], told["run"]["id"]) == ("opened", opened.id, run_id)
    assert told["title"] == "shop is failed: no heartbeat for 130 s"
    found = store.incident(opened.id)
    assert found is not None
    assert found.run == run_id


def test_follow_ups_tell_what_is_due(receiver: Receiver, store: ControlStore) -> None:
    began = datetime.now(UTC) - timedelta(minutes=5)
    opened = incident(store, began)
    assert look_again() == "1 message(s) told"
    store.save_incident(replace(opened, resolved_at=datetime.now(UTC)))
    assert look_again() == "1 message(s) told"
    assert look_again() == "nothing to tell"
    assert [each["event"] for each in documents(receiver)] == ["opened", "recovered"]


def look_again() -> str | None:
    result = alert_follow_ups(dg.build_sensor_context(resources={"pipelines": PipelinesResource()}))
    assert isinstance(result, dg.SkipReason)
    return result.skip_message


def test_a_store_out_of_reach_loses_no_run(
    watched: Watched, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as gone:
        gone.setenv("CDC_CONTROL_URL", "postgresql+psycopg2://cdc:sup3rs3cret@127.0.0.1:1/control")
        with pytest.raises(TryAgainError, match="can't be told yet") as caught:
            watched.run(buggy)
        assert "sup3rs3cret" not in str(caught.value)
        assert "control store can't be read" in (look_again() or "")
    assert documents(receiver) == []
    watched.look()
    assert [each["event"] for each in documents(receiver)] == ["run_failed"]
