"""Dead letters over the API and on their page, without servers: shapes, forms, what is refused."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cdc_pipelines.replication.databases.postgres.dead_letters import DeadLetter
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.operations import dead_letters
from tests.unit.dagster_pipelines import configure
from tests.unit.test_web_api import problem
from tests.unit.test_web_pages import HTML, proof
from tests.unit.web_client import Web, facts, open_web

LETTERS = "/cdc/config/1/deadletters/"
PAGE = "/pipelines/1/deadletters"
HELD = DeadLetter(
    id=7, table="orders", op="u", key='{"id": 2}', before='{"id": 2, "note": "a"}', after='{"id": 2, "note": "<b>"}',
    position=None, commit_ms=None, log_offset=5, sqlstate="23514", error="violates `positive`", state="held", note=None,
    created_at=datetime(2026, 1, 1, tzinfo=UTC), settled_at=None,
)  # fmt: skip


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(dead_letters, "letters", lambda rt, *, table, settled: [HELD] if table != "none" else [])
    for web in open_web(tmp_path, monkeypatch):
        configure(web.store, tables=("customers", "orders"))
        yield web


def test_the_api_tells_them_whole(web: Web) -> None:
    (letter,) = web.client.get(LETTERS).json()["letters"]
    assert (letter["id"], letter["key"], letter["after"]) == (7, {"id": 2}, {"id": 2, "note": "<b>"})
    assert web.client.get(LETTERS, params={"table": "none"}).json()["letters"] == []


def test_a_try_tells_what_the_target_says(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "retry", lambda rt, letter: "still too long" if letter == 7 else "")
    assert web.client.post(f"{LETTERS}7/retry/").json() == {
        "success": True, "accepted": False, "error": "still too long",
    }  # fmt: skip
    assert web.client.post(f"{LETTERS}8/retry/").json()["accepted"]
    form = {"proof": proof(web.client.get(PAGE, headers=HTML).text), "letter": "7"}
    assert "still refused: still too long" in web.client.post(f"{PAGE}/retry", data=form, headers=HTML).text


def test_who_skips_one_says_why(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    skipped: list[tuple[int, str]] = []

    def skip(rt: Any, letter: int, note: str) -> DeadLetter:
        skipped.append((letter, note))
        return HELD

    monkeypatch.setattr(dead_letters, "skip", skip)
    problem(web.client.post(f"{LETTERS}7/skip/", json={"note": ""}), 422, "bad_input")
    form = {"proof": proof(web.client.get(PAGE, headers=HTML).text), "letter": "7", "note": "  "}
    assert web.client.post(f"{PAGE}/skip", data=form, headers=HTML).status_code == 422
    assert skipped == []
    assert web.client.post(f"{LETTERS}7/skip/", json={"note": "seen"}).status_code == 200
    answer = web.client.post(f"{PAGE}/skip", data=form | {"note": "known"}, headers=HTML, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    assert skipped == [(7, "seen"), (7, "known")]
    assert web.store.history("shop")[0].message == "7 (table orders): known"
    assert web.client.post(f"{PAGE}/skip", data=form | {"proof": "x"}, headers=HTML).status_code == 403


def test_the_page_shows_them_escaped_and_the_pipelines_page_leads_there(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = web.client.get(PAGE, headers=HTML).text
    assert "7: update in orders" in text
    assert "<b>" not in text
    assert "/pipelines/1/tables/resync?table=orders" in text
    reason = {"kind": "quarantined", "reason": "refused", "since": "2026-01-01T10:00:00.000Z", "skipped": 0}

    def look(record: Any) -> dict[str, Any]:
        status = facts(record)
        table = status["tables"][0] | {"detached": reason, "dead_letters": 3}
        return status | {"lanes": [], "tables": [table]}

    monkeypatch.setattr(web.watch, "_look", look)
    web.watch.look_again("shop")
    assert f'<a href="{PAGE}">3 dead letters</a>' in web.client.get("/pipelines/1", headers=HTML).text


def test_a_target_out_of_reach_is_told(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(rt: Any, **_: Any) -> list[DeadLetter]:
        raise RetryableError("the target is out of reach", "look at it.")

    monkeypatch.setattr(dead_letters, "letters", unreachable)
    problem(web.client.get(LETTERS), 503, "retryable")
    assert web.client.get(PAGE, headers=HTML).status_code == 503
