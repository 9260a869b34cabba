"""People are told: the daemon's sensors, a run that fails, a receiver that is a real web server."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema

from cdc_pipelines.replication.control.store import Incident, Problem
from tests.conftest import PROJECT
from tests.integration.dagster_instance import DagsterInstance, DagsterPipe, wait_for
from tests.receivers import Receiver, receiver

__all__ = ["receiver"]  # fixtures

_TICKS = """
query Ticks($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) { __typename
  ... on Sensor { sensorState { status ticks(limit: 1) { status } } } } }"""


def looks(dagster: DagsterInstance, sensor: str) -> bool:
    """Whether the daemon has let it look once: a run that failed before is none of its business."""
    selector = {
        "repositoryLocationName": dagster.client.location, "repositoryName": "__repository__", "sensorName": sensor,
    }  # fmt: skip
    state = dagster.client.graphql(_TICKS, selector=selector)["sensorOrError"]["sensorState"]
    assert state["status"] == "RUNNING", "on without anybody's doing"
    return any(tick["status"] in ("SKIPPED", "SUCCESS") for tick in state["ticks"])


def test_people_are_told_of_a_failed_run_and_of_an_incident(
    make_dagster_pipe: Callable[..., DagsterPipe], receiver: Receiver, tmp_path: Path
) -> None:
    address = tmp_path / "hook"
    address.write_text(f"{receiver.url}/t0ken-of-the-hook\n")
    pipe = make_dagster_pipe(alerts={"webhook": {"url": f"${{file:{address}}}"}})
    pipe.run("create table customers (id int primary key)")
    pipe.configure()
    for sensor in ("alerts", "alert_follow_ups"):
        wait_for(lambda sensor=sensor: looks(pipe.dagster, sensor), f"the first look of {sensor}")

    began = datetime.now(UTC) - timedelta(minutes=5)
    lag = Problem("lag", "degraded", "the target is 400 s behind", "see the lag's history.")
    with pipe.dagster.store() as store:
        opened = store.save_incident(
            Incident(0, pipe.name, "degraded", "degraded", (lag,), began, began, raised_at=began)
        )
    run = pipe.launch("verify_replication")
    assert pipe.client.wait(run).status == "FAILURE"
    of_incident, of_run = sorted(told(receiver, 2), key=lambda document: document["event"])
    assert (of_run["event"], of_run["pipeline"], of_run["run"]["id"]) == ("run_failed", pipe.name, run)
    reason = pipe.client.failures(run)[0]
    assert of_run["next_step"]
    assert of_run["next_step"] in reason
    assert of_run["text"].count(reason.split(": ", 1)[1].splitlines()[0]) == 1
    assert (of_incident["event"], of_incident["incident"]) == ("opened", opened.id)


def told(receiver: Receiver, number: int) -> list[dict[str, Any]]:
    """So many messages, and no more; each as the published schema says."""
    posted = wait_for(lambda: len(receiver.posted) >= number and receiver.posted, f"{number} messages", 90)
    assert len(posted) == number
    documents = [json.loads(each.body) for each in posted]
    schema = json.loads((PROJECT / "docs/alert.schema.json").read_text(encoding="utf-8"))
    for document in documents:
        jsonschema.validate(document, schema, format_checker=jsonschema.FormatChecker())
    return documents
