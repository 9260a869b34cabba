"""Schema changes while the stream runs: one pipeline, many tables, rows before, between and behind them."""

import pytest
import requests

from cdc_pipelines.stack.settings import StackSettings
from tests.ddl_corpus import cases
from tests.e2e.conftest import Pipe, wait_until
from tests.plain_compare import plain_compare


def flavor(pipe: Pipe) -> str:
    return "mariadb" if "mariadb" in pipe.source_rows("select lower(version())")[0][0] else "mysql"


def names(rows: list[tuple]) -> list[str]:
    return sorted(row[0] for row in rows)


def test_what_can_be_followed_ends_equal(shared: Pipe, stack: StackSettings) -> None:
    pipe, kind = shared, flavor(shared)
    corpus = list(cases(kind))
    for case in corpus:
        pipe.run(*case.before)
    pipe.configure()
    pipe.start()
    for case in corpus:
        pipe.run(*case.burst)
    tables = names(pipe.source_rows("select table_name from information_schema.tables where table_schema = database() "
                                    "and table_type = 'BASE TABLE'"))
    wait_until(lambda: pipe.status()["statistics"]["tables_enabled"] == len(tables), "the last new table")
    report = pipe.equal()
    assert names(pipe.rows("select table_name from _cdc.mapped_table")) == tables
    assert sorted(t["table"] for t in report["tables"]) == tables
    for table in tables:
        key = names(pipe.source_rows("select column_name from information_schema.key_column_usage where "
                                     f"table_schema = database() and table_name = '{table}' and "
                                     "constraint_name = 'PRIMARY'"))
        found = plain_compare(pipe.mysql, pipe.target, table, table, key)
        assert found.equal, (table, found)
    assert pipe.status()["overall"] == "healthy"

    # What the stream followed needs no new copy; and a connector that is made anew finds the tables as it left them.
    pipe.ok("stop")
    configured = pipe.configure().json
    assert not configured["needs_resync"]
    requests.delete(f"{stack.connect_url}/connectors/{configured['connector_name']}", timeout=60).raise_for_status()
    pipe.run("update rename_onto_dropped set a = 'behind'", "insert into made_2 (t) values ('behind')")
    pipe.start()
    pipe.equal()
    assert pipe.rows("select count(*) from made_2 where t = 'behind'") == [(1,)]


@pytest.mark.parametrize("shared", ["mysql"], indirect=True)
def test_what_can_not_be_followed_is_copied_again_by_itself(shared: Pipe) -> None:
    """The table stands apart as it was before the change; the others go on; healing copies it and joins it."""
    pipe = shared
    pipe.run(
        "create table t (id int primary key, v varchar(9)) partition by range (id) "
        "(partition low values less than (10), partition high values less than maxvalue)",
        "create table u (id int primary key)",
        "insert into t values (1, 'a'), (2, 'b'), (20, 'c')",
    )
    pipe.configure()
    pipe.start()
    pipe.run(
        "insert into t values (3, 'before')", "alter table t truncate partition low",
        "insert into t values (30, 'behind')", "insert into u values (1)",
    )  # fmt: skip
    pipe.arrives("select id from u", [(1,)])
    [problem] = wait_until(lambda: pipe.status()["problems"], "the table to stand apart")
    assert (problem["kind"], "table t" in problem["message"]) == ("table_changed", True)
    assert pipe.rows("select id from t order by id") == [(1,), (2,), (3,), (20,)]
    pipe.ok("heal", timeout=120)
    pipe.run("update t set v = 'followed' where id = 30")
    pipe.arrives("select v from t where id = 30", [("followed",)])
    pipe.equal()
    assert pipe.status()["problems"] == []
