"""The API: what each path does, and how errors look; over a real control store, without servers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from cdc_pipelines.dagster_client import ActiveRun, DagsterClientError
from cdc_pipelines.replication.control.records import Incident, Problem
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.pipeline_file import load_pipeline
from tests.unit.dagster_pipelines import configure, file_text
from tests.unit.web_client import DAGSTER, Source, Web, open_web

JSON = "application/json"
PROBLEM = "application/problem+json"


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    yield from open_web(tmp_path, monkeypatch)


def posted(**changes: Any) -> dict[str, Any]:
    document = yaml.safe_load(file_text(tables=[{"source": "customers", "columns": ["id", "note"]}]))
    return document | changes


def problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    """The answer, seen to be that problem."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:cdc:{kind}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


def test_json_is_saved_as_the_file_that_the_command_line_reads(web: Web) -> None:
    answer = web.client.post("/cdc/config/", json=posted())
    assert answer.status_code == 201, answer.text
    saved = answer.json()
    assert saved["success"]
    assert saved["created"]
    assert (saved["pipeline"]["status"], saved["pipeline"]["is_active"]) == ("configured", False)
    file = web.pipelines / "shop.yaml"
    assert saved["file"] == str(file)
    assert load_pipeline(file) == web.store.by_config(1).spec
    assert web.dagster.launched == []
    assert [p.name for p in web.pipelines.iterdir()] == ["shop.yaml"]


def test_yaml_is_kept_with_its_comments(web: Web) -> None:
    text = "# ours\n" + yaml.safe_dump(posted())
    answer = web.client.post("/cdc/config/", content=text, headers={"content-type": "application/yaml"})
    assert answer.status_code == 201, answer.text
    assert (web.pipelines / "shop.yaml").read_text() == text


def test_posting_again_changes_it(web: Web) -> None:
    web.client.post("/cdc/config/", json=posted())
    web.store.set_status("shop", "running", is_active=True, generation=7)
    renamed = [{"source": "customers", "columns": ["id", "note"], "target": "people"}]
    before = (web.pipelines / "shop.yaml").read_bytes()
    for query, saved in (("?plan=true", False), ("", True)):
        answer = web.client.post(f"/cdc/config/{query}", json=posted(tables=renamed))
        assert answer.status_code == 200
        body = answer.json()
        assert (body["saved"], body["created"], body["needs_resync"]) == (saved, False, False)
        [change] = [each for each in body["changes"] if "beside the stream" in each["effect"]]
        assert "people" in change["what"]
        assert ((web.pipelines / "shop.yaml").read_bytes() == before) is not saved
    assert load_pipeline(web.pipelines / "shop.yaml").tables[0].target == "people"  # type: ignore[union-attr]


def test_another_pipelines_file_and_name_are_safe(web: Web) -> None:
    web.client.post("/cdc/config/", json=posted())
    before = (web.pipelines / "shop.yaml").read_bytes()
    body = problem(web.client.post("/cdc/config/", json=posted(config=2)), 409, "name_taken")
    assert "config: 1" in body["next_step"]
    (web.pipelines / "other.yaml").write_text(file_text("another", 5))
    problem(web.client.post("/cdc/config/", json=posted(name="other", config=6)), 409, "name_taken")
    (web.pipelines / "broken.yaml").write_text("{")
    problem(web.client.post("/cdc/config/", json=posted(name="broken", config=6)), 409, "name_taken")
    body = problem(web.client.post("/cdc/config/", json=posted(name="twin")), 422, "configuration")
    assert "config id 1" in body["detail"]
    assert (web.pipelines / "shop.yaml").read_bytes() == before
    assert not (web.pipelines / "twin.yaml").exists()


def test_what_fails_leaves_no_file(web: Web) -> None:
    Source.error = RetryableError("source is out of reach", "look at it.")
    answer = web.client.post("/cdc/config/", json=posted())
    problem(answer, 503, "retryable")
    assert answer.headers["retry-after"]
    assert list(web.pipelines.iterdir()) == []
    assert web.store.list() == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", JSON), (b"\xff", JSON), (b"[" * 100_000, JSON), (b"[1]", JSON), (b"null", JSON),
        (b"a: [", "application/yaml"), (b"[" * 100_000, "application/yaml"), (b"a: 2026-99-99", "application/yaml"),
        (b"a: \x00", "application/yaml"), (b"", "application/yaml"),
        (b"config: 1\nsource: {}\n", "text/plain"),
    ],
)
def test_what_is_no_pipeline_is_refused(web: Web, body: bytes, kind: str) -> None:
    answer = web.client.post("/cdc/config/", content=body, headers={"content-type": kind})
    problem(answer, 422, "pipeline_file")


def test_a_pipeline_must_have_its_name(web: Web) -> None:
    document = posted()
    del document["name"]
    body = problem(web.client.post("/cdc/config/", json=document), 422, "pipeline_file")
    assert "name" in body["detail"]


