"""A source that nobody writes to any more: whatever came last, nothing is behind and no comparison waits."""

import time

from tests.e2e.conftest import Pipe, wait_until

_LAST = (
    "insert into t values (1)",
    "create view v as select * from t",
    "drop view v",
    "create trigger r before insert on t for each row set new.id = new.id",
    "analyze table t",
    "create procedure p() select * from t",
    "drop procedure p",
    "alter table t add column w int",
    "create index iw on t (w)",
    "create temporary table own as select * from t",
    "drop temporary table own",
    "begin; savepoint s; insert into t values (7, 7); rollback to s; commit",
    "create table u (id int primary key)",
    "drop table u",
    "truncate table t",
)


def test_nothing_is_waited_for(shared: Pipe) -> None:
    """The connector tells nothing of some of these, and its place stays before them."""
    pipe = shared
    pipe.run("create table t (id int primary key)")
    pipe.configure()
    pipe.start()
    waited = {}
    for statement in _LAST:
        pipe.run(*statement.split("; "))
        if statement == "drop table u":  # a comparison reads the tables that the pipeline has
            pipe.arrives("select count(*) from _cdc.mapped_table", [(1,)])
        began = time.monotonic()
        pipe.equal(timeout=60)
        waited[statement] = time.monotonic() - began
        wait_until(lambda: _lag(pipe) == (0, 0, 0), f"no lag behind: {statement}", 15)
    assert all(seconds < 20 for seconds in waited.values()), waited


def _lag(pipe: Pipe) -> tuple[float, int, int]:
    lag = pipe.status()["lag"]
    return lag["seconds"], lag["source_bytes"], lag["messages"]
