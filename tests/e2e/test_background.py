"""The background's verification: in slices, under load, no false alarm, and what differs is told."""

import logging
import threading
from collections.abc import Callable

import pytest

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.databases.postgres.verified import walks
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.verify import background
from tests.e2e.conftest import Pipe, wait_until
from tests.e2e.writing import change_all, writing

SCHEMA = (
    "create table account (id bigint unsigned primary key, note varchar(40), balance int not null, at datetime(6))",
    "create table line (a smallint, b int, note text, primary key (a, b))",
    "create table word (w varchar(30) primary key, n int)",
    "create table visit (page varchar(20), n int)",
    "set session cte_max_recursion_depth = 1000000",
    "insert into account with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000) "
    "select i + 1000000, concat('note ', i), 100, '2024-05-05 05:05:05.123456' from n",
    "insert into account select i, 'first', 100, null from (with recursive n(i) as (select 1 union all select i + 1 "
    "from n where i < 900) select i from n) numbers",
    "insert into line select id % 7, id, note from account where id <= 900",
    "insert into word select concat('Wort ', id), id from account where id <= 900",
)


def test_a_table_is_walked_in_slices_while_writers_are_at_work(
    make_pipe: Callable[..., Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = make_pipe()
    pipe.run(*SCHEMA)
    pipe.configure()
    pipe.start()
    monkeypatch.setattr(background, "SLICE_S", 0.2)
    monkeypatch.setenv("CDC_HOME", str(pipe.home))
    thread = background.Background(lambda: rt, logging.getLogger("test"), threading.Event())
    slices, seen = 0, set()
    with Runtime.open(pipe.name, ControlStore.open()) as rt, writing(pipe, change_all) as written:
        wait_until(lambda: written[0] > 20, "the writer to be at work")
        while thread.slice(rt) is not None:
            slices += 1
            seen |= {(table, walk.next_key) for table, walk in walks(pipe.target, pipe.name).items()}
            assert slices < 100
    tables = {t["table"]: t["verified"] for t in pipe.status()["tables"]}
    assert set(tables) == {"account", "line", "word", "visit"}
    assert all(v["differences"] == 0 and v["by"] == "background" for v in tables.values()), tables
    assert tables["account"]["rows"] >= 200_900
    assert len(seen) >= 3, "the large table was to be walked in several slices"
    assert {table for table, _ in seen} == {"account"}
    assert walks(pipe.target, pipe.name) == {}


def test_the_consumers_process_does_it_by_itself_and_tells(make_pipe: Callable[..., Pipe]) -> None:
    pipe = make_pipe(verify={"round_hours": 0.0001})
    pipe.run("create table t (id int primary key, v int)", "insert into t values (1, 1), (2, 2), (3, 3)")
    pipe.configure()
    pipe.start()
    pipe.target.execute("update t set v = 22 where id = 2")

    def verified() -> dict:
        return pipe.status()["tables"][0]["verified"] or {}

    wait_until(lambda: verified().get("differences") == 1, "the difference to be found", 120)
    assert verified()["by"] == "background"
    assert "1 row(s) differ" in pipe.log_tail(), pipe.log_tail()
    assert f"cdc verify {pipe.name} --table t --repair" in pipe.log_tail()
    pipe.ok("verify", "--table", "t", "--repair")
    wait_until(lambda: verified().get("by") == "background" and verified()["differences"] == 0, "all to be well", 120)