def test_list_status_tables_incidents_lag(web: Web) -> None:
    configure(web.store)
    web.store.set_status("shop", "running", is_active=True)
    [listed] = web.client.get("/cdc/config/").json()["pipelines"]
    assert (listed["id"], listed["name"], listed["status"], listed["tables"]) == (1, "shop", "running", 2)

    answer = web.client.get("/cdc/config/1/status/").json()
    assert answer["success"] is True
    status = answer["status"]
    assert status["overall"] == "healthy"
    assert set(status["connector"]) >= {"state", "healthy", "tasks", "message"}
    assert set(status["consumer"]) >= {"state", "healthy", "last_heartbeat", "heartbeat_recent", "message"}
    assert set(status["config"]) >= {"status", "is_active", "connector_name", "kafka_topic_prefix"}
    assert set(status["statistics"]) == {"total_rows_synced", "tables_enabled", "last_sync_at"}
    assert status["timestamp"].endswith("Z")

    tables = web.client.get("/cdc/config/1/tables/").json()["tables"]
    assert [(t["table"], t.get("rows_copied")) for t in tables] == [("customers", 1_000_000), ("orders", None)]

    opened = web.store.by_config(1).configured_at
    found = web.store.save_incident(
        Incident(0, "shop", "failed", "failed", (Problem("lag", "degraded", "late", "wait"),), opened, opened)
    )
    web.store.record_action(found.id, "restart_task", "done", "it runs")
    [incident] = web.client.get("/cdc/config/1/incidents/").json()["incidents"]
    assert incident["problems"][0]["next_step"] == "wait"
    assert [a["action"] for a in incident["actions"]] == ["restart_task"]
    assert incident["resolved_at"] is None

    web.watch.sample()
    lag = web.client.get("/cdc/config/1/lag/").json()
    assert [(s["lag_seconds"], s["lag_messages"]) for s in lag["samples"]][-1] == (0.4, 3)


def test_actions_are_runs_of_dagsters_jobs(web: Web) -> None:
    configure(web.store)
    for path, body, job, config in (
        ("start", None, "start_replication", {"force_resync": False}),
        ("start", {"force_resync": True}, "start_replication", {"force_resync": True}),
        ("stop", None, "stop_replication", {}),
        ("restart", None, "restart_replication", {}),
        ("verify", {"tables": ["orders"], "repair": True}, "verify_replication",
         {"tables": ["orders"], "repair": True, "max_keys": 100}),
    ):  # fmt: skip
        web.dagster.running.clear()
        answer = web.client.post(f"/cdc/config/1/{path}/", json=body)
        assert answer.status_code == 202, answer.text
        launched, launched_config, tags = web.dagster.launched[-1]
        assert (launched, launched_config) == (job, {"pipeline": "shop", **config})
        assert tags["cdc/pipeline"] == "shop"
        run = answer.json()["run"]
        assert run["url"] == f"{DAGSTER}/runs/{run['run_id']}"


def test_one_operation_at_a_time(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "cdc.web")
    configure(web.store)
    first = web.client.post("/cdc/config/1/start/").json()["run"]
    again = web.client.post("/cdc/config/1/start/").json()["run"]
    assert (again["run_id"], again["already"]) == (first["run_id"], True)
    assert len(web.dagster.launched) == 1
    assert [r.getMessage() for r in caplog.records if r.name == "cdc.web"] == ["start_replication launched, run run-1"]
    body = problem(web.client.post("/cdc/config/1/stop/"), 409, "lease_held")
    assert first["run_id"] in body["detail"]

    web.dagster.running.clear()
    with web.store.lease("shop", "cli:here:1", "start"):
        body = problem(web.client.post("/cdc/config/1/stop/"), 409, "lease_held")
        assert "cli:here:1" in body["detail"]
    web.dagster.running.append(ActiveRun("healing", "heal_replication", {}))
    with web.store.lease("shop", "healing", "heal"):
        assert web.client.post("/cdc/config/1/stop/").status_code == 202, "healing passes, and the run waits for it"


def test_without_dagster_it_says_so(web: Web) -> None:
    configure(web.store)
    web.dagster.error = requests.ConnectionError("refused")
    body = problem(web.client.post("/cdc/config/1/start/"), 503, "dagster_unreachable")
    assert DAGSTER in body["detail"]
    assert "CDC_DAGSTER_URL" in body["next_step"]
    web.dagster.error = DagsterClientError("PipelineNotFoundError: no job")
    problem(web.client.post("/cdc/config/1/start/"), 502, "dagster_refused")


def test_discover_tells_tables_sizes_and_a_file(web: Web) -> None:
    configure(web.store)
    body = {"source": posted()["source"], "name": "second"}
    found = web.client.post("/cdc/discover/", json=body).json()
    [table] = found["tables"]
    assert (table["name"], table["rows_estimate"], table["data_bytes"]) == ("customers", 1000, 65536)
    assert [c["name"] for c in table["columns"] if not c["supported"]] == ["place"]
    answer = web.client.post("/cdc/config/", content=found["file"], headers={"content-type": "application/yaml"})
    assert answer.status_code == 201, answer.text
    assert web.store.get("second").config == 2


def test_errors_have_one_shape(web: Web) -> None:
    body = problem(web.client.get("/cdc/config/9/status/"), 404, "not_configured")
    assert body["next_step"]
    problem(web.client.get("/cdc/config/x/status/"), 422, "bad_input")
    problem(web.client.get(f"/cdc/config/{2**63}/status/"), 422, "bad_input")
    problem(web.client.get("/cdc/nothing/"), 404, "not_found")
    problem(web.client.delete("/cdc/config/"), 405, "method_not_allowed")
    configure(web.store)
    body = problem(web.client.post("/cdc/config/1/start/", json={"force_resinc": True}), 422, "bad_input")
    assert "force_resinc" in body["mistakes"][0]["where"]


def test_a_surprise_is_told_without_its_text(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(web.store)

    def surprise(record: Any) -> Any:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(web.watch, "_look", surprise)
    body = problem(web.client.get("/cdc/config/1/status/"), 500, "unexpected")
    assert "inside" not in str(body)


def test_metrics_tell_what_was_seen(web: Web) -> None:
    configure(web.store)
    web.store.set_status("shop", "running", is_active=True)
    web.watch.sample()
    text = web.client.get("/metrics").text
    assert 'cdc_lag_seconds{pipeline="shop"} 0.4' in text
    assert "cdc_control_store_up 1" in text
