"""Tables on a real PostgreSQL: made, judged, altered, emptied."""

import psycopg
import pytest

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable, Table
from cdc_pipelines.replication.databases.postgres import ddl, existing
from cdc_pipelines.replication.databases.postgres.load import copy_rows
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError, UnsupportedChangeError
from tests.integration.target_stage import ID, USERS, column, conn, mapped, open_, scalar, spec

__all__ = ["conn", "open_", "spec"]  # fixtures

EVERY_TYPE = mapped(
    "every",
    ID,
    *(
        column(f"c{n}", full, **facts)
        for n, (full, facts) in enumerate([
            ("tinyint(1)", {}), ("tinyint", {}), ("int unsigned", {}), ("bigint", {}), ("bigint unsigned", {}),
            ("decimal(10,2)", {"precision": 10, "scale": 2}), ("decimal(38,0)", {"precision": 38, "scale": 0}),
            ("float", {}), ("double", {}), ("char(3)", {"length": 3}), ("varchar(255)", {"length": 255}),
            ("text", {}), ("enum('a')", {"labels": ("a",)}), ("json", {}), ("varbinary(9)", {"length": 9}),
            ("bit(1)", {"length": 1}), ("bit(10)", {"length": 10}), ("year", {}), ("date", {}),
            ("datetime", {}), ("datetime(6)", {"fraction": 6}), ("timestamp(3)", {"fraction": 3}),
            ("time", {}), ("time(6)", {"fraction": 6}), ("uuid", {}),
        ])
    ),
)


def test_a_table_of_every_type_that_we_made_fits_itself(conn: psycopg.Connection) -> None:
    assert ddl.create_table(conn, EVERY_TYPE)
    assert not ddl.create_table(conn, EVERY_TYPE)
    assert existing.misfits(conn, EVERY_TYPE) == []
    found = existing.find(conn, "public", "every")
    assert found is not None
    assert found.keys == (("id",),)


def test_names_with_quotes_capitals_and_emoji_are_just_names(conn: psycopg.Connection) -> None:
    odd = MappedTable(
        Table("shop", 'We"ird', (ID,), ("id",)), 'Sch"ema; --', 'Ta"ble 💥', (MappedColumn(ID, 'I"d %s {}', "integer"),)
    )
    assert ddl.create_table(conn, odd)
    assert existing.misfits(conn, odd) == []
    assert copy_rows(conn, odd, [[(b"1",), (b"2",)]]) == (2, 4)
    assert ddl.delete_range(conn, odd, (2,), None) == 1
    ddl.add_column(conn, odd, MappedColumn(column("x", "int"), 'X"', "integer"), "7")
    assert scalar(conn, 'select "X""" from "Sch""ema; --"."Ta""ble 💥"') == 7
    ddl.truncate(conn, odd)
    assert existing.is_empty(conn, odd)
    assert ddl.drop_table(conn, odd)
    assert not ddl.drop_table(conn, odd)


def test_not_null_is_as_on_the_source_but_for_dates(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, mapped("t", ID, column("n", "int", nullable=False), column("d", "date", nullable=False)))
    assert copy_rows(conn, mapped("t", ID, column("n", "int"), column("d", "date")), [[(b"1", b"1", None)]])[0] == 1
    with pytest.raises(ConfigurationError, match='"n"'):
        copy_rows(conn, mapped("t", ID, column("n", "int")), [[(b"2", None)]])


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("create table users (id int primary key, name varchar(10))", None),
        ("create table users (id int unique, name varchar(10), extra text)", None),
        ("create table users (id int generated always as identity primary key, name varchar(10))", None),
        ("create table users (id int primary key)", "lacks column name varchar(10)"),
        ("create table users (id bigint primary key, name varchar(10))", "column id is bigint, not integer"),
        ("create table users (id int primary key, name varchar(9))", "is character varying(9)"),
        ("create table users (id int, name varchar(10))", "lacks a primary key or unique index on (id)"),
        ("create table users (id int, name varchar(10), unique (id, name))", "lacks a primary key"),
        ("create table users (id int primary key, name varchar(10) not null)", "column name is NOT NULL"),
        ("create table users (id int primary key, name varchar(10), extra text not null)", "column extra is not repl"),
        ("create table users (id int primary key, name varchar(10) generated always as ('x') stored)", "is generated"),
        ("create view users as select 1 as id", "is a view, not a table"),
        ("create table users (id int primary key, name varchar(10)); insert into users values (1)", "holds rows"),
        ("create table users (id int, name varchar(10)); create unique index on users (id) where id > 0", "lacks a pr"),
    ],
)
def test_an_existing_table_is_judged(conn: psycopg.Connection, statement: str, problem: str | None) -> None:
    conn.execute(statement)
    problems = existing.misfits(conn, USERS)
    assert len(problems) == (problem is not None)
    assert problem is None or problem in problems[0]


