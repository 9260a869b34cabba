"""Every kind of change arrives, in whole transactions, after a copy that writers were at work under."""

import time
from collections.abc import Callable

import pymysql

from tests.e2e.conftest import Pipe, wait_until
from tests.e2e.writing import writing

SCHEMA = (
    "create table account (id bigint unsigned primary key, owner varchar(40), balance decimal(12,2) not null)",
    "create table entry (account bigint unsigned, line int, note text, at datetime(6), primary key (account, line))",
    "create table visit (page varchar(20), at timestamp(3) null, weight double)",
)


def test_the_whole_way_with_writers_at_work_while_the_copy_runs(make_pipe: Callable[..., Pipe]) -> None:
    pipe = make_pipe(copy={"chunk_mb": 1, "workers": 2})
    pipe.run(*SCHEMA)
    pipe.run(
        "set session cte_max_recursion_depth = 1000000",
        "insert into account with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000) "
        "select i, concat('owner ', i, repeat('x', 20)), i / 100 from n",
        "insert into entry select id % 500, id, concat('a\\tb\\n', id), now(6) from account where id <= 20000",
        "insert into visit select concat('p', id % 50), now(3), id / 7 from account where id <= 5000",
    )
    with writing(pipe, _transfer) as written:
        wait_until(lambda: written[0] > 60, "the writer to be at work")
        pipe.configure()
        outcome = pipe.start()
        assert outcome["tables"]["account"] > 50000
        during = written[0]
        report = pipe.equal()  # exact under load
        assert {t["table"] for t in report["tables"]} == {"account", "entry", "visit"}
        wait_until(lambda: written[0] > during + 80, "more writes")
    pipe.equal()
    total = pipe.source_rows("select sum(balance), count(*) from account")
    assert pipe.rows("select sum(balance), count(*) from account") == total
    counted = pipe.source_rows("select count(*), count(distinct weight) from visit")
    assert pipe.rows("select count(*), count(distinct weight) from visit") == counted


def _transfer(cursor: pymysql.cursors.Cursor, step: int) -> None:
    a, b = 1 + step * 7 % 60000, 1 + step * 13 % 60000
    cursor.execute("update account set balance = balance - 1 where id = %s", (a,))
    cursor.execute("update account set balance = balance + 1 where id = %s", (b,))
    cursor.execute("insert into visit values (%s, now(3), %s)", (f"p{step % 9}", step))
    if step % 5 == 0:
        cursor.execute("delete from entry where account = %s limit 3", (step % 500,))
        cursor.execute("update account set id = id + 1000000 where id = %s", (1 + step * 17 % 60000,))


def test_each_kind_of_change(pipe: Pipe) -> None:
    pipe.run(*SCHEMA, "insert into account values (1, 'ann', 10), (2, null, 20), (3, '', 30)")
    pipe.run("insert into visit values ('same', null, 1), ('same', null, 1), ('other', null, null)")
    pipe.configure()
    assert pipe.start()["tables"] == {"account": 3, "entry": 0, "visit": 3}

    pipe.run("insert into account values (18446744073709551615, 'tab\\tnew\\nback\\\\slash 🙂', -0.01)")
    pipe.arrives(
        "select owner, balance::text from account where id = 18446744073709551615",
        [("tab\tnew\nback\\slash 🙂", "-0.01")],
    )

    pipe.run("update account set owner = null, balance = 11 where id = 1", "delete from account where id = 2")
    pipe.arrives(
        "select id::int, owner, balance::int from account where id < 10 order by 1", [(1, None, 11), (3, "", 30)]
    )

    pipe.run("update account set id = 4 where id = 3", "update account set id = id + 100 where id in (1, 4)")
    pipe.arrives("select id::int from account where id < 1000 order by 1", [(101,), (104,)])

    pipe.run(
        "insert into visit values ('new', '2024-02-29 12:00:00.123', 0.1)",
        "delete from visit where page = 'same' limit 1",
        "update visit set weight = 2 where page = 'other'",
    )
    pipe.arrives(
        "select page, weight, at::text from visit order by page",
        [("new", 0.1, "2024-02-29 12:00:00.123+00"), ("other", 2.0, None), ("same", 1.0, None)],
    )

    pipe.run("truncate visit", "insert into visit values ('after', null, 5)")
    pipe.arrives("select page from visit", [("after",)])

    pipe.run(
        "begin",
        "insert into entry values (7, 1, 'a', now(6))",
        "update account set balance = 99",
        "insert into visit values ('tx', null, 6)",
        "commit",
    )
    pipe.arrives(
        "select (select count(*) from entry), (select min(balance)::int from account), count(*) from visit",
        [(1, 99, 2)],
    )

    pipe.run("begin", "delete from account", "rollback", "insert into entry values (7, 2, 'b', null)")
    pipe.arrives("select count(*) from entry", [(2,)])
    assert pipe.rows("select count(*) from account") == [(3,)]
    pipe.equal()
    status = pipe.status()
    assert status["overall"] == "healthy"
    applied = {t["table"]: t for t in status["tables"]}
    assert applied["visit"]["truncates"] == 1
    assert applied["account"]["deletes"] >= 1


