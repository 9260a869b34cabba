"""Single tables over the API and in the pages: whom a button reaches, what is refused, what a lane looks like."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cdc_pipelines.dagster_client import ActiveRun
from cdc_pipelines.replication.errors import RetryableError
from tests.unit.dagster_pipelines import configure, mapped_table
from tests.unit.test_web_api import problem
from tests.unit.test_web_pages import HTML, proof
from tests.unit.web_client import Source, Web, facts, open_web

ODD = ("a/b", "resync/", "x/resync/", "100%", "a?b#c", "zwei Zeilen\nlang", "küche 🍳", "a;b&c=d", "..a", '"><script>')
TABLES = "/cdc/config/1/tables"


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    for web in open_web(tmp_path, monkeypatch):
        configure(web.store, tables=("customers", "orders", *ODD))
        web.store.set_status("shop", "running", is_active=True)
        yield web


def lane(phase: str = "copying", silent_s: float = 1, **more: Any) -> dict[str, Any]:
    """One of `orders`, as the status has it."""
    beat = datetime.now(UTC) - timedelta(seconds=silent_s)
    return {
        "table": "orders", "phase": phase, "reason": "resync", "doing": "is copied: 3/8 chunks",
        "since": "2026-01-01T10:00:00.000Z", "last_beat": beat.isoformat(), "chunks": 8, "chunks_done": 3,
        "rows_copied": 3000,
    } | more  # fmt: skip


def stand(web: Web, monkeypatch: pytest.MonkeyPatch, *lanes: dict[str, Any], **table: Any) -> None:
    """The status from now on: these lanes, and `table` of customers."""
    def look(record: Any) -> dict[str, Any]:
        status = facts(record)
        first = status["tables"][0]
        others = [first | {"table": each.name} for each in record.tables if each.name != first["table"]]
        return status | {"lanes": list(lanes), "tables": [first | table, *others]}

    monkeypatch.setattr(web.watch, "_look", look)
    web.watch.look_again("shop")


@pytest.mark.parametrize("table", ["customers", *ODD])
def test_a_table_is_reached_whatever_its_name_holds(web: Web, table: str) -> None:
    path = f"{TABLES}/{quote(table, safe='')}"
    answer = web.client.post(f"{path}/resync/")
    assert answer.status_code == 202, answer.text
    web.dagster.running.clear()
    answer = web.client.delete(f"{path}/?drop_table=true")
    assert answer.status_code == 202, answer.text
    assert [(job, config) for job, config, _ in web.dagster.launched] == [
        ("resync_tables", {"pipeline": "shop", "tables": [table]}),
        ("remove_table", {"pipeline": "shop", "table": table, "drop_table": True}),
    ]


def test_a_new_table_is_seen_on_the_source_before_it_is_taken_in(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    body = problem(web.client.post(f"{TABLES}/", json={"table": "ghosts"}), 422, "configuration")
    assert "ghosts" in body["detail"]
    assert "customers" in body["detail"], "what the source has"
    configure(web.store, tables=("orders",))
    body = problem(web.client.post(f"{TABLES}/", json={"table": "customers"}), 422, "configuration")
    assert "place" in body["detail"], "the column that has no form on the target"
    Source.error = RetryableError("source is out of reach", "look at it.")
    problem(web.client.post(f"{TABLES}/", json={"table": "customers"}), 503, "retryable")
    assert web.dagster.launched == []

    there = [mapped_table(name).source for name in ("customers", "orders")]
    monkeypatch.setattr(Source, "tables", lambda self: there)
    body = problem(web.client.post(f"{TABLES}/", json={"table": "orders", "target": "other"}), 422, "configuration")
    assert "lands in orders" in body["detail"]
    body = {"table": "customers", "target": "people"}
    answer = web.client.post(f"{TABLES}/", json=body)
    assert answer.status_code == 202, answer.text
    [(job, config, tags)] = web.dagster.launched
    assert (job, config) == ("add_table", {"pipeline": "shop", **body})
    assert tags["cdc/pipeline"] == "shop"


def test_what_is_not_there_and_what_does_not_stream(web: Web) -> None:
    for method, path in (("POST", "ghosts/resync/"), ("DELETE", "ghosts/"), ("POST", "customers/orders/resync/")):
        body = problem(web.client.request(method, f"{TABLES}/{path}"), 404, "no_such_table")
        assert "customers, orders" in body["detail"]
    problem(web.client.post(f"{TABLES}/", json={"tables": "customers"}), 422, "bad_input")
    problem(web.client.post("/cdc/config/9/tables/orders/resync/"), 404, "not_configured")
    web.store.set_status("shop", "stopped", is_active=False)
    for method, path in (("POST", "orders/resync/"), ("DELETE", "orders/"), ("POST", "")):
        more = {} if path else {"json": {"table": "customers"}}
        body = problem(web.client.request(method, f"{TABLES}/{path}", **more), 409, "not_streaming")
        assert "stopped" in body["detail"]
    assert web.dagster.launched == []


def test_the_last_table_is_not_left_out(web: Web) -> None:
    configure(web.store, "tiny", 2, ("only",))
    web.store.set_status("tiny", "running", is_active=True)
    body = problem(web.client.delete("/cdc/config/2/tables/only/"), 422, "configuration")
    assert "cdc teardown tiny" in body["next_step"]


def test_tables_are_copied_side_by_side(web: Web) -> None:
    first = web.client.post(f"{TABLES}/orders/resync/").json()["run"]
    again = web.client.post(f"{TABLES}/orders/resync/").json()["run"]
    assert (again["run_id"], again["already"]) == (first["run_id"], True), "two clicks are one run"
    assert web.client.post(f"{TABLES}/customers/resync/").json()["run"]["already"] is False
    body = problem(web.client.delete(f"{TABLES}/orders/"), 409, "lease_held")
    assert first["run_id"] in body["detail"]
    assert web.client.post("/cdc/config/1/stop/").status_code == 202, "the pipeline need not wait for lanes"
    body = problem(web.client.post(f"{TABLES}/a%2Fb/resync/"), 409, "lease_held")
    assert "stop_replication" in body["detail"]


def test_several_tables_in_one_run_are_not_taken_for_one(web: Web) -> None:
    web.dagster.running.append(ActiveRun("both", "resync_tables", {"tables": ["customers", "orders"]}))
    body = problem(web.client.post(f"{TABLES}/orders/resync/"), 409, "lease_held")
    assert "customers, orders" in body["detail"]


def test_tables_are_taken_in_and_left_out_one_at_a_time(web: Web) -> None:
    web.dagster.running.append(ActiveRun("adding", "add_table", {"table": "fresh"}))
    problem(web.client.delete(f"{TABLES}/orders/"), 409, "lease_held")
    assert web.client.post(f"{TABLES}/orders/resync/").status_code == 202


@pytest.mark.parametrize(
    ("operation", "resync", "remove"),
    [("verify", 202, 409), ("restart", 202, 409), ("heal", 202, 202), ("add table", 202, 409), ("start", 409, 409),
     ("stop", 409, 409), ("teardown", 409, 409)],
)  # fmt: skip
def test_who_holds_the_pipeline(web: Web, operation: str, resync: int, remove: int) -> None:
    """A lane takes no lease: it waits for the stream, which must be there afterwards."""
    with web.store.lease("shop", "cli:here:1", operation):
        assert web.client.post(f"{TABLES}/orders/resync/").status_code == resync
        assert web.client.delete(f"{TABLES}/customers/").status_code == remove


def test_a_lane_that_somebody_else_works_on(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    stand(web, monkeypatch, lane())
    body = problem(web.client.post(f"{TABLES}/orders/resync/"), 409, "lease_held")
    assert "orders" in body["detail"]
    assert web.client.post(f"{TABLES}/customers/resync/").status_code == 202
    stand(web, monkeypatch, lane(silent_s=11))
    assert web.client.post(f"{TABLES}/orders/resync/").status_code == 202, "its worker died: the run goes on"


def test_lanes_are_told(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    stand(web, monkeypatch, lane("following"))
    found = {each["table"]: each for each in web.client.get(f"{TABLES}/").json()["tables"]}
    assert (found["orders"]["lane"]["phase"], found["orders"]["lane"]["idle"]) == ("following", False)
    assert found["customers"]["lane"] is None


@pytest.mark.parametrize(
    ("stands", "words"),
    [
        (lane(), ("being copied again", "step 1 of 4", "3 of 8 chunks, 3,000 rows", "2026-01-01 10:00:00", 'max="8"')),
        (lane(reason="new"), ("being copied</span>",)),
        (lane("following"), ("catching up with the stream", "step 2 of 4")),
        (lane("detached"), ("taking its place", "step 3 of 4")),
        (lane("merged"), ("joining the stream", "step 4 of 4")),
        (lane(), ("interrupted", "nobody works on it")),
        (lane("merged"), ("left behind", "nobody works on it")),
    ],
)
def test_a_lane_in_plain_words(web: Web, monkeypatch: pytest.MonkeyPatch, stands: Any, words: Any) -> None:
    idle = "nobody works on it" in words
    beat = datetime.now(UTC) - timedelta(seconds=120 if idle else 1)
    stand(web, monkeypatch, stands | {"last_beat": beat.isoformat()})
    page = web.client.get("/pipelines/1/live").text
    row = re.sub(r"\s+", " ", re.findall(r'<tr class="apart">.*?</tr>', page, re.DOTALL)[0])
    for word in words:
        assert word in row, (word, row)
    assert ('aria-label="Resync orders…"' in page) is idle, "what goes on has no button"
    assert 'aria-label="Resync customers…"' in page


def test_a_table_in_quarantine_says_why(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    apart = {"kind": "quarantined", "reason": "value <too long>", "since": "2026-01-01T10:00:00.000Z", "skipped": 1234}
    stand(web, monkeypatch, detached=apart, verified={"differences": 0, "at": "2026-01-01T09:00:00.000Z"})
    page = web.client.get("/pipelines/1").text
    for words in ("in quarantine", "value &lt;too long&gt;", "1,234 changes passed by", "2026-01-01 10:00:00"):
        assert words in page, words
    assert "equal</span>" not in page, "that was before"
    asked = web.client.get("/pipelines/1/tables/resync?table=customers", headers=HTML).text
    assert "Mend that first" in asked
    assert "value &lt;too long&gt;" in asked


@pytest.mark.parametrize("table", ["customers", *ODD, ".."])
def test_the_button_asks_and_then_copies_that_table(web: Web, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    configure(web.store, tables=("customers", *ODD, ".."))
    stand(web, monkeypatch)
    web.client.headers.update(HTML)
    links = re.findall(r'href="(/pipelines/1/tables/resync[^"]*)"', web.client.get("/pipelines/1").text)
    [link] = [each for each in links if each.endswith(f"?table={quote(table, safe='')}")]
    page = web.client.get(link).text
    assert "beside the stream" in page
    answer = web.client.post(
        "/pipelines/1/tables/resync", data={"proof": proof(page), "table": table}, follow_redirects=False
    )
    assert answer.headers["location"] == "/pipelines/1?run=run-1&job=resync_tables"
    assert web.dagster.launched[0][1]["tables"] == [table]


def test_the_page_refuses_what_the_api_refuses(web: Web) -> None:
    web.client.headers.update(HTML)
    page = web.client.get("/pipelines/1/tables/resync?table=orders").text
    assert web.client.post("/pipelines/1/tables/resync", data={"table": "orders"}).status_code == 403
    answer = web.client.post("/pipelines/1/tables/resync", data={"proof": proof(page), "table": "ghosts"})
    assert (answer.status_code, "has no table ghosts" in answer.text) == (404, True)
    assert web.client.get("/pipelines/1/tables/resync").status_code == 404
    web.store.set_status("shop", "stopped", is_active=False)
    assert "tables/resync" not in web.client.get("/pipelines/1").text
    assert web.client.get("/pipelines/1/tables/resync?table=orders").status_code == 409
    assert web.dagster.launched == []
