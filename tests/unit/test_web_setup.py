"""Setting a pipeline up through the page's forms: what is refused where, and the file that comes out."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from cdc_pipelines.replication.catalog import Column, Table
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.operations.discover import Discovery
from cdc_pipelines.replication.pipeline import Source as PipelineSource
from cdc_pipelines.replication.pipeline_file import load_pipeline
from cdc_pipelines.web import draft, setup
from tests.control_fixtures import wait_until
from tests.unit.dagster_pipelines import configure
from tests.unit.web_client import Source, Web, open_web

ID = Column("id", "int", "int", nullable=False)
FORM = {
    "name": "second", "source.type": "mysql", "source.host": "db.example.com", "source.port": "3306",
    "source.database": "shop", "source.user": "cdc", "source.password": "${env:CDC_TEST_PASSWORD}",
    "target.type": "postgres", "target.host": "db.example.com", "target.port": "${env:PORT}",
    "target.database": "warehouse", "target.schema": "shop", "target.user": "cdc",
    "target.password": "${env:CDC_TEST_PASSWORD}", "connect.url": "http://connect.example.com:8083",
    "kafka.bootstrap_servers": "${env:CDC_KAFKA_BOOTSTRAP:-127.0.0.1:9092}",
}  # fmt: skip


class Target:
    """A target that lets everybody in, or raises `error`."""

    error: Exception | None = None

    def __init__(self, *_: Any, **__: Any) -> None:
        if Target.error is not None:
            raise Target.error

    def close(self) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(setup, "connect", Target)
    monkeypatch.setattr(Target, "error", None)
    for web in open_web(tmp_path, monkeypatch):
        web.client.headers["accept"] = "text/html"
        yield web


def fields(page: str) -> dict[str, str]:
    """The form's fields as a browser would send them."""
    found = {}
    for tag in re.findall(r"<input [^>]*>", page):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and not ("checkbox" in tag and ("checked" not in tag or "disabled" in tag)):
            found[name[1]] = unescape(value[1]) if value else ""
    for name, options in re.findall(r'<select [^>]*name="([^"]*)">(.*?)</select>', page):
        found[name] = re.findall(r"<option(?: selected)?>([^<]*)", options)[0]
    for name, text in re.findall(r'<textarea [^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', page, re.DOTALL):
        found[name] = unescape(text).replace("\n", "\r\n")  # as browsers do
    return found


def test_from_the_first_form_to_a_saved_pipeline(web: Web) -> None:
    page = web.client.get("/new").text
    assert fields(page)["source.password"] == "${env:CDC_SOURCE_PASSWORD}"
    page = web.client.post("/new/tables", data=fields(page) | FORM).text
    assert "Source and target answer" in page
    assert "about 1,000 rows, 64 KiB, key id" in page
    chosen = fields(page)
    assert "c.0.2" not in chosen, "a column without a form is left out"

    chosen |= {"n.0": "people", "r.0.1": "remark"}
    page = web.client.post("/new/review", data=chosen).text
    reviewed = fields(page)
    assert "people" in reviewed["text"]
    answer = web.client.post("/new/save", data=reviewed, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/pipelines/1?saved=1")

    spec = load_pipeline(web.pipelines / "second.yaml")
    assert spec == web.store.get("second").spec
    assert (spec.source.port, spec.target.port) == (3306, "${env:PORT}")
    assert spec.connect.url == "http://connect.example.com:8083"
    [table] = spec.tables
    assert (table.source, table.target, table.columns, table.rename) == (  # type: ignore[union-attr]
        "customers", "people", ["id", "note"], {"note": "remark"},
    )
    assert "Saved as" in web.client.get("/pipelines/1?saved=1").text
    assert wait_until(lambda: web.dagster.reloaded == 1), "Dagster is asked to load it, without a click"
    assert web.dagster.launched == []


def test_the_servers_of_the_last_pipeline_are_offered(web: Web) -> None:
    configure(web.store)
    offered = fields(web.client.get("/new").text)
    assert (offered["source.host"], offered["source.password"]) == ("192.0.2.1", "${env:CDC_TEST_PASSWORD}")
    assert offered["source.database"] == ""


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("name", "Capital", "pattern"), ("source.password", "planted-literal-8", "must be a reference"),
     ("source.port", "70000", "not between"), ("target.database", "", "at least 1"), ("name", "shop", "already")],
)  # fmt: skip
def test_mistakes_stand_at_their_field(web: Web, field: str, value: str, words: str) -> None:
    configure(web.store)
    form = fields(web.client.get("/new").text) | FORM | {field: value}
    answer = web.client.post("/new/tables", data=form)
    assert answer.status_code == 422
    note = re.search(rf'id="{re.escape(field)}-note">([^<]*)', answer.text)
    assert note is not None
    assert words in note[1]
    assert "planted" not in answer.text
    kept = fields(answer.text)
    assert kept["source.host"] == "db.example.com", "what was typed stays"


def test_servers_that_refuse_are_told_both(web: Web) -> None:
    Source.error = RetryableError("source db.example.com is out of reach", "look at its firewall.")
    Target.error = ConfigurationError("login refused", "grant it.")
    form = fields(web.client.get("/new").text) | FORM
    answer = web.client.post("/new/tables", data=form)
    assert answer.status_code == 422
    for words in ("out of reach", "look at its firewall", "login refused", "grant it"):
        assert words in answer.text


def test_choices_that_make_no_pipeline(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fields(web.client.get("/new").text) | FORM
    chosen = fields(web.client.post("/new/tables", data=first).text)
    none = {key: value for key, value in chosen.items() if key != "t.0"}
    answer = web.client.post("/new/review", data=none)
    assert answer.status_code == 422
    assert "no table is chosen" in answer.text
    answer = web.client.post("/new/review", data=chosen | {"r.0.1": "id"})
    assert answer.status_code == 422
    assert "more than one column would be named id" in answer.text
    assert fields(answer.text)["r.0.1"] == "id", "what was typed stays"
    answer = web.client.post("/new/review", data=chosen | {"m.0": "another"})
    assert answer.status_code == 422
    assert "changed meanwhile" in answer.text


def test_a_file_that_is_wrong_is_shown_again(web: Web) -> None:
    first = fields(web.client.get("/new").text)
    answer = web.client.post("/new/save", data={"proof": first["proof"], "text": "name: x\nconfig: 1\n"})
    assert answer.status_code == 422
    assert "source" in answer.text
    assert fields(answer.text)["text"].startswith("name: x")
    for path in ("tables", "review", "save"):
        assert web.client.post(f"/new/{path}", data={}).status_code == 403, "a forged form"


def test_a_table_that_no_connector_can_read_can_not_be_chosen() -> None:
    """Also where the column that it can't read could be left out."""
    source = PipelineSource(
        type="mariadb", host="db.example.com", port=3306, database="shop", user="cdc", password="${env:PW}"
    )
    found = Discovery(source, [
        Table("shop", "orders", (ID,), ("id",)),
        Table("shop", "hosts", (ID, Column("ip", "inet6", "inet6")), ("id",)),
    ])
    orders, hosts = draft.choices(found, {})
    assert (orders.chosen, orders.why_not) == (True, "")
    assert not hosts.chosen
    assert hosts.why_not.startswith("It has ip (inet6), which Debezium's connector can't read")
    file = draft.text({"name": "second"}, [orders, hosts])
    assert "orders" in file
    assert "hosts" not in file