def test_a_consumer_that_waits_for_a_lock_is_seen_to_lag(pipe: Pipe) -> None:
    """It beats, and its process is well; but nothing is applied."""
    pipe.run("create table t (id int primary key)")
    pipe.configure()
    pipe.start()
    pipe.run("insert into t values (0)")
    pipe.arrives("select id from t", [(0,)])
    with pipe.target.transaction():
        pipe.target.execute("lock table t in access exclusive mode")
        pipe.run("insert into t values (1)")
        # Messages are counted at the next beat.
        lag = wait_until(lambda: (lag := pipe.status()["lag"])["messages"] and lag, "the lag")
        assert lag["seconds"] > 0
        assert pipe.status()["lag"]["seconds"] > lag["seconds"]
    pipe.arrives("select id from t order by id", [(0,), (1,)])
    wait_until(lambda: pipe.status()["lag"]["seconds"] == 0, "the lag to end")


def test_an_added_column_is_added_in_its_place_and_another_change_leaves_the_table(pipe: Pipe) -> None:
    pipe.run("create table t (id int primary key, v varchar(10))", "insert into t values (1, 'a')")
    pipe.configure()
    pipe.start()
    pipe.run(
        "insert into t values (2, 'b')",
        "alter table t add column w int not null default 5 after id, add column e enum('x','y')",
        "insert into t values (3, 7, 'c', 'y')",
        "update t set v = 'B' where id = 2",
    )
    pipe.arrives("select id, w, v, e from t order by id", [(1, 5, "a", None), (2, 5, "B", None), (3, 7, "c", "y")])
    pipe.equal()

    # what the stream followed needs neither a new configuration nor a new copy
    copied = pipe.rows("select max(copied_at) from _cdc.chunk")
    pipe.ok("stop")
    pipe.run("alter table t add column x int", "update t set x = 8 where id = 3")
    pipe.start()
    pipe.arrives("select x from t where id = 3", [(8,)])
    assert not pipe.configure().json["needs_resync"]
    pipe.start()
    assert pipe.rows("select max(copied_at) from _cdc.chunk") == copied
    pipe.run("update t set x = null")
    pipe.arrives("select x from t where id = 3", [(None,)])

    pipe.run(
        "insert into t values (4, 1, 'd', null, null)",
        "set sql_mode = ''",
        "alter table t modify v tinyint",
        "insert into t values (5, 1, 6, null, null)",
    )
    status = wait_until(lambda: (s := pipe.status())["problems"] and s, "the table to stand apart")
    [problem] = status["problems"]
    assert "table t has v as tinyint, where it was varchar(10)" in problem["message"]
    assert "cdc resync" in problem["next_step"]
    assert pipe.rows("select id from t order by id") == [(1,), (2,), (3,), (4,)]
    stopped, *followed = pipe.ok("schema-changes", "--json").json
    assert (stopped["kind"], stopped["done"]) == ("change_column", "detached")
    assert {each["done"] for each in followed} == {"applied"}
    assert status["schema_changes"][0] == stopped
    pipe.configure()
    pipe.start("--force-resync")
    pipe.arrives("select id from t order by id", [(1,), (2,), (3,), (4,), (5,)])
    pipe.equal()


def test_a_transaction_of_a_million_rows_in_bounded_memory(pipe: Pipe) -> None:
    pipe.run("create table big (id int primary key, pad char(60) not null)", "create table other (id int primary key)")
    pipe.configure()
    pipe.start()
    consumer = pipe.consumer()
    peak = 0
    pipe.run(
        "set session cte_max_recursion_depth = 2000000",
        "insert into big with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000) "
        "select i, 'some words that are not forty characters long' from n",
        "insert into other values (1)",
    )
    deadline = time.monotonic() + 240
    while pipe.rows("select count(*) from other") != [(1,)]:
        peak = max(peak, consumer.memory_info().rss)
        # Each look reads all that is there and not yet visible.
        seen = pipe.rows("select count(*) from (select 1 from big limit 1) x")
        assert seen == [(0,)] or pipe.rows("select count(*) from big") == [(1_000_000,)], "a part of it was visible"
        assert time.monotonic() < deadline, pipe.log_tail()
        time.sleep(1)
    assert pipe.rows("select count(*) from big") == [(1_000_000,)]
    assert peak < 600 * 2**20, f"consumer's peak memory: {peak >> 20} MiB"
    pipe.run("update big set id = -id where id <= 1000")
    pipe.equal()
