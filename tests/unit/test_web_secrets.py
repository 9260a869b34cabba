"""Whatever servers, files and people say: no answer of any route, its headers included, holds a secret."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from starlette.responses import Response

from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.operations import dead_letters
from cdc_pipelines.web.render import HERE
from cdc_pipelines.web.settings import from_environment
from tests.unit.dagster_pipelines import file_text
from tests.unit.test_web_access import PLANTED
from tests.unit.test_web_pages import HTML, proof
from tests.unit.test_web_setup import FORM, Target, fields
from tests.unit.web_client import TOKEN, Source, Web
from tests.unit.web_full import RUN, configured, open_full

TOLD = " ".join([*PLANTED.values(), TOKEN])
IN_PATHS = {"id": "1", "table": "orders", "letter": "7", "action": "verify"}
SERVER = {"type": "mysql", "host": "db", "port": 3306, "database": "shop", "user": "cdc"}


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """Every word of a server, Dagster or a person in it has all the secrets. Who asks is logged in as a browser is."""
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CDC_WEB_TOKEN", TOKEN)
    from_environment("0.0.0.0", 8090)
    with contextlib.contextmanager(open_full)(tmp_path, monkeypatch, TOLD, token=TOKEN, host="0.0.0.0") as web:
        web.client.post("/login", data={"token": TOKEN})
        yield web


Asked = dict[str, Any]


def requests_of(web: Web) -> dict[str, list[Asked]]:
    """What each route is asked for, as httpx takes it; the first is answered well where nothing is broken."""
    text = file_text(tables=["customers", "orders"])
    literal = {"source": SERVER | {"password": "planted-literal-5"}}
    first = FORM | {"proof": proof(web.client.get("/new", headers=HTML).text)}
    chosen = fields(web.client.post("/new/tables", data=first, headers=HTML).text)
    plain: list[Asked] = [{}]
    return {
        "GET /openapi.json": plain,
        "GET /metrics": plain,
        "GET /static": [{"below": file.name} for file in sorted((HERE / "static").iterdir())],
        "GET /cdc/config/": plain,
        "POST /cdc/config/": [
            {"content": text}, {"content": text, "params": {"plan": "true"}},
            {"json": literal | {"name": "p", "config": 3, "passwort": "planted-literal-5"}},
        ],
        "POST /cdc/discover/": [
            {"json": {"source": SERVER | {"password": "${env:CDC_TEST_PASSWORD}"}}}, {"json": literal},
        ],
        "GET /cdc/config/{id}/status/": plain,
        "GET /cdc/config/{id}/tables/": plain,
        "GET /cdc/config/{id}/incidents/": plain,
        "GET /cdc/config/{id}/lag/": plain,
        "POST /cdc/config/{id}/start/": [{}, {"json": {"force_resync": TOLD}}],
        "POST /cdc/config/{id}/stop/": plain,
        "POST /cdc/config/{id}/restart/": plain,
        "POST /cdc/config/{id}/verify/": [{}, {"json": {"tables": [TOLD]}}],
        "POST /cdc/config/{id}/tables/": [{"json": {"table": "fresh"}}, {"json": {"table": TOLD}}],
        "POST /cdc/config/{id}/tables/{table:table}/resync/": [{"json": {}}],
        "DELETE /cdc/config/{id}/tables/{table:table}/": plain,
        "GET /cdc/config/{id}/deadletters/": [{}, {"params": {"table": TOLD, "settled": "true"}}],
        "POST /cdc/config/{id}/deadletters/{letter}/retry/": plain,
        "POST /cdc/config/{id}/deadletters/{letter}/skip/": [{"json": {"note": TOLD}}],
        "GET /new": plain,
        "POST /new/tables": [{"data": FORM}, {"data": FORM | {"source.password": "planted-literal-5"}}],
        "POST /new/review": [{"data": chosen}, {"data": chosen | {"n.0": TOLD}}],
        "POST /new/save": [{"data": {"text": file_text("fourth", 4)}}, {"data": {"text": f"name: {TOLD}"}}],
        "GET /pipelines/{id}/deadletters": plain,
        "POST /pipelines/{id}/deadletters/retry": [{"data": {"letter": "7"}}],
        "POST /pipelines/{id}/deadletters/skip": [{"data": {"letter": "7", "note": TOLD}}],
        "GET /pipelines/{id}/file": plain,
        "POST /pipelines/{id}/file": [
            {"data": {"text": text, "do": do}} for do in ("plan", "save")
        ] + [{"data": {"text": f"{text}kafka: {TOLD}", "do": "plan"}}],
        "GET /pipelines/{id}/tables/resync": [{"params": {"table": "orders"}}, {"params": {"table": TOLD}}],
        "POST /pipelines/{id}/tables/resync": [{"data": {"table": "customers"}}],
        "GET /pipelines/{id}/tables/add": [{}, {"params": {"table": "fresh"}}, {"params": {"table": TOLD}}],
        "POST /pipelines/{id}/tables/add": [{"data": {"table": "fresh"}}],
        "GET /pipelines/{id}/tables/remove": [{"params": {"table": "orders"}}, {"params": {"table": TOLD}}],
        "POST /pipelines/{id}/tables/remove": [{"data": {"table": "orders"}}],
        "GET /": plain,
        "GET /live": plain,
        "GET /login": [{}, {"params": {"next": f"/{TOLD}"}}],
        "POST /login": [{"data": {"token": TOKEN}}, {"data": {"token": "wrong"}}],
        "POST /logout": plain,
        "GET /pipelines/{id}": [{}, {"params": {"run": RUN, "job": "stop_replication", "saved": "1"}}],
        "GET /pipelines/{id}/live": plain,
        "GET /pipelines/{id}/resync": plain,
        "POST /pipelines/{id}/reload": plain,
        "POST /pipelines/{id}/{action}": plain,
    }


def routes_of(web: Web) -> list[str]:
    """All that the app has, a mounted folder as its `GET`."""
    app: Any = web.client.app
    return [
        f"{method} {route.path}"
        for route in iter_route_contexts(app._app.routes)
        for method in sorted((route.methods or {"GET"}) - {"HEAD"})
    ]


def asked(web: Web, route: str, ask: Asked) -> httpx.Response:
    """One answer, from the state of the beginning, with what a browser sends along."""
    if web.client.get("/", headers=HTML, follow_redirects=False).status_code == 303:
        web.client.post("/login", data={"token": TOKEN})
    method, path = route.split(" ")
    path = re.sub(r"\{(\w+)(:\w+)?\}", lambda match: IN_PATHS[match[1]], path)
    ask = {"headers": HTML, **ask}
    if below := ask.pop("below", None):
        path += f"/{below}"
    if method == "POST" and not path.startswith("/cdc/"):
        form = web.client.get("/new", headers=HTML).text
        ask["data"] = ask.get("data", {}) | {"proof": proof(form)}
    return web.client.request(method, path, follow_redirects=False, **ask)


def test_every_route_is_asked(web: Web) -> None:
    new = sorted(set(routes_of(web)) - set(requests_of(web)))
    assert new == [], f"requests_of in {Path(__file__).name} knows nothing to ask these routes for: add it for each"
    assert sorted(set(requests_of(web)) - set(routes_of(web))) == [], "these routes are gone: take them out there"


def nothing(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    pass


def everybody_refuses(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each server, in words that repeat what it was given."""
    web.dagster.error = RuntimeError(TOLD)
    refuse(web, monkeypatch, RetryableError(f"can't reach {TOLD}", f"try {TOLD}"))
    Target.error = ConfigurationError(TOLD, TOLD)


