"""Start, stop, restart, force-resync, teardown: each as often as one likes, in any order that makes sense."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
import yaml

from cdc_pipelines.stack.settings import StackSettings
from tests.e2e.conftest import Pipe, edit, wait_until

TABLE = ("create table t (id int primary key, v varchar(20))", "insert into t values (1, 'a'), (2, 'b')")


# Programs read these; others may join them, none may go or be called otherwise.
STATUS_NAMES: dict[str, set[str]] = {
    "": {"overall", "connector", "consumer", "config", "statistics", "timestamp"},
    "connector": {"state", "healthy", "tasks", "message"},
    "consumer": {"state", "healthy", "last_heartbeat", "heartbeat_recent", "message"},
    "config": {"status", "is_active", "connector_name", "kafka_topic_prefix"},
    "statistics": {"total_rows_synced", "tables_enabled", "last_sync_at"},
}


def has_its_names(status: dict[str, Any]) -> None:
    for part, names in STATUS_NAMES.items():
        there = status[part] if part else status
        assert names - there.keys() == set(), f"the status lacks names in {part or 'itself'}: {there}"
    assert status["overall"] in ("healthy", "degraded", "failed")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", status["timestamp"])
    for task in status["connector"]["tasks"]:
        assert {"id", "state"} <= task.keys()


def test_a_pipeline_s_life(pipe: Pipe, stack: StackSettings) -> None:
    pipe.run(*TABLE)
    saved = pipe.configure().json
    assert (saved["status"], saved["is_active"]) == ("configured", False)
    connector = f"{stack.connect_url}/connectors/{saved['connector_name']}"
    wait_until(lambda: requests.get(connector, timeout=10).status_code == 404, "no connector")  # a busy one says 500
    assert pipe.rows("select to_regclass('_cdc.pipeline')") == [(None,)], "configure wrote to the target"

    started = pipe.start()
    group = started["consumer"]["group"]
    assert group.startswith(f"cdc_consumer_1_{saved['id']}_")
    config = requests.get(f"{connector}/config", timeout=10).text
    assert stack.mysql.password not in config
    first = pipe.consumer()
    status = pipe.cdc("status", pipe.name, "--json").json
    has_its_names(status)
    assert len(status["connector"]["tasks"]) == 1
    assert status["statistics"]["total_rows_synced"] == 2

    # start while running changes nothing
    again = pipe.start()
    assert again["consumer"]["already_running"]
    assert again["generation"] == started["generation"]
    assert pipe.consumer().pid == first.pid

    # stop twice; what is written meanwhile is not lost
    assert pipe.ok("stop", "--json").json["consumer"] == "stopped", "it did not end by itself"
    pipe.ok("stop")
    wait_until(lambda: not pipe.processes("consume", pipe.name), "the process of the stopped consumer to be gone")
    assert requests.get(f"{connector}/status", timeout=10).json()["connector"]["state"] == "PAUSED"
    stopped = pipe.cdc("status", pipe.name, "--json").json
    has_its_names(stopped)
    assert stopped["config"]["status"] == "stopped"
    pipe.run("insert into t values (3, 'while stopped')")

    # start resumes: no copy
    copied = pipe.rows("select max(copied_at) from _cdc.chunk")
    resumed = pipe.start()
    assert resumed["generation"] == started["generation"]
    assert pipe.rows("select max(copied_at) from _cdc.chunk") == copied
    pipe.arrives("select id from t order by id", [(1,), (2,), (3,)])

    pipe.ok("restart")
    assert pipe.rows("select max(copied_at) from _cdc.chunk") == copied
    pipe.run("insert into t values (4, 'after restart')")
    pipe.arrives("select count(*) from t", [(4,)])

    # a forced resync is a new generation that ends at the same data
    forced = pipe.start("--force-resync")
    assert forced["generation"] > started["generation"]
    pipe.run("insert into t values (5, 'after resync')")
    pipe.arrives("select count(*) from t", [(5,)])
    pipe.equal()

    # teardown takes everything of ours away but the data
    pipe.ok("teardown", "--yes")
    pipe.ok("teardown", "--yes")
    wait_until(lambda: requests.get(connector, timeout=10).status_code == 404, "no connector")  # a busy one says 500
    assert pipe.rows("select count(*) from t") == [(5,)]
    assert pipe.rows("select count(*) from _cdc.pipeline") == [(0,)]
    assert pipe.cdc("status", pipe.name).code == 2

    # and it can begin anew
    pipe.configure()
    pipe.start()
    pipe.run("insert into t values (6, 'new life')")
    pipe.arrives("select count(*) from t", [(6,)])
    pipe.equal()
    pipe.ok("teardown", "--yes", "--drop-tables")
    assert pipe.rows("select to_regclass('public.t')") == [(None,)]


def begin(pipe: Pipe) -> None:
    pipe.run(*TABLE)
    pipe.configure()
    pipe.start()


@pytest.fixture
def running(keep_pipe: Callable[..., Pipe]) -> Pipe:
    """At work, with two rows on both sides."""
    pipe = keep_pipe(begin)
    pipe.run("begin", "delete from t", "insert into t values (1, 'a'), (2, 'b')", "commit")
    pipe.arrives("select id, v from t order by id", [(1, "a"), (2, "b")])
    return pipe


def test_a_connector_deleted_behind_our_back_is_made_again_without_a_gap(running: Pipe, stack: StackSettings) -> None:
    pipe = running
    connector = f"{stack.connect_url}/connectors/{pipe.status()['config']['connector_name']}"
    requests.delete(connector, timeout=10).raise_for_status()
    pipe.run("insert into t values (3, 'unseen')", "update t set v = 'unseen' where id = 1")
    wait_until(lambda: pipe.status()["connector"]["state"] == "MISSING", "the status to tell")
    assert pipe.status()["overall"] == "failed"
    pipe.start()
    pipe.arrives("select v from t order by id", [("unseen",), ("b",), ("unseen",)])
    pipe.equal()
    assert pipe.rows("select count(*) from t") == [(3,)]


def test_a_start_that_can_t_work_says_everything_at_once_and_writes_nothing(
    make_pipe: Callable[..., Pipe], stack: StackSettings
) -> None:
    pipe = make_pipe(connect={"url": "http://127.0.0.1:9"})
    pipe.run(*TABLE)
    pipe.configure()
    edit(pipe.file, kafka={"bootstrap_servers": "127.0.0.1:9"})
    pipe.configure()
    done = pipe.cdc("start", pipe.name)
    assert done.code == 2
    assert "127.0.0.1:9" in done.stderr
    assert "kafka connect" in done.stderr
    assert "kafka:" in done.stderr
    assert pipe.rows("select to_regclass('_cdc.pipeline'), to_regclass('public.t')") == [(None, None)]
    edit(pipe.file, connect={"url": stack.connect_url}, kafka={"bootstrap_servers": stack.kafka_bootstrap})
    pipe.configure()


def plan_of_an_edit(pipe: Pipe) -> None:
    """What an edited file would change is told, and nothing of it is saved."""
    kept = pipe.file.read_text()
    edit(pipe.file, health={"lag_seconds": 60},
         tables=[{"source": "wide", "target": "narrow", "columns": ["id"]}, {"source": "other"}])
    plan = pipe.cdc("configure", pipe.file, "--plan", "--json").json
    assert plan["changes"] == [
        "health.lag_seconds: 300 → 60 (at once)", "table other is new (at the next start, beside the stream)",
        "table wide has other columns or another key (at the next start, beside the stream)",
    ]  # fmt: skip
    assert (plan["needs_resync"], plan["saved"], plan["status"]) == (False, False, "running")
    pipe.file.write_text(kept)
    document = yaml.safe_load(kept)
    edit(pipe.file, target=document["target"] | {"schema": "elsewhere"})
    plan = pipe.cdc("configure", pipe.file, "--plan", "--json").json
    assert plan["changes"][0] == "target.schema: public → elsewhere (with a resync)", plan
    assert plan["needs_resync"] is True
    pipe.file.write_text(kept)
    assert pipe.cdc("configure", pipe.file, "--plan", "--json").json["changes"] == []


def test_tables_chosen_renamed_and_cut_to_columns(make_pipe: Callable[..., Pipe]) -> None:
    pipe = make_pipe(
        tables=[{"source": "wide", "target": "narrow", "columns": ["id", "keep"], "rename": {"keep": "kept"}}]
    )
    pipe.run(
        "create table wide (id int primary key, secret varchar(9), keep int)",
        "create table other (id int)",
        "insert into wide values (1, 's', 10)",
    )
    new = pipe.cdc("configure", pipe.file, "--plan", "--json").json
    assert (new["created"], new["saved"], new["status"]) == (True, False, "not configured")
    assert pipe.cdc("status", pipe.name).code == 2, "a plan saves nothing"
    pipe.configure()
    pipe.start()
    plan_of_an_edit(pipe)
    pipe.run("insert into wide values (2, 's', 20)", "update wide set secret = 'x', keep = 11 where id = 1")
    pipe.arrives("select id, kept from narrow order by id", [(1, 11), (2, 20)])
    pipe.run("alter table wide add column more int", "insert into wide values (3, 's', 30, 1)")
    pipe.arrives("select id, kept from narrow order by id", [(1, 11), (2, 20), (3, 30)])
    assert pipe.rows("select to_regclass('public.other')") == [(None,)]
    pipe.equal()


def test_an_idle_source_whose_last_statement_was_not_ours_can_be_compared(
    running: Pipe, unique: Callable[[str], str]
) -> None:
    """DDL of another database is in the source's position and never in the change log."""
    pipe = running
    pipe.run("insert into t values (3, 'c')")
    pipe.arrives("select count(*) from t", [(3,)])
    other = unique("other")
    pipe.run(f"create database {other}")
    try:
        told = pipe.ok("verify", timeout=120).stderr
        held = re.search(r"the consumer was held for ([0-9.]+) s", told)
        assert held, told
        assert float(held[1]) < 20, "the source's heartbeat was waited for"
        assert pipe.status()["lag"]["seconds"] < 5, "others may be writing on this server"
    finally:
        pipe.run(f"drop database {other}")


