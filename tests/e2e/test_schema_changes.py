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
    # One that goes, and one that gets another name, right before the sides are compared.
    pipe.run("rename table add_first to renamed_just_now", "drop table add_last")
    tables = sorted({*tables, "renamed_just_now"} - {"add_first", "add_last"})
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


@pytest.mark.parametrize("shared", ["mariadb"], indirect=True)
def test_what_can_not_be_followed_is_copied_again_by_itself(shared: Pipe) -> None:
    """The table stands apart as it was before the change; the others go on; healing copies it and joins it.

    So does one that was replaced, of which the connector holds the old columns and fails at the first row; and one
    whose texts it takes for another character set, because it missed the change of the database's.
    """
    pipe = shared
    pipe.run(
        "create table t (id int primary key, v varchar(9)) partition by range (id) "
        "(partition low values less than (10), partition high values less than maxvalue)",
        "create table u (id int primary key)", "create table replaced (id int primary key, v varchar(9))",
        "insert into t values (1, 'a'), (2, 'b'), (20, 'c')", "insert into replaced values (1, 'a')",
    )
    pipe.configure()
    pipe.start()
    pipe.run(
        "insert into t values (3, 'before')", "alter table t truncate partition low",
        "insert into t values (30, 'behind')", "alter database character set latin1 comment 'unheard'",
        "create table made (id int primary key, v varchar(9))", "insert into made values (1, 'é')",
        "insert into u values (1)",
    )  # fmt: skip
    pipe.arrives("select id from u", [(1,)])
    problems = wait_until(lambda: pipe.status()["problems"], "the tables to stand apart")
    assert {(each["kind"], each["message"].split(" stands")[0]) for each in problems} == {
        ("table_changed", "table t"), ("table_changed", "table made")
    }
    assert pipe.rows("select id from t order by id") == [(1,), (2,), (3,), (20,)]
    pipe.run("create or replace table replaced (id int primary key, x int, y varchar(5))",
             "insert into replaced values (5, 6, 'w')", "insert into u values (2)")
    wait_until(lambda: pipe.status()["overall"] == "failed", "the connector to meet the row")
    wait_until(lambda: pipe.cdc("heal", pipe.name).code == 0, "all that to be mended", 180)
    pipe.run("update t set v = 'followed' where id = 30", "update replaced set y = 'ö'",
             "insert into made values (2, 'ü')")
    pipe.arrives("select v from t where id = 30", [("followed",)])
    pipe.equal()
    assert pipe.rows("select id, x, y from replaced") == [(5, 6, "ö")]
    assert pipe.rows("select v from made order by id") == [("é",), ("ü",)]
    assert pipe.rows("select id from u order by id") == [(1,), (2,)]
    assert pipe.status()["problems"] == []
