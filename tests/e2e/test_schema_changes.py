"""Schema changes while the stream runs: one pipeline, many tables, rows before, between and behind them."""

from collections.abc import Callable

import pytest
import requests

from cdc_pipelines.stack.settings import StackSettings
from tests.ddl_corpus import cases
from tests.e2e.conftest import Pipe, edit, wait_until
from tests.e2e.pipeline_parts import kinds, stops
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

    So does one that was replaced, of which the connector holds the old columns and fails at the first row; one whose
    texts it takes for another character set, because it missed the change of the database's; and one that lost the
    index that was its key, of which the connector does not tell.
    """
    pipe = shared
    pipe.run(
        "create table t (id int primary key, v varchar(9)) partition by range (id) "
        "(partition low values less than (10), partition high values less than maxvalue)",
        "create table u (id int primary key)", "create table replaced (id int primary key, v varchar(9))",
        "create table uniquely (n int not null, v varchar(9), unique ux (n))", "insert into uniquely values (1, 'a')",
        "insert into t values (1, 'a'), (2, 'b'), (20, 'c')", "insert into replaced values (1, 'a')",
    )
    pipe.configure()
    pipe.start()
    pipe.run(
        "insert into t values (3, 'before')", "alter table t truncate partition low",
        "insert into t values (30, 'behind')", "alter database character set latin1 comment 'unheard'",
        "create table made (id int primary key, v varchar(9))", "insert into made values (1, 'é')",
        "drop index UX on uniquely", "insert into uniquely values (1, 'a twin')", "insert into u values (1)",
    )  # fmt: skip
    pipe.arrives("select id from u", [(1,)])
    problems = wait_until(lambda: pipe.status()["problems"], "the tables to stand apart")
    assert {(each["kind"], each["message"].split(" stands")[0]) for each in problems} == {
        ("table_changed", "table t"), ("table_changed", "table made"), ("table_changed", "table uniquely")
    }
    assert pipe.rows("select n, v from uniquely") == [(1, "a")]
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
    assert pipe.rows("select n, v from uniquely order by v") == [(1, "a"), (1, "a twin")]
    assert pipe.rows("select id from u order by id") == [(1,), (2,)]
    assert pipe.status()["problems"] == []


def test_the_file_has_it_drop_on_the_target_and_stop_right_before_a_change(make_pipe: Callable[..., Pipe]) -> None:
    policies = {"drop_column": "apply", "drop_table": "apply", "add_column": "stop"}
    pipe = make_pipe(schema_changes=policies)
    pipe.run(
        "create table t (id int primary key, v varchar(9), old int)", "insert into t values (1, 'a', 1)",
        "create table u (id int primary key)", "create table gone (id int primary key)",
    )
    pipe.configure()
    pipe.start()
    pipe.run("alter table t drop column old", "insert into t values (2, 'b')", "drop table gone",
             "insert into u values (1)")
    pipe.arrives("select id from u", [(1,)])
    assert pipe.rows("select * from t order by id") == [(1, "a"), (2, "b")]
    assert pipe.rows("select to_regclass('public.gone')") == [(None,)]
    pipe.equal()

    change = "alter table t add column w int not null default 5"
    pipe.run("begin", "insert into u values (2)", "insert into t values (3, 'c')", "commit", change,
             "insert into t values (4, 'd', 7)", "insert into u values (3)")
    told = stops(pipe, "table t gained w", change)
    assert told["config"]["status"] == "failed"
    assert kinds(told) == {"needs_person"}
    for words in ("nothing after this change was applied", "`cdc configure FILE`", f"`cdc start {pipe.name}`"):
        assert words in told["config"]["message"]
    assert (told["schema_changes"][0]["done"], told["schema_changes"][0]["statement"]) == ("stopped", change)
    assert pipe.rows("select * from t order by id") == [(1, "a"), (2, "b"), (3, "c")]
    assert pipe.rows("select id from u order by id") == [(1,), (2,)]

    edit(pipe.file, schema_changes=policies | {"add_column": "apply"})
    pipe.configure()
    pipe.start()
    pipe.arrives("select id, w from t order by id", [(1, 5), (2, 5), (3, 5), (4, 7)])
    pipe.arrives("select count(*) from u", [(3,)])
    pipe.equal()
    assert pipe.status()["problems"] == []