def test_rows_of_our_own_are_no_obstacle(conn: psycopg.Connection) -> None:
    TargetState(conn, "shop").new_generation(1, "a", [USERS])
    ddl.create_table(conn, USERS)
    conn.execute("insert into users values (1, 'x')")
    assert existing.misfits(conn, USERS, pipeline="shop") == []
    assert existing.misfits(conn, USERS, pipeline="other") != []


def test_an_added_column_fills_the_rows_that_are_there_and_keeps_no_default(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.execute("insert into users values (1, 'x')")
    file_before = scalar(conn, "select pg_relation_filenode('users')")
    ddl.add_column(conn, USERS, MappedColumn(column("a", "int", nullable=False), "a", "integer"), "42")
    ddl.add_column(conn, USERS, MappedColumn(column("b", "text"), "b", "text"), None)
    ddl.add_column(conn, USERS, MappedColumn(column("c", "text"), "c", "text"), "it's; \\ %s")
    assert conn.execute("select * from users").fetchall() == [(1, "x", 42, None, "it's; \\ %s")]
    assert scalar(conn, "select pg_relation_filenode('users')") == file_before  # not rewritten
    conn.execute("insert into users (id, a) values (2, 1)")
    assert conn.execute("select b, c from users where id = 2").fetchall() == [(None, None)]
    with pytest.raises(psycopg.errors.NotNullViolation), conn.transaction():
        conn.execute("insert into users (id) values (3)")


def test_an_added_column_that_is_there_already(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.execute("insert into users values (1, 'x')")
    conn.execute("alter table users add a int, add b text")
    ddl.add_column(conn, USERS, MappedColumn(column("a", "int"), "a", "integer"), "42")
    assert conn.execute("select a from users").fetchall() == [(42,)]
    with pytest.raises(UnsupportedChangeError, match="column b text already"):
        ddl.add_column(conn, USERS, MappedColumn(column("b", "int"), "b", "integer"), None)


def test_a_range_is_deleted_by_the_index_also_in_a_table_without_statistics(conn: psycopg.Connection) -> None:
    pair = mapped("pair", column("a", "int", nullable=False), column("b", "bigint unsigned", nullable=False),
                  key=("a", "b"))
    ddl.create_table(conn, pair)
    conn.execute("insert into pair select a, b from generate_series(1, 200) a, generate_series(1, 200) b")
    conn.commit()
    assert ddl.delete_range(conn, pair, (10, 50), (11, 20)) == 151 + 19
    assert ddl.delete_range(conn, pair, (10, 50), (11, 20)) == 0
    assert ddl.delete_range(conn, pair, None, (2, 2**64 - 1)) == 400
    assert ddl.delete_range(conn, pair, (200, 200), None) == 1
    assert scalar(conn, "show enable_seqscan") == "on"
    assert ddl.delete_range(conn, pair, None, None) == 200 * 200 - 170 - 401
    assert existing.is_empty(conn, pair)


def test_a_table_that_a_foreign_key_points_at_is_emptied_all_the_same(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.execute("insert into users values (1, 'x'); create table child (user_id int references users)")
    ddl.truncate(conn, USERS)
    assert existing.is_empty(conn, USERS)


def test_unique_indexes_beside_the_key_are_found(conn: psycopg.Connection) -> None:
    with pytest.raises(ConfigurationError, match="not on the target"):
        existing.unique_indexes(conn, USERS)
    ddl.create_table(conn, USERS)
    assert existing.unique_indexes(conn, USERS) == []
    conn.execute("create index on users (name)")
    assert existing.unique_indexes(conn, USERS) == []
    conn.execute("create unique index on users (name, id); create unique index on users (lower(name))")
    assert existing.unique_indexes(conn, USERS) == [("name", "id"), ()]