def everything_breaks(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """With errors that nobody has thought of."""
    web.dagster.error = ZeroDivisionError(TOLD)
    refuse(web, monkeypatch, ZeroDivisionError(TOLD))


def refuse(web: Web, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise error

    Source.error = error
    for name in ("letters", "retry", "skip"):
        monkeypatch.setattr(dead_letters, name, refused)
    monkeypatch.setattr(web.watch, "_look", refused)
    web.watch.look_again("shop")


@pytest.mark.parametrize("breakage", [nothing, everybody_refuses, everything_breaks])
def test_no_answer_of_any_route_holds_a_secret(
    web: Web, monkeypatch: pytest.MonkeyPatch, breakage: Callable[[Web, pytest.MonkeyPatch], None]
) -> None:
    to_ask = requests_of(web)
    breakage(web, monkeypatch)
    seen = {}
    for route in routes_of(web):
        for number, ask in enumerate(to_ask.get(route, [{}])):
            with contextlib.suppress(RetryableError, ZeroDivisionError):
                configured_again(web)
            answer = asked(web, route, ask)
            if breakage is nothing and number == 0:
                assert answer.status_code < 400, f"{route}: {answer.status_code} {answer.text}"
            told = f"{answer.text}\n{answer.headers}"
            found = re.findall(r"planted[\w-]*|" + TOKEN, told)
            assert found == [], f"{route} with {ask} told {found}: {told[:3000]}"
            seen[route] = seen.get(route, "") + told
    if breakage is nothing:
        for route in ("GET /cdc/config/{id}/status/", "GET /", "GET /pipelines/{id}", "GET /pipelines/{id}/deadletters",
                      "GET /cdc/config/{id}/incidents/", "GET /pipelines/{id}/file"):  # fmt: skip
            assert "********" in seen[route], f"{route} had none to hide"


def configured_again(web: Web) -> None:
    kept, Source.error = Source.error, None
    configured(web, TOLD)
    Source.error = kept


def test_a_route_that_is_new_is_noticed(web: Web) -> None:
    app: Any = web.client.app
    app._app.get("/new/one")(lambda: Response())
    with pytest.raises(AssertionError, match="GET /new/one"):
        test_every_route_is_asked(web)
