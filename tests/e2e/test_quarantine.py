"""A row that the target can't take, seen as its owner sees it: what stands still, what goes on, what to do about it."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.web.app import create_app
from cdc_pipelines.web.settings import WebSettings
from tests.e2e.conftest import Pipe


@contextmanager
def web_of(pipe: Pipe) -> Iterator[TestClient]:
    """The API over the pipeline's control store."""
    with closing(ControlStore.open(f"sqlite:///{pipe.home}/control.db")) as store:
        app = create_app(WebSettings("127.0.0.1", pipelines=pipe.file.parent), store)
        with TestClient(app, base_url="http://127.0.0.1:8090") as client:
            yield client


def logged(pipe: Pipe, words: str) -> dict[str, Any]:
    """The one line of the consumer's log with these words."""
    log = (pipe.home / "logs" / f"{pipe.name}.log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    (found,) = (line for line in lines if words in line["message"])
    return found


def test_a_refused_row_sets_its_table_apart_and_its_owner_is_told_what_to_do(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDC_LOG_FORMAT", "json")  # of the agent, and so of the consumer
    pipe.run(
        "create table price (id int primary key, amount decimal(9,2), what varchar(20))",
        "create table sale (id int primary key, price int)",
        "insert into price values (1, 10.50, 'tea'), (2, 20, 'coffee')",
        "insert into sale values (1, 1)",
    )
    pipe.configure()
    pipe.start()
    pipe.target.execute("alter table price add constraint positive check (amount > 0)")
    pipe.run(
        "begin", "update price set amount = 11 where id = 1", "update price set amount = -1 where id = 2",
        "insert into sale values (2, 2)", "commit",
        "insert into price values (3, 3, 'juice')", "insert into sale values (3, 3)",
    )
    pipe.arrives("select id from sale order by id", [(1,), (2,), (3,)])
    assert pipe.rows("select id, amount::text from price order by id") == [(1, "10.50"), (2, "20.00")]

    done = pipe.cdc("status", pipe.name, "--json")
    assert (done.code, done.json["overall"]) == (3, "degraded")
    problems = {problem["kind"]: problem for problem in done.json["problems"]}
    assert problems.keys() == {"table_quarantined", "dead_letters"}
    assert "table price is in quarantine since" in problems["table_quarantined"]["message"]
    assert 'violates check constraint "positive"' in problems["table_quarantined"]["message"]
    assert f"cdc quarantine release {pipe.name} price" in problems["table_quarantined"]["next_step"]
    tables = {table["table"]: table for table in done.json["tables"]}
    assert (tables["price"]["state"], tables["sale"]["state"]) == ("detached", "live")
    assert tables["price"]["detached"]["kind"] == "quarantined"

    done = pipe.cdc("quarantine", "list", pipe.name, "--json")
    assert (done.code, [(each["table"], each["skipped"], each["dead_letters"]) for each in done.json]) == (
        3, [("price", 3, 1)],
    )  # fmt: skip
    (letter,) = pipe.cdc("deadletters", "list", pipe.name, "--json").json
    assert (letter["op"], letter["key"], letter["sqlstate"]) == ("u", {"id": 2}, "23514")
    assert (letter["before"]["amount"], letter["after"]["amount"]) == ("20.00", "-1.00")
    assert letter["after"]["what"] == "coffee", "the image is whole"

    # a program that reads the log need not take its sentences apart
    line = logged(pipe, "is in quarantine from here on")
    assert (line["level"], line["pipeline"], line["table"]) == ("ERROR", pipe.name, "price")
    assert line["position"] == "{file}:{pos}".format(**letter["position"]), "the refused change's own place"

    shown = pipe.cdc("deadletters", "show", pipe.name, str(letter["id"]), "--json")
    assert (shown.code, shown.json) == (0, letter)
    shown = pipe.cdc("deadletters", "show", pipe.name, str(letter["id"]))
    assert shown.code == 0
    for words in ("table:       price", "op:          u", 'key:         {"id": 2}', '"amount": "-1.00"', "positive"):
        assert words in shown.stdout
    unknown = pipe.cdc("deadletters", "show", pipe.name, "4711")
    assert (unknown.code, unknown.stdout) == (2, "")
    assert f"pipeline {pipe.name} has no dead letter 4711" in unknown.stderr

    done = pipe.cdc("verify", pipe.name)
    assert done.code == 3
    assert "INCOMPLETE" in done.stdout
    assert "price: not compared, it is in quarantine" in done.stdout

    done = pipe.cdc("deadletters", "retry", pipe.name, str(letter["id"]))
    assert done.code == 3
    assert 'still refused: new row for relation "price" violates' in done.stdout

    # the same over HTTP, on the real target
    number = pipe.status()["config"]["id"]
    with web_of(pipe) as web:
        (seen,) = web.get(f"/cdc/config/{number}/deadletters/").json()["letters"]
        assert (seen["id"], seen["after"]) == (letter["id"], letter["after"])
        tried = web.post(f"/cdc/config/{number}/deadletters/{letter['id']}/retry/").json()
        assert (tried["accepted"], "violates" in tried["error"]) == (False, True)

    # somebody has seen it: it is off the list, its table stays apart
    skipped = pipe.cdc("deadletters", "skip", pipe.name, str(letter["id"]), "--note", "known to sales", "--json")
    assert (skipped.code, skipped.json["state"], skipped.json["note"]) == (0, "skipped", "known to sales")
    assert pipe.cdc("deadletters", "list", pipe.name, "--json").json == []
    assert [each["state"] for each in pipe.cdc("deadletters", "list", pipe.name, "--all", "--json").json] == ["skipped"]
    assert pipe.cdc("quarantine", "list", pipe.name).code == 3
    again = pipe.cdc("deadletters", "skip", pipe.name, str(letter["id"]), "--note", "twice")
    assert again.code == 2
    assert f"dead letter {letter['id']} is skipped already" in again.stderr
    assert {problem["kind"] for problem in pipe.status()["problems"]} == {"table_quarantined"}

    # while the target refuses it, so does the copy: the table stays as it is
    refused = pipe.cdc("quarantine", "release", pipe.name, "price")
    assert refused.code == 2
    assert 'relation "price" violates check constraint "positive"' in refused.stderr
    assert pipe.rows("select id, amount::text from price order by id") == [(1, "10.50"), (2, "20.00")]
    # mended, it is copied again and follows
    pipe.target.execute("alter table price drop constraint positive")
    done = pipe.cdc("quarantine", "release", pipe.name, "price")
    assert done.code == 0, done.stderr
    pipe.run("update price set amount = 4 where id = 3")
    pipe.arrives("select id, amount::text from price order by id", [(1, "11.00"), (2, "-1.00"), (3, "4.00")])
    assert pipe.cdc("deadletters", "list", pipe.name, "--json").json == []
    pipe.equal()
    assert pipe.status()["problems"] == []
