"""The pages without a browser: what they say, forms that must be ours, logging in."""

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import requests

from cdc_pipelines.replication import secrets
from tests.unit.dagster_pipelines import configure
from tests.unit.web_client import DAGSTER, TOKEN, Web, facts, open_web

HTML = {"accept": "text/html"}
RUN = "0123abcd-0000-4000-8000-0123456789ab"


@pytest.fixture
def make_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[Web]]:
    return lambda **settings: contextlib.contextmanager(open_web)(tmp_path, monkeypatch, **settings)


@pytest.fixture
def web(make_web: Callable[..., AbstractContextManager[Web]]) -> Iterator[Web]:
    with make_web() as web:
        configure(web.store)
        web.store.set_status("shop", "running", is_active=True)
        web.client.headers.update(HTML)
        yield web


def proof(page: str) -> str:
    return re.findall(r'name="proof" value="([0-9a-f]{64})"', page)[0]


def test_all_pipelines_at_a_glance(web: Web) -> None:
    configure(web.store, "ledger", 2)
    web.watch.sample()
    page = web.client.get("/").text
    assert re.search(r'href="/pipelines/1">shop<.*healthy', page, re.DOTALL)
    assert re.search(r'href="/pipelines/2">ledger<.*not started', page, re.DOTALL)
    assert web.client.get("/live").text.strip() in page.replace("\r", "")


def test_an_empty_list_says_what_to_do(make_web: Callable[..., AbstractContextManager[Web]]) -> None:
    with make_web() as web:
        assert "No pipeline yet" in web.client.get("/").text


def test_one_pipeline(web: Web) -> None:
    web.watch.sample()
    web.watch.sample()
    page = web.client.get(f"/pipelines/1?run={RUN}&job=stop_replication").text
    for words in ("healthy", "1 of 1", "streaming", "0.4 s", "1,000,000", "3 of 4 chunks", "None so far",
                  f"{DAGSTER}/assets/shop/customers", f"{DAGSTER}/runs/{RUN}", "${env:CDC_TEST_PASSWORD}"):  # fmt: skip
        assert words in page, words
    assert re.search(r'<svg[^>]*role="img" aria-label="Lag since', page)
    assert "<script>" not in page
    assert "style=" not in page
    assert RUN not in web.client.get(f"/pipelines/1?run={RUN}&job=%3Cscript%3E").text


def test_a_table_in_quarantine_is_not_told_to_be_equal(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    apart = {"kind": "quarantined", "reason": "too long", "since": "2026-01-01T10:00:00.000Z", "skipped": 1234}
    table = facts(web.store.get("shop"))["tables"][0] | {"detached": apart, "verified": {"differences": 0, "at": ""}}
    monkeypatch.setattr(web.watch, "_look", lambda record: facts(record) | {"tables": [table]})
    web.watch.sample()
    page = web.client.get("/pipelines/1").text
    for words in ("in quarantine", "2026-01-01 10:00:00", "1,234 changes passed by"):
        assert words in page, words
    assert "equal</span>" not in page


def test_problems_come_with_their_next_step(web: Web) -> None:
    web.store.set_status("shop", "stopped", is_active=True)
    page = web.client.get("/pipelines/1/live").text
    assert "the target is 400 s behind" in page
    assert "look at the consumer" in page


@pytest.mark.parametrize(
    ("action", "job", "resync"),
    [("start", "start_replication", False), ("resync", "start_replication", True), ("stop", "stop_replication", None),
     ("restart", "restart_replication", None), ("verify", "verify_replication", None)],
)  # fmt: skip
def test_buttons_launch_runs(web: Web, action: str, job: str, resync: bool | None) -> None:
    page = web.client.get("/pipelines/1/resync" if action == "resync" else "/pipelines/1").text
    assert f'action="/pipelines/1/{action}"' in page
    answer = web.client.post(f"/pipelines/1/{action}", data={"proof": proof(page)}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/pipelines/1?run=run-1&job={job}"
    [(launched, config, _)] = web.dagster.launched
    assert (launched, config.get("force_resync")) == (job, resync)


def test_a_forged_form_does_nothing(web: Web) -> None:
    for data in ({}, {"proof": ""}, {"proof": "0" * 64}, {"proof": "ü"}):
        answer = web.client.post("/pipelines/1/stop", data=data, follow_redirects=False)
        assert answer.status_code == 403
        assert "expired" in answer.text
    assert web.dagster.launched == []
    page = web.client.get("/pipelines/1").text
    assert web.client.post("/pipelines/1/explode", data={"proof": proof(page)}).status_code == 404


def test_errors_are_pages_with_the_next_step(web: Web) -> None:
    page = web.client.get("/pipelines/1").text
    web.dagster.error = requests.ConnectionError()
    answer = web.client.post("/pipelines/1/start", data={"proof": proof(page)})
    assert answer.status_code == 503
    assert "Dagster does not answer" in answer.text
    assert "CDC_DAGSTER_URL" in answer.text
    for path, status in (("/pipelines/77", 404), ("/pipelines/x", 422), ("/nothing", 404)):
        answer = web.client.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/html")


def test_names_are_text_and_secrets_are_masked(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets.remember('planted-"q"-<7>')
    look = web.watch._look
    problem = {"kind": "lag", "severity": "failed", "message": "<img src=x> planted-\"q\"-<7>", "next_step": ""}

    def hostile(record: Any) -> Any:
        return look(record) | {"problems": [problem], "overall": "failed"}

    monkeypatch.setattr(web.watch, "_look", hostile)
    page = web.client.get("/pipelines/1").text
    assert "&lt;img src=x&gt; ********" in page
    assert "planted" not in page


def test_logging_in_and_out(make_web: Callable[..., AbstractContextManager[Web]]) -> None:
    with make_web(token=TOKEN, host="0.0.0.0") as web:
        configure(web.store)
        client = web.client
        client.headers.update(HTML)
        answer = client.get("/pipelines/1", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/pipelines/1")
        assert "That is not the token" in client.post("/login", data={"token": "wrong"}).text
        answer = client.post("/login", data={"token": TOKEN, "next": "/pipelines/1"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/pipelines/1")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        page = client.get("/pipelines/1").text
        assert client.post("/pipelines/1/stop", data={"proof": proof(page)}, follow_redirects=False).status_code == 303
        assert client.get("/cdc/config/").status_code == 200, "the page's own session may see the API too"
        client.post("/logout", data={"proof": proof(page)})
        assert client.get("/", follow_redirects=False).status_code == 303
        for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb"):
            answer = client.post("/login", data={"token": TOKEN, "next": elsewhere}, follow_redirects=False)
            assert answer.headers["location"] == "/"


def test_guessing_the_token_is_slowed_down(make_web: Callable[..., AbstractContextManager[Web]]) -> None:
    with make_web(token=TOKEN, host="0.0.0.0") as web:
        for _ in range(5):
            assert web.client.post("/login", data={"token": "wrong"}).status_code == 403
        answer = web.client.post("/login", data={"token": TOKEN})
        assert answer.status_code == 429
