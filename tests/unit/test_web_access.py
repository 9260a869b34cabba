"""Who is let in, what another site's page can't do, and that no secret leaves."""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.logs import setup_logging
from cdc_pipelines.web.access import SESSION_S, Access, Failures
from cdc_pipelines.web.guard import BODY_LIMIT
from cdc_pipelines.web.settings import WebSettings, from_environment
from tests.unit.dagster_pipelines import configure, file_text
from tests.unit.web_client import TOKEN, Source, Web, open_web

BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def make_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[Web]]:
    return lambda **settings: contextlib.contextmanager(open_web)(tmp_path, monkeypatch, **settings)


@pytest.fixture
def web(make_web: Callable[..., AbstractContextManager[Web]]) -> Iterator[Web]:
    """One that asks for a token."""
    with make_web(token=TOKEN, host="0.0.0.0") as web:
        configure(web.store)
        yield web


def test_it_does_not_listen_for_strangers_without_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7", "db.example.com", ""):
        with pytest.raises(ConfigurationError, match="CDC_WEB_TOKEN"):
            WebSettings(host)
    with pytest.raises(ConfigurationError, match="fewer than"):
        WebSettings("0.0.0.0", token="short")
    with pytest.raises(ConfigurationError, match="CDC_DAGSTER_URL"):
        WebSettings(dagster_url="http://me:secret@127.0.0.1:3000")
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        WebSettings(host)
    assert TOKEN not in repr(WebSettings("0.0.0.0", token=TOKEN))


def test_the_api_asks_for_the_token(web: Web) -> None:
    for path in ("/cdc/config/", "/cdc/config/1/status/", "/openapi.json", "/metrics"):
        answer = web.client.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["type"] == "urn:cdc:not_logged_in"
        assert web.client.get(path, headers=BEARER).status_code == 200
    assert web.client.post("/cdc/config/1/stop/").status_code == 401
    assert web.dagster.launched == []
    assert web.client.post("/cdc/config/1/stop/", headers=BEARER).status_code == 202


def test_guessing_is_slowed_down(web: Web) -> None:
    for _ in range(5):
        assert web.client.get("/cdc/config/", headers={"authorization": "Bearer wrong"}).status_code == 401
    answer = web.client.get("/cdc/config/", headers=BEARER)
    assert answer.status_code == 429, "not even the right one is heard: it may be a guess"
    assert 0 < int(answer.headers["retry-after"]) <= 61


def test_failures_are_forgotten_in_time_and_lock_nobody_else_out() -> None:
    now = [0.0]
    failures = Failures(clock=lambda: now[0])
    for number in range(4):
        failures.failed("a")
        failures.failed(f"b{number}")
        assert failures.wait_s("a") == 0
    now[0] = 10.0
    failures.failed("a")
    assert failures.wait_s("a") == 51
    assert failures.wait_s("c") == 0
    now[0] = 60.0
    assert failures.wait_s("a") == 0
    for _ in range(5):
        failures.failed("a")
    assert failures.wait_s("a") == 61
    failures.succeeded("a")
    assert failures.wait_s("a") == 0


def test_sessions_end_and_can_t_be_made_up() -> None:
    now = [1000.0]
    access = Access(TOKEN, clock=lambda: now[0])
    session = access.new_session()
    assert access.is_session(session)
    assert Access(TOKEN, clock=lambda: now[0]).is_session(session), "it outlives a restart"
    assert not Access(TOKEN + "x", clock=lambda: now[0]).is_session(session), "it ends with the token"
    longer = "9" + session
    for made_up in (longer, session[:-1], "", ".", "..", "1.2.3", "ü.ü.ü"):
        assert not access.is_session(made_up)
    now[0] += SESSION_S
    assert not access.is_session(session)
    assert access.is_form_proof("a", access.form_proof("a"))
    assert not access.is_form_proof("b", access.form_proof("a"))
    assert not Access("").is_token("")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8090", "[::2]:8090", ""])
def test_a_rebound_name_reaches_nothing(make_web: Callable[..., AbstractContextManager[Web]], host: str) -> None:
    with make_web() as web:
        answer = web.client.get("/cdc/config/", headers={"host": host})
        assert answer.status_code == 421
        assert answer.json()["type"] == "urn:cdc:unknown_host"
        for name in ("127.0.0.1:8090", "localhost:1", "localhost", "[::1]:8090"):
            assert web.client.get("/cdc/config/", headers={"host": name}).status_code == 200


