"""The change log's size: trimmed behind the readers, and the largest record it takes."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.stream.trimming import trim
from cdc_pipelines.stack.settings import StackSettings
from tests.e2e.conftest import Pipe, edit, wait_until

TABLE = ("create table t (id int primary key, v varchar(20))", "insert into t values (1, 'a')")
LOG = logging.getLogger("tests.change_log")


def change_log(pipe: Pipe) -> dict[str, Any]:
    return pipe.status()["change_log"]


def applied(pipe: Pipe) -> int:
    return int(pipe.rows(f"select next_offset from _cdc.log_offset where pipeline = '{pipe.name}'")[0][0])


def test_what_was_applied_is_trimmed(make_pipe: Callable[..., Pipe], stack: StackSettings) -> None:
    kafka = {"bootstrap_servers": stack.kafka_bootstrap}
    pipe, other = make_pipe(kafka=kafka | {"log_keep_hours": 0}, tables=["t"]), make_pipe(kafka=kafka, tables=["u"])
    pipe.run(*TABLE, "create table u (id int primary key)")
    for each in (pipe, other):
        each.configure()
        each.start()
    pipe.run(*[f"insert into t values ({n}, 'x')" for n in range(2, 60)])
    pipe.arrives("select count(*) from t", [(59,)])
    wait_until(lambda: change_log(pipe)["begin"] > 0, "the log to be trimmed", 90)
    facts = change_log(pipe)
    assert facts["begin"] <= applied(pipe)
    assert facts["records"] == facts["end"] - facts["begin"]
    whole = change_log(other)
    assert 20 * whole["records"] < whole["bytes_estimate"] < 5000 * whole["records"]
    assert change_log(other)["begin"] == 0, "kept for a day"

    # A consumer that begins again, and a comparison at a barrier, need nothing of what is gone
    pipe.ok("restart")
    pipe.run("insert into t values (100, 'y')")
    pipe.arrives("select count(*) from t", [(60,)])
    pipe.equal()
    pipe.ok("stop")
    pipe.run("insert into t values (101, 'z')")
    pipe.start()
    pipe.arrives("select count(*) from t", [(61,)])
    pipe.equal()


def test_what_was_not_applied_is_kept(
    make_pipe: Callable[..., Pipe], stack: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However old it is. The reader that is behind finds all of it."""
    pipe = make_pipe(kafka={"bootstrap_servers": stack.kafka_bootstrap, "log_keep_hours": 0})
    pipe.run(*TABLE)
    pipe.configure()
    pipe.start()
    pipe.run("insert into t values (2, 'b')")
    pipe.arrives("select count(*) from t", [(2,)])
    consumer = pipe.consumer()
    consumer.suspend()
    pipe.run(*[f"insert into t values ({n}, 'x')" for n in range(3, 30)])
    before = change_log(pipe)["end"]
    wait_until(lambda: change_log(pipe)["end"] > max(before, applied(pipe) + 27), "the rows in the log")
    monkeypatch.setenv("CDC_HOME", str(pipe.home))
    with Runtime.open(pipe.name, ControlStore.open()) as rt:
        with rt.target("test") as (_, state):
            facts = state.load()
        assert facts is not None
        assert trim(rt.pipeline, rt.topics, facts) == applied(pipe), "trimmed up to the reader"
        assert trim(rt.pipeline, rt.topics, facts) is None
    consumer.resume()
    pipe.arrives("select count(*) from t", [(29,)])
    pipe.equal()


def test_a_row_too_large_for_the_log_is_not_lost(make_pipe: Callable[..., Pipe], stack: StackSettings) -> None:
    """Once the limit is raised it arrives, in its place, and so does what came after it."""
    kafka = {"bootstrap_servers": stack.kafka_bootstrap}
    pipe = make_pipe(kafka=kafka | {"max_message_bytes": 1024 * 1024})
    pipe.run("create table t (id int primary key, b mediumblob)", "insert into t values (1, 'a')")
    pipe.configure()
    pipe.start()
    pipe.run(
        "begin", "insert into t values (2, 'b')", "insert into t values (3, repeat('x', 2000000))", "commit",
        "insert into t values (4, 'd')", "update t set b = 'after' where id = 1",
    )
    told = wait_until(
        lambda: next((s for s in [pipe.status()] if s["connector"]["tasks"][0]["state"] == "FAILED"), None),
        "the connector to fail",
    )
    assert told["overall"] == "failed"
    assert "kafka.max_message_bytes" in told["connector"]["message"]
    assert pipe.rows("select count(*) from t") == [(1,)], "nothing behind it was applied"
    edit(pipe.file, kafka=kafka | {"max_message_bytes": 8 * 1024 * 1024})
    pipe.configure()
    pipe.start()
    pipe.arrives("select id, length(b) from t order by id", [(1, 5), (2, 1), (3, 2000000), (4, 1)], 90)
    assert pipe.status()["overall"] == "healthy", pipe.status()
    pipe.equal()
