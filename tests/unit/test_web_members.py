"""A table taken in or left out by the page: told beforehand, kept in the file, nothing half done."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cdc_pipelines.replication.catalog import Column, Table
from cdc_pipelines.replication.operations.configure import configure_text
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from tests.unit.dagster_pipelines import configure, file_text, mapped_table
from tests.unit.test_web_pages import HTML, proof
from tests.unit.web_client import Source, Web, facts, open_web

STRANGE = Table("shop", "places", (Column("id", "inet6", "inet6", nullable=False),), ("id",))


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    there = [*(mapped_table(name).source for name in ("customers", "orders", "new <b>")), STRANGE]
    for web in open_web(tmp_path, monkeypatch):
        monkeypatch.setattr(Source, "tables", lambda self: there)
        web.pipelines.mkdir()
        text = "# ours\n" + file_text(tables=["customers", "orders"])
        (web.pipelines / "shop.yaml").write_text(text)
        configure_text(text, web.pipelines / "shop.yaml", web.store)
        web.store.set_status("shop", "running", is_active=True)
        web.client.headers.update(HTML)
        yield web


def file_of(web: Web) -> str:
    return (web.pipelines / "shop.yaml").read_text()


def tables_of(web: Web) -> list[str]:
    """Those that are configured, which the file and its stored text must declare as well."""
    record = web.store.get("shop")
    for text in (record.file_text, file_of(web)):
        assert parse_pipeline(text, Path("shop.yaml")) == record.spec
    return [table.name for table in record.tables]


def test_what_may_be_added_and_what_that_does(web: Web) -> None:
    assert 'href="/pipelines/1/tables/add"' in web.client.get("/pipelines/1").text
    page = web.client.get("/pipelines/1/tables/add").text
    assert "new &lt;b&gt;" in page
    assert re.search(r"places.*can't be added as it is", page, re.DOTALL), "its type has no form on the target"
    assert ">orders<" not in page, "the pipeline has it"
    page = web.client.get("/pipelines/1/tables/add", params={"table": "new <b>", "target": "fresh"}).text
    for words in ("Add new &lt;b&gt; to shop?", "About 1,000 rows", "shop.fresh", "restarts its task", "numeric(20)",
                  "+- {source: new &lt;b&gt;, target: fresh}"):  # fmt: skip
        assert words in page, words
    assert tables_of(web) == ["customers", "orders"], "only looked at"

    answer = web.client.post(
        "/pipelines/1/tables/add", data={"proof": proof(page), "table": "new <b>", "target": "fresh"},
        follow_redirects=False,
    )
    assert answer.headers["location"] == "/pipelines/1?run=run-1&job=add_table"
    assert web.dagster.launched[0][:2] == (
        "add_table", {"pipeline": "shop", "table": "new <b>", "target": "fresh"}
    )
    assert tables_of(web) == ["customers", "new <b>", "orders"]
    assert file_of(web).startswith("# ours\n")


@pytest.mark.parametrize(("data", "dropped"), [({}, False), ({"drop": "1"}, True)])
def test_what_removing_does(web: Web, data: dict[str, str], dropped: bool) -> None:
    assert 'aria-label="Remove orders…"' in web.client.get("/pipelines/1").text
    page = web.client.get("/pipelines/1/tables/remove?table=orders").text
    for words in ("Remove orders from shop?", "<strong>shop.orders</strong> stays", "-- orders", "Drop shop.orders"):
        assert words in page, words
    web.client.post("/pipelines/1/tables/remove", data={"proof": proof(page), "table": "orders"} | data)
    assert web.dagster.launched[-1][:2] == (
        "remove_table", {"pipeline": "shop", "table": "orders", "drop_table": dropped}
    )
    assert tables_of(web) == ["customers"]
    assert "Remove customers" not in web.client.get("/pipelines/1").text, "the last one stays"


def test_nothing_is_changed_by_what_is_refused(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    page = web.client.get("/pipelines/1/tables/add?table=new+%3Cb%3E").text
    forms = [("add", {"table": "new <b>"}), ("remove", {"table": "orders"})]
    before = file_of(web)
    for action, data in forms:
        assert web.client.post(f"/pipelines/1/tables/{action}", data=data).status_code == 403, "no proof"
    with web.store.lease("shop", "cli:here:1", "verify"):
        for action, data in forms:
            answer = web.client.post(f"/pipelines/1/tables/{action}", data=data | {"proof": proof(page)})
            assert answer.status_code == 409
    # the worst moment: saved already, and Dagster is gone
    def refuse(*_: Any, **__: Any) -> str:
        raise requests.ConnectionError

    monkeypatch.setattr("cdc_pipelines.dagster_client.DagsterClient.launch", refuse)
    for action, data in forms:
        answer = web.client.post(f"/pipelines/1/tables/{action}", data=data | {"proof": proof(page)})
        assert answer.status_code == 503
        assert tables_of(web) == ["customers", "orders"]
    assert file_of(web) == before
    assert list(web.pipelines.iterdir()) == [web.pipelines / "shop.yaml"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.unlink(), "not where this page looks for it"),
        (lambda file: file.write_text(file.read_text() + "# mine\n"), "changed since it was configured"),
    ],
)
def test_a_file_that_is_not_ours_to_change_is_left_alone(web: Web, spoil: Any, words: str) -> None:
    file = web.pipelines / "shop.yaml"
    spoil(file)
    before = file.read_text() if file.exists() else None
    page = web.client.get("/pipelines/1/tables/remove?table=orders").text
    assert words in page
    assert "take" in page.lower()
    answer = web.client.post("/pipelines/1/tables/remove", data={"proof": proof(page), "table": "orders"})
    assert answer.status_code == 200
    assert (file.read_text() if file.exists() else None) == before
    assert len(web.store.get("shop").tables) == 2, "the run does it"


def test_a_name_that_is_taken_on_the_target(web: Web) -> None:
    answer = web.client.get("/pipelines/1/tables/add", params={"table": "new <b>", "target": "orders"})
    assert (answer.status_code, "is that of orders already" in answer.text) == (422, True)


def test_a_table_between_file_and_stream_says_so(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configured, and not taken in; left out, and still there: as a run that broke off leaves it."""
    first = facts(web.store.get("shop"))["tables"][0]
    monkeypatch.setattr(
        web.watch, "_look", lambda record: facts(record) | {"tables": [first, first | {"table": "gone"}]}
    )
    web.watch.look_again("shop")
    page = web.client.get("/pipelines/1").text
    assert re.search(r"orders: </span>\s*.*not in the stream yet", page)
    assert 'aria-label="Add orders…"' in page
    assert re.search(r"gone: </span>\s*.*still streams", page)
    assert 'aria-label="Resync gone…"' not in page
    web.store.set_status("shop", "stopped", is_active=False)
    page = web.client.get("/pipelines/1").text
    assert "not in the stream yet" not in page
    assert "tables/add" not in page