def test_hosts_that_are_named_are_known(make_web: Callable[..., AbstractContextManager[Web]]) -> None:
    with make_web(token=TOKEN, host="0.0.0.0", hosts=frozenset({"cdc.example.com"})) as web:
        assert web.client.get("/cdc/config/", headers=BEARER | {"host": "cdc.example.com"}).status_code == 200
        assert web.client.get("/cdc/config/", headers=BEARER | {"host": "other.example.com"}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9"},
     {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
)  # fmt: skip
def test_another_sites_page_can_t_act(
    make_web: Callable[..., AbstractContextManager[Web]], headers: dict[str, str]
) -> None:
    with make_web() as web:
        configure(web.store)
        answer = web.client.post("/cdc/config/1/stop/", headers=headers)
        assert answer.status_code == 403
        assert web.dagster.launched == []
        own = {"origin": "http://127.0.0.1:8090", "sec-fetch-site": "same-origin"}
        assert web.client.post("/cdc/config/1/stop/", headers=own).status_code == 202


def test_bodies_are_limited(web: Web) -> None:
    def stream() -> Iterator[bytes]:
        for _ in range(BODY_LIMIT // 1024 + 1):
            yield b"#" * 1024

    for body in (b"#" * (BODY_LIMIT + 1), stream()):
        answer = web.client.post("/cdc/config/", content=body, headers=BEARER)
        assert answer.status_code == 413
        assert answer.json()["type"] == "urn:cdc:too_large"


def test_every_answer_has_the_headers(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    def surprise(_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(web.watch, "_look", surprise)
    for path, status in (("/cdc/config/", 200), ("/cdc/config/1/status/", 500), ("/cdc/x", 404)):
        answer = web.client.get(path, headers=BEARER)
        assert answer.status_code == status
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


PLANTED = {
    "CDC_TEST_PASSWORD": "planted-password-1", "OTHER_API_TOKEN": "planted-token-2",
    "CDC_CONTROL_URL": "postgresql+psycopg2://cdc:planted-store-3@db.example.com/cdc",
    "QUOTED_SECRET": 'planted-"quoted"-<4>',
}  # fmt: skip


def test_no_secret_leaves(
    web: Web, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is posted, and whatever a server's error repeats: no answer and no line of the log holds a secret."""
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CDC_WEB_TOKEN", TOKEN)
    from_environment("0.0.0.0", 8090)
    root = logging.getLogger()
    handlers = list(root.handlers)
    setup_logging()
    server = {"type": "mysql", "host": "db", "port": 3306, "database": "shop", "user": "cdc"}
    told = " ".join([*PLANTED.values(), TOKEN])
    answers = []

    def ask(method: str, path: str, **more: Any) -> None:
        answers.append(web.client.request(method, path, headers=BEARER, **more))

    for password in ("planted-literal-5", "${env:X:-planted-literal-5}", {"a": "planted-literal-5"}):
        ask("POST", "/cdc/discover/", json={"source": server | {"password": password}})
        document = {"name": "p", "config": 3, "source": server | {"password": password}, "passwort": password}
        ask("POST", "/cdc/config/", json=document)
        ask("POST", "/cdc/config/", content=f"password: {json.dumps(password)}\n  {{: [", )
    Source.error = RetryableError(f"can't reach {told}", f"try {told}")
    ask("POST", "/cdc/discover/", json={"source": server | {"password": "${env:CDC_TEST_PASSWORD}"}})
    web.dagster.error = RuntimeError(told)
    for path in ("start", "stop", "restart", "verify"):
        ask("POST", f"/cdc/config/1/{path}/")
    web.store.set_status("shop", "failed", message=told)
    with web.store.lease("shop", told, "start"):
        web.dagster.error = None
        ask("POST", "/cdc/config/1/stop/")
    for path in ("config/", "config/1/status/", "config/1/tables/", "config/1/incidents/", "config/1/lag/"):
        ask("GET", f"/cdc/{path}")
    ask("GET", "/openapi.json")
    assert len(answers) == 21
    log = capsys.readouterr()
    root.handlers = handlers
    everything = "\n".join([*(a.text + str(a.headers) for a in answers), log.out, log.err])
    assert "planted" not in everything
    assert TOKEN not in everything


def test_a_posted_file_with_a_literal_secret_is_refused(web: Web) -> None:
    document = file_text(tables=[{"source": "customers", "columns": ["id"]}])
    document += "kafka: {client: {sasl.password: planted-literal-6}}\n"
    answer = web.client.post(
        "/cdc/config/", content=document, headers=BEARER | {"content-type": "application/yaml"}
    )
    assert answer.status_code == 422
    assert "planted" not in answer.text
    assert not (web.pipelines / "shop.yaml").exists()