def test_a_pipeline_goes_on_without_its_old_control_store(running: Pipe) -> None:
    """The target knows what it holds, and the file says the rest."""
    pipe = running
    before = pipe.rows("select generation, log_topic from _cdc.pipeline")
    for file in pipe.home.glob("control.db*"):
        file.unlink()
    wait_until(lambda: not pipe.processes("agent") and not pipe.processes("consume"), "agent and consumer to end")
    pipe.run("insert into t values (3, 2)")
    pipe.configure()
    pipe.start()
    pipe.run("update t set v = 3 where id = 1")
    pipe.arrives("select id, v from t order by id", [(1, "3"), (2, "b"), (3, "2")])
    assert pipe.rows("select generation, log_topic from _cdc.pipeline") == before  # nothing was copied again
    pipe.equal()


def test_two_pipelines_side_by_side(make_pipe: Callable[..., Pipe]) -> None:
    one = make_pipe(tables=["a"])
    two = make_pipe(tables=["b"])
    one.run("create table a (id int primary key)", "create table b (id int primary key)")
    for pipe in (one, two):
        pipe.configure()
        pipe.start()
    one.run("begin", "insert into a values (1)", "insert into b values (2)", "commit")
    one.arrives("select id from a", [(1,)])
    two.arrives("select id from b", [(2,)])
    one.ok("stop")
    one.run("insert into a values (3)", "insert into b values (4)")
    two.arrives("select id from b order by id", [(2,), (4,)])
    assert one.rows("select id from a") == [(1,)]
    one.start()
    one.arrives("select id from a order by id", [(1,), (3,)])
    for pipe in (one, two):
        pipe.equal()
    clash = make_pipe(tables=["a"])
    clash.configure()
    refused = clash.cdc("start", clash.name)
    assert refused.code == 2
    assert one.name in refused.stderr