def test_settings_that_go_on_naming_a_removed_table_are_told(web: Web) -> None:
    configure(web.store, shape={"orders": {"where": "id > 3"}})
    page = web.client.get("/pipelines/1/tables/remove?table=orders").text
    assert "<code>shape</code>" in page


def test_the_file_is_changed_on_the_page_once_it_is_known_what_that_does(web: Web) -> None:
    before = file_of(web)
    page = web.client.get("/pipelines/1/file").text
    assert "# ours" in page
    changed = before.replace("- orders", "- {source: new <b>}") + "health: {lag_seconds: 7}\n"
    data = {"proof": proof(page), "text": changed.replace("\n", "\r\n")}
    page = web.client.post("/pipelines/1/file", data=data | {"do": "plan"}).text
    for words in ("table orders is left out", "table new &lt;b&gt; is new", "at the next start, beside the stream",
                  "health.lag_seconds: 300 → 7", "at once"):  # fmt: skip
        assert words in page, words
    assert file_of(web) == before
    assert "press Start" not in web.client.post("/pipelines/1/file", data=data | {"do": "save"}).text
    assert file_of(web) == changed
    assert tables_of(web) == ["customers", "new <b>"]
    for spoilt, words in ((changed.replace("config: 1", "config: 2"), "config id 2"), ("a: [", "is not YAML"),
                          (changed.replace("- customers", "- ghosts"), "ghosts")):  # fmt: skip
        answer = web.client.post("/pipelines/1/file", data=data | {"text": spoilt, "do": "save"})
        assert (answer.status_code, words in answer.text) == (422, True), words
    assert file_of(web) == changed
    assert web.client.post("/pipelines/1/file", data={"text": before, "do": "save"}).status_code == 403
