"""People are told: the daemon's sensor, a run that fails, a receiver that is a real web server. Of incidents, see
test_dagster_health.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema

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


def test_people_are_told_of_a_failed_run(
    make_dagster_pipe: Callable[..., DagsterPipe], receiver: Receiver, tmp_path: Path
) -> None:
    address = tmp_path / "hook"
    address.write_text(f"{receiver.url}/t0ken-of-the-hook\n")
    pipe = make_dagster_pipe(alerts={"webhook": {"url": f"${{file:{address}}}"}})
    pipe.run("create table customers (id int primary key)")
    pipe.configure()
    wait_for(lambda: looks(pipe.dagster, "alerts"), "the sensor's first look")
    run = pipe.launch("verify_replication")
    assert pipe.client.wait(run).status == "FAILURE"
    (document,) = told(receiver, 1)
    assert (document["event"], document["pipeline"], document["run"]["id"]) == ("run_failed", pipe.name, run)
    step, _, reason = pipe.client.failures(run)[0].partition(": ")
    assert f"- {step}: {reason.splitlines()[0]}" in document["text"]
    assert document["next_step"]
    assert document["next_step"] in reason


def told(receiver: Receiver, number: int) -> list[dict[str, Any]]:
    """So many messages, and no more; each as the published schema says."""
    posted = wait_for(lambda: len(receiver.posted) >= number and receiver.posted, f"{number} messages", 90)
    assert len(posted) == number
    documents = [json.loads(each.body) for each in posted]
    schema = json.loads((PROJECT / "docs/alert.schema.json").read_text(encoding="utf-8"))
    for document in documents:
        jsonschema.validate(document, schema, format_checker=jsonschema.FormatChecker())
    return documents
