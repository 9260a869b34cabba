"""The health sensor in a real daemon: a deleted connector fails one run, is mended by another, and is plotted.

People are told of it, and of its end.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from cdc_pipelines.replication.control.records import Incident
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.operations.start import start
from tests.integration.dagster_instance import DagsterPipe, wait_for
from tests.receivers import Receiver, receiver

__all__ = ["receiver"]  # fixtures

pytestmark = pytest.mark.timeout(600)

LOG = logging.getLogger("health")
_RUNS = """
query Runs($tag: String!) { runsOrError(filter: {tags: [{key: "cdc/incident", value: $tag}]}) {
  ... on Runs { results { id status jobName tags { key value } } } } }"""
_EVENTS = """
query Asset($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
  assetObservations(limit: 1) { metadataEntries { label ... on FloatMetadataEntry { floatValue } } }
  assetMaterializations(limit: 5) { runId partition tags { key value } } } } }"""


def _delete_the_connector(rt: Runtime) -> Incident:
    """The incident that it brings about. Connect, busy with other tests' connectors, may be late with its answer to the
    look that comes just then: that is an incident of another name, and the deed is done again after it.
    """
    connector = f"{rt.connect.url}/connectors/{rt.pipeline.connector_name}"
    while True:
        wait_for(lambda: requests.delete(connector, timeout=90).status_code in (204, 404), "Connect to delete it", 120)
        incident = wait_for(lambda: rt.store.open_incident(rt.name), "an incident", 120)
        if [problem.kind for problem in incident.problems] != ["connect_unreachable"]:
            return incident
        wait_for(lambda: rt.store.open_incident(rt.name) is None, "the passing incident to be over", 240)


def test_an_incident_fails_one_run_is_mended_and_over(
    make_dagster_pipe: Callable[..., DagsterPipe], monkeypatch: pytest.MonkeyPatch,
    receiver: Receiver, tmp_path: Path,
) -> None:
    address = tmp_path / "hook"
    address.write_text(receiver.url)
    pipe = make_dagster_pipe(
        health={"grace_seconds": 0, "observe_seconds": 15}, alerts={"webhook": {"url": f"${{file:{address}}}"}}
    )
    pipe.run("create table t (id int primary key)", "insert into t values (1)")
    pipe.configure()
    for name, value in pipe.dagster.environment.items():  # an agent that this process starts is Dagster's as well
        monkeypatch.setenv(name, value)
    with pipe.dagster.store() as store, Runtime.open(pipe.name, store) as rt:
        start(rt, LOG, holder="test")
        pipe.client.reload()
        incident = _delete_the_connector(rt)
        pipe.run("insert into t values (2)")
        assert [problem.kind for problem in incident.problems] == ["connector_missing"]

        def runs() -> dict[str, str]:
            found = pipe.client.graphql(_RUNS, tag=str(incident.id))["runsOrError"]["results"]
            return {run["jobName"]: run["status"] for run in found}

        ended = {"replication_health": "FAILURE", "heal_replication": "SUCCESS"}
        wait_for(lambda: runs() == ended, f"the runs {ended}", 240)
        wait_for(lambda: pipe.rows("select count(*) from t") == [(2,)], "the row written meanwhile")
        wait_for(lambda: store.open_incident(pipe.name) is None, "the incident to be over", 120)
        over = store.incident(incident.id)
        assert over is not None
        assert over.raised_at is not None
        assert [(a.action, a.outcome) for a in store.actions(over.id)] == [
            ("recreate_connector", "requested"), ("heal", "done")
        ]
        assert runs() == ended, "and no other run"
        failed = pipe.client.events(over.run)
        words = " ".join(str(event) for event in failed)
        assert f"connector {rt.pipeline.connector_name} does not exist" in words

    def plotted() -> Any:
        return pipe.client.graphql(_EVENTS, key={"path": [pipe.name, "t"]})["assetOrError"]

    seen = wait_for(lambda: (found := plotted()).get("assetMaterializations") and found, "the asset's events", 90)
    assert [run["partition"] for run in seen["assetMaterializations"] if not run["runId"]], seen
    labels = {entry["label"] for entry in seen["assetObservations"][0]["metadataEntries"]}
    assert {"lag (s)", "heartbeat age (s)", "log runway (h)", "inserts"} <= labels

    def posted() -> list[Any]:
        told = [json.loads(each.body) for each in receiver.posted]
        return [each for each in told if each["incident"] == over.id]

    wait_for(lambda: len(posted()) >= 2, "both messages", 90)
    opened, recovered = posted()
    assert (opened["event"], opened["incident"], opened["run"]["id"]) == ("opened", over.id, over.run)
    assert [each["kind"] for each in opened["problems"]] == ["connector_missing"]
    assert (recovered["event"], recovered["thread"]) == ("recovered", opened["thread"])
