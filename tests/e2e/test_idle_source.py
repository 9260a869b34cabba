"""A source that nobody writes to any more: whatever came last, nothing is behind and no comparison waits."""

import pytest

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.pipeline_file import load_pipeline
from tests.e2e.conftest import Pipe, wait_until

_LAST = (
    "insert into t values (1)",
    "create view v as select * from t",
    "create procedure p() select * from t",
    "alter table t add column w int",
    "drop temporary table if exists own",
    "begin; savepoint s; insert into t values (7, 7); rollback to s; commit",
    "create table u (id int primary key)",
    "alter database default character set utf8mb4",
    "alter table t order by id",
    "truncate table t",
)


@pytest.mark.parametrize("shared", ["mariadb"], indirect=True)
def test_nothing_is_waited_for(shared: Pipe) -> None:
    """The connector tells nothing of some of these, and its place stays before them, on MariaDB for ever.

    Where others write to the server it moves on with them: this can fail only where it runs alone.
    """
    pipe = shared
    pipe.run("create table t (id int primary key)")
    pipe.configure()
    pipe.start()
    history = MySqlSource(load_pipeline(pipe.file).source)
    for statement in _LAST:
        pipe.run(*statement.split("; "))
        pipe.equal(timeout=120)
        wait_until(lambda: pipe.status()["lag"]["messages"] == 0, f"nothing to apply behind: {statement}")
        # Now and then, and at each start, it is looked whether the source's log is still the one that was applied.
        history.require_reachable(MySqlPosition.from_json(pipe.status()["position"]["applied"]))
    pipe.run("drop procedure p")
    pipe.ok("resync", "--table", "t")
    pipe.equal(timeout=120)
    history.close()
