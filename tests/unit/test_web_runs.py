"""Runs on a pipeline's page: what goes on, how the last one ended and why, the steps of a repeated start."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import update

from cdc_pipelines.dagster_client import SeenRun
from cdc_pipelines.replication.control import models
from cdc_pipelines.web import runs
from tests.unit.dagster_pipelines import configure
from tests.unit.test_web_pages import HTML, proof
from tests.unit.web_client import DAGSTER, Web, facts, open_web

FIRST, SECOND = "0123abcd-0000-4000-8000-000000000001", "0123abcd-0000-4000-8000-000000000002"
SINCE = datetime(2026, 1, 1, 11, tzinfo=UTC)
FAILED = {"validate_prerequisites": "SUCCESS", "plan_copy": "SUCCESS", "copy_shard[shard_0]": "FAILURE"}


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    for web in open_web(tmp_path, monkeypatch):
        monkeypatch.setattr(runs, "_FRESH_S", 0.0)
        configure(web.store)
        with web.store._write() as connection:
            connection.execute(update(models.pipelines).values(configured_at=SINCE))
        web.client.headers.update(HTML)
        yield web


def run(id: str, status: str, steps: dict[str, str] | None = None, job: str = "start_replication") -> SeenRun:
    ended = 1_767_268_860.0 if status in ("SUCCESS", "FAILURE", "CANCELED") else None
    return SeenRun(id, job, status, 1_767_268_800.0, ended, steps or {})


def states(*seen: SeenRun, running: bool = False) -> list[str]:
    return [each.state for each in runs.steps(seen, running=running, since=SINCE)]


def test_the_steps_of_a_run() -> None:
    begun = {"validate_prerequisites": "SUCCESS", "plan_copy": "SUCCESS", "copy_shard[shard_0]": "SUCCESS"}
    assert states(run(FIRST, "QUEUED")) == ["now", "waits", "waits", "waits"]
    assert states(run(FIRST, "STARTED", begun)) == ["done", "now", "waits", "waits"]
    assert states(run(FIRST, "STARTED", begun | {"check_copy": "SUCCESS"})) == ["done", "done", "now", "waits"]
    assert states(run(FIRST, "STARTED", {"start_consumer": "SUCCESS"})) == ["done", "done", "done", "now"]
    assert states(run(FIRST, "FAILURE", FAILED)) == ["done", "broken", "waits", "waits"]
    assert states(run(FIRST, "SUCCESS", {"start_consumer": "SUCCESS"})) == []
    assert states(run(FIRST, "FAILURE", FAILED), running=True) == [], "somebody else started it since"


def test_a_repeated_run_is_followed_like_the_first() -> None:
    """"Re-execute from failure" has only the steps from there on; and a start of what runs already has steps too."""
    repeated = run(SECOND, "STARTED", {"copy_shard[shard_0]": "IN_PROGRESS"})
    assert states(repeated, run(FIRST, "FAILURE", FAILED)) == ["done", "now", "waits", "waits"]
    assert states(run(SECOND, "STARTED", {"validate_prerequisites": "SUCCESS"}), running=True)[1] == "now"
    stop = run(SECOND, "SUCCESS", job="stop_replication")
    assert states(stop, run(FIRST, "FAILURE", FAILED)) == [], "that is over"


def test_the_page_tells_why_a_run_failed_and_then_of_the_next(web: Web) -> None:
    web.store.record("shop", "start", FIRST, "failed", "source: binlog_format is MIXED, `ROW` is <needed>")
    web.dagster.seen = [run("0" * 36, "FAILURE", job="replication_health"), run(FIRST, "FAILURE", FAILED)]
    page = web.client.get("/pipelines/1/live").text
    for words in ("failed</span>", "2026-01-01 12:01:00", f"{DAGSTER}/runs/{FIRST}", "broken off",
                  "<code>ROW</code> is &lt;needed&gt;"):  # fmt: skip
        assert words in page, words
    assert "replication_health" not in page, "incidents tell of that"
    web.dagster.seen.insert(0, run(SECOND, "STARTED"))
    page = web.client.get("/pipelines/1/live").text
    assert f"{DAGSTER}/runs/{SECOND}" in page
    assert f"{DAGSTER}/runs/{FIRST}" not in page
    assert "binlog_format" not in page


def test_dagster_is_asked_why_where_the_diary_does_not_know(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def failures(_: Any, id: str) -> list[str]:
        asked.append(id)
        return ["leave_table_out: Connect gave up <soon>"]

    monkeypatch.setattr("cdc_pipelines.dagster_client.DagsterClient.failures", failures)
    web.dagster.seen = [run(FIRST, "FAILURE", job="remove_table")]
    for _ in range(2):
        assert "Connect gave up &lt;soon&gt;" in web.client.get("/pipelines/1/live").text
    assert asked == [FIRST]


def test_a_run_from_before_the_pipeline_was_configured_is_not_told(web: Web) -> None:
    web.dagster.seen = [run(FIRST, "FAILURE", FAILED)]
    assert f"{DAGSTER}/runs/{FIRST}" in web.client.get("/pipelines/1/live").text
    configure(web.store)
    page = web.client.get("/pipelines/1/live").text
    assert f"{DAGSTER}/runs/{FIRST}" not in page
    assert "broken off" not in page


def test_a_run_that_was_just_launched_is_told_once(web: Web) -> None:
    path = f"/pipelines/1?run={FIRST}&job=start_replication"
    assert web.client.get(path).text.count(f"{DAGSTER}/runs/{FIRST}") == 1, "before Dagster lists it"
    web.dagster.seen = [run(FIRST, "QUEUED")]
    page = web.client.get(path).text
    assert page.count(f"{DAGSTER}/runs/{FIRST}") == 1
    assert "about to run" in page


def test_without_dagster_the_page_goes_on(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def newest(*_: Any) -> list[SeenRun]:
        asked.append(1)
        raise requests.ConnectionError

    monkeypatch.setattr("cdc_pipelines.dagster_client.DagsterClient.newest", newest)
    for _ in range(3):
        assert web.client.get("/pipelines/1/live").status_code == 200
    assert len(asked) == 1, "one that hangs is not asked at each look"


def test_dagster_loads_its_code_location_anew(web: Web) -> None:
    page = web.client.get("/pipelines/1?saved=1").text
    assert "press Start" in page
    assert web.client.post("/pipelines/1/reload").status_code == 403
    answer = web.client.post("/pipelines/1/reload", data={"proof": proof(page)})
    assert "the tables are assets there now" in answer.text
    assert web.dagster.reloaded == 1
    web.dagster.error = requests.ConnectionError()
    assert web.client.post("/pipelines/1/reload", data={"proof": proof(page)}).status_code == 503


def test_schema_changes_and_what_is_carried(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    change = {
        "number": 1, "table": "customers", "kind": "add_column", "done": "applied", "what": "column <note> is new",
        "statement": "alter table customers add note text", "place": "", "at": "2026-01-01T10:00:00.000Z",
        "seen_at": "2026-01-01T10:00:01.000Z",
    }  # fmt: skip
    rest = [
        {"table": "orders", "kind": "index", "name": "words", "state": "not_made", "why": "it is FULLTEXT"},
        {"table": "orders", "kind": "foreign_key", "name": "of", "state": "given_up", "why": "no parent"},
        {"table": "orders", "kind": "comment", "name": "", "state": "waiting", "why": ""},
    ]
    more = {
        "schema_changes": [change, change | {"done": "stopped", "what": "too much"}],
        "carried": {"made": {"index": 12, "check": 1}, "not_made": rest},
    }
    monkeypatch.setattr(web.watch, "_look", lambda record: facts(record) | more)
    page = web.client.get("/pipelines/1/live").text
    for words in ("column &lt;note&gt; is new", "alter table customers", "2026-01-01 10:00:00", 'good">applied',
                  'bad">stopped', "12 indexes, 1 check", "3 not", "index orders.words", "it is FULLTEXT",
                  "foreign key orders.of", 'warn">given up', "comment orders<"):  # fmt: skip
        assert words in page, words
    monkeypatch.setattr(web.watch, "_look", lambda record: facts(record) | {"carried": {"made": {}, "not_made": []}})
    web.watch.look_again("shop")
    page = web.client.get("/pipelines/1/live").text
    assert "Made on the target" not in page
