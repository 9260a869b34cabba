"""The target on a real PostgreSQL: state, fencing, tables, bulk load, preflight."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.copy.chunk import Chunk
from cdc_pipelines.replication.databases.postgres import ddl, state_schema
from cdc_pipelines.replication.databases.postgres.connection import connect, take_replica_role
from cdc_pipelines.replication.databases.postgres.load import copy_rows
from cdc_pipelines.replication.databases.postgres.preflight import check_target
from cdc_pipelines.replication.databases.postgres.state import TargetState, ensure_schema
from cdc_pipelines.replication.databases.postgres.state_schema import FORMAT
from cdc_pipelines.replication.databases.postgres.verified import last_verified
from cdc_pipelines.replication.errors import (
    CheckResult,
    ConfigurationError,
    FencedError,
    IntegrityError,
    RetryableError,
    UnsupportedChangeError,
)
from cdc_pipelines.replication.pipeline import Target
from cdc_pipelines.replication.values import form_for
from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import postgres_connection

Open = Callable[..., psycopg.Connection]


@pytest.fixture
def spec(stack: StackSettings, target_database: str) -> Target:
    return Target(
        type="postgres", host=stack.postgres.host, port=stack.postgres.port, database=target_database,
        user=stack.postgres.user, password="${env:CDC_STACK_POSTGRES_PASSWORD}",
    )


@pytest.fixture
def open_(spec: Target) -> Iterator[Open]:
    """Open sessions that are closed after the test."""
    opened: list[psycopg.Connection] = []

    def make(purpose: str = "shop:test", **options: Any) -> psycopg.Connection:
        opened.append(connect(spec, purpose=purpose, **options))
        return opened[-1]

    yield make
    for conn in opened:
        conn.close()


@pytest.fixture
def conn(open_: Open) -> psycopg.Connection:
    conn = open_()
    ensure_schema(conn)
    return conn


def column(name: str, full_type: str, **facts: Any) -> Column:
    return Column(name, full_type.split("(")[0].split(" ")[0], full_type, unsigned="unsigned" in full_type, **facts)


def mapped(name: str, *columns: Column, key: tuple[str, ...] = ("id",), **facts: Any) -> MappedTable:
    return MappedTable(
        Table("shop", name, columns, key),
        facts.pop("target_schema", "public"),
        facts.pop("target_name", name),
        tuple(MappedColumn(c, c.name, form_for(c, "mysql", "postgres").target_type) for c in columns),
    )


ID = column("id", "int", nullable=False)
USERS = mapped("users", ID, column("name", "varchar(10)", length=10))
ORDERS = mapped("orders", ID, column("at", "datetime(6)", fraction=6, nullable=False))


def scalar(conn: psycopg.Connection, query: str, *params: Any) -> Any:
    row = conn.execute(query, params or None).fetchone()
    return None if row is None else row[0]


# Sessions


def test_a_session_is_named_and_does_not_depend_on_what_the_role_has_set(
    stack: StackSettings, target_database: str, open_: Open
) -> None:
    with postgres_connection(stack.postgres, target_database, admin=True) as admin:
        for setting in ("timezone = 'Asia/Tokyo'", "intervalstyle = 'sql_standard'", "statement_timeout = '1s'",
                        "default_transaction_isolation = 'serializable'", "client_encoding = 'LATIN1'"):
            admin.execute(f'alter database "{target_database}" set {setting}')
    conn = open_("shop:copy")
    shown = {name: scalar(conn, f"show {name}") for name in (
        "application_name", "timezone", "intervalstyle", "statement_timeout", "transaction_isolation", "client_encoding"
    )}
    assert shown == {
        "application_name": "cdc:shop:copy", "timezone": "UTC", "intervalstyle": "postgres", "statement_timeout": "0",
        "transaction_isolation": "read committed", "client_encoding": "UTF8",
    }


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"user": "nobody_of_that_name"}, ConfigurationError, "user nobody_of_that_name"),
        ({"password": "${env:WRONG}"}, ConfigurationError, "login refused"),
        ({"database": "no_such_db"}, ConfigurationError, "no_such_db"),
        ({"port": 1}, RetryableError, "127.0.0.1:1"),
        ({"tls": {"mode": "require"}}, ConfigurationError, "SSL"),
    ],
)
def test_login_errors_say_what_to_do(
    spec: Target, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], error: type[Exception], text: str
) -> None:
    monkeypatch.setenv("WRONG", "not-the-password")
    wrong = Target.model_validate(spec.model_dump(by_alias=True) | change)
    with pytest.raises(error, match=text) as caught:
        connect(wrong, purpose="shop:test")
    assert "not-the-password" not in str(caught.value)
    assert "Next step" in str(caught.value)


# State


def test_many_may_make_the_schema_at_once(open_: Open) -> None:
    conns = [open_(f"shop:{n}") for n in range(6)]
    failed: list[Exception] = []

    def make(conn: psycopg.Connection) -> None:
        try:
            ensure_schema(conn)
        except (psycopg.Error, ConfigurationError) as error:
            failed.append(error)

    threads = [threading.Thread(target=make, args=(c,)) for c in conns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert scalar(conns[0], "select array_agg(version) from _cdc.format") == [FORMAT]


def test_an_unknown_pipeline_is_none_with_and_without_the_schema(open_: Open) -> None:
    conn = open_()
    state = TargetState(conn, "shop")
    assert not state.exists()
    assert state.load() is None
    state.drop()
    ensure_schema(conn)
    assert state.exists()
    assert state.load() is None


def test_a_newer_format_is_refused(conn: psycopg.Connection) -> None:
    conn.execute("update _cdc.format set version = %s", [FORMAT + 1])
    with pytest.raises(ConfigurationError, match=f"format {FORMAT + 1}"):
        TargetState(conn, "shop").load()
    with pytest.raises(ConfigurationError, match=f"format {FORMAT + 1}"):
        ensure_schema(conn)


def test_the_first_format_is_brought_up_with_all_that_it_holds(open_: Open) -> None:
    conn = open_()
    conn.execute("create schema _cdc")
    conn.execute(state_schema._TABLES)
    conn.execute("insert into _cdc.format values (1)")
    conn.execute("insert into _cdc.pipeline (name, epoch, generation, source_identity) values ('shop', 7, 9, 'a')")
    conn.execute("insert into _cdc.verified (pipeline, table_name, position, rows, differences) "
                 "values ('shop', 'users', '{}', 5, 1)")  # fmt: skip
    conn.execute("insert into _cdc.mapped_table (pipeline, table_name, target_schema, target_name, mapping) "
                 "values ('shop', 'users', 'public', 'users', '{}')")  # fmt: skip
    found = TargetState(conn, "shop").load()
    assert found is not None
    assert (found.epoch, found.generation) == (7, 9)
    assert scalar(conn, "select array_agg(version) from _cdc.format") == [FORMAT]
    (verified,) = last_verified(conn, "shop")
    assert (verified.rows, verified.differences, verified.complete, verified.by) == (5, 1, True, "command")
    assert TargetState(conn, "shop").detached() == {}
    ensure_schema(conn)
    assert TargetState(conn, "shop").load() == found


def test_a_user_without_the_right_is_told_the_grant(
    stack: StackSettings, spec: Target, target_database: str, unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    role = unique("poor")
    monkeypatch.setenv("POOR", "poor-password")
    with postgres_connection(stack.postgres, target_database, admin=True) as admin:
        admin.execute(sql.SQL("create role {} login password 'poor-password'").format(sql.Identifier(role)))
        try:
            poor = spec.model_copy(update={"user": role, "password": "${env:POOR}"})
            grant = f'GRANT CREATE ON DATABASE "{target_database}" TO "{role}"'
            with connect(poor, purpose="shop:test") as conn, pytest.raises(ConfigurationError, match=grant):
                ensure_schema(conn)
            results = {r.name: r for r in check_target(poor, [USERS], "shop")}
            assert not results["target state schema"].ok
            assert not results["target schema"].ok
            for result in results.values():  # what the checks print must really be the cure
                if not result.ok:
                    admin.execute(result.fix)
            assert failures(check_target(poor, [USERS], "shop")) == {}
            with connect(poor, purpose="shop:test") as conn:
                ensure_schema(conn)
                ddl.create_table(conn, USERS)
        finally:
            admin.execute(sql.SQL("drop owned by {0} cascade; drop role {0}").format(sql.Identifier(role)))


def test_a_generation_begins_with_nothing_of_the_last(conn: psycopg.Connection) -> None:
    state = TargetState(conn, "shop")
    first = state.new_generation(7, "server-a", [USERS, ORDERS])
    state.save_plan([Chunk("users", 0, None, None, 10)])
    state.init_offset(5, '{"file":"b.1"}')
    state.set_log_topic("topic", "id")
    assert state.next_history_attempt() == 1
    assert state.next_history_attempt() == 2
    state.learn_columns("users", "[]")
    conn.commit()
    facts = state.load()
    assert facts is not None
    assert (facts.epoch, facts.generation, facts.log_topic, facts.log_topic_id, facts.history_attempt) == (
        first, 7, "topic", "id", 2,
    )

    second = state.new_generation(8, "server-b", [USERS])
    conn.commit()
    facts = state.load()
    assert facts is not None
    assert second > first
    assert (facts.epoch, facts.generation, facts.source_identity, facts.log_topic, facts.history_attempt) == (
        second, 8, "server-b", None, 0,
    )
    assert state.chunks() == []
    assert state.offset() is None
    assert state.mapped_tables() == [USERS]
    assert state.log_columns() == {}


def test_epochs_are_not_used_again_after_a_teardown(conn: psycopg.Connection) -> None:
    state = TargetState(conn, "shop")
    old = state.new_generation(1, "a", [])
    state.drop()
    conn.commit()
    with pytest.raises(FencedError, match="gone"):
        state.require_epoch(old)
    new = state.new_generation(1, "a", [])
    conn.commit()
    assert new != old
    with pytest.raises(FencedError, match=str(new)):
        state.require_epoch(old)


def test_old_epoch_and_generation_are_fenced(conn: psycopg.Connection) -> None:
    state = TargetState(conn, "shop")
    old = state.new_generation(1, "a", [])
    state.require_epoch(old, 1)
    with pytest.raises(FencedError):
        state.require_epoch(old, 2)
    new = state.raise_epoch()
    state.require_epoch(new, 1)
    with pytest.raises(FencedError, match=f"epoch is {new}"):
        state.require_epoch(old)


def test_whoever_raises_the_epoch_waits_for_a_short_transaction(conn: psycopg.Connection, open_: Open) -> None:
    state = TargetState(conn, "shop")
    epoch = state.new_generation(1, "a", [USERS])
    ddl.create_table(conn, USERS)
    conn.commit()
    worker = open_("shop:copy")
    TargetState(worker, "shop").require_epoch(epoch)
    worker.execute("insert into users values (1, 'x')")
    threading.Timer(0.5, worker.commit).start()
    state.raise_epoch()
    conn.commit()
    assert scalar(conn, "select count(*) from users") == 1


def test_whoever_raises_the_epoch_ends_a_worker_that_holds_on(conn: psycopg.Connection, open_: Open) -> None:
    state = TargetState(conn, "shop")
    epoch = state.new_generation(1, "a", [USERS])
    ddl.create_table(conn, USERS)
    conn.commit()
    worker, other = open_("shop:copy"), open_("shopping:copy")
    TargetState(worker, "shop").require_epoch(epoch)
    worker.execute("insert into users values (1, 'x')")
    other.execute("select 1 from _cdc.pipeline for key share")  # holds a lock too, but is another pipeline's
    other.commit()
    state.new_generation(2, "a", [USERS])
    conn.commit()
    with pytest.raises(psycopg.OperationalError):
        worker.execute("insert into users values (2, 'x')")
    assert scalar(conn, "select count(*) from users") == 0
    assert scalar(other, "select 1") == 1
    assert scalar(conn, "show lock_timeout") == "0"


def test_a_stranger_on_the_row_is_named_not_ended(conn: psycopg.Connection, open_: Open,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    from cdc_pipelines.replication.databases.postgres import epoch_lock

    monkeypatch.setattr(epoch_lock, "_TRIES", 2)
    monkeypatch.setattr(epoch_lock, "_WAIT_MS", 100)
    state = TargetState(conn, "shop")
    state.new_generation(1, "a", [])
    conn.commit()
    stranger = open_("somebody")
    stranger.execute("select 1 from _cdc.pipeline for update")
    with pytest.raises(RetryableError, match="somebody"):
        state.raise_epoch()
    assert scalar(stranger, "select 1") == 1


def test_the_epoch_is_not_raised_outside_a_transaction(conn: psycopg.Connection, open_: Open) -> None:
    state = TargetState(conn, "shop")
    state.new_generation(1, "a", [])
    conn.commit()
    with pytest.raises(RuntimeError, match="inside the caller's transaction"):
        TargetState(open_(autocommit=True), "shop").raise_epoch()


def test_two_pipelines_cannot_have_one_table(conn: psycopg.Connection) -> None:
    TargetState(conn, "shop").new_generation(1, "a", [USERS, ORDERS])
    conn.commit()
    with pytest.raises(ConfigurationError, match=r"public\.orders belongs to pipeline shop"):
        TargetState(conn, "other").new_generation(1, "b", [ORDERS])
    conn.rollback()
    TargetState(conn, "shop").new_generation(2, "a", [USERS])  # lets go of orders
    TargetState(conn, "other").new_generation(1, "b", [ORDERS])
    conn.commit()
    TargetState(conn, "shop").drop(keep_claims=True)
    conn.commit()
    with pytest.raises(ConfigurationError, match="belongs to pipeline shop"):
        TargetState(conn, "third").new_generation(1, "c", [USERS])


def test_two_pipelines_claiming_at_once_get_one_winner(conn: psycopg.Connection, open_: Open) -> None:
    outcomes: dict[str, ConfigurationError | None] = {}

    def claim(name: str, tables: list[MappedTable]) -> None:
        mine = open_(f"{name}:plan")
        try:
            TargetState(mine, name).new_generation(1, name, tables)
            time.sleep(0.3)
            mine.commit()
            outcomes[name] = None
        except ConfigurationError as error:
            mine.rollback()
            outcomes[name] = error

    threads = [
        threading.Thread(target=claim, args=("one", [USERS, ORDERS])),
        threading.Thread(target=claim, args=("two", [ORDERS, USERS])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(e).__name__ for e in outcomes.values()) == ["ConfigurationError", "NoneType"]


def test_offsets_are_compared_and_swapped(conn: psycopg.Connection) -> None:
    state = TargetState(conn, "shop")
    state.new_generation(1, "a", [USERS])
    assert state.offset() is None
    assert state.init_offset(10, "P0")
    assert not state.init_offset(99, "P9")  # progress is never overwritten
    state.advance_offset(10, 20, "P1", 1234, 2, 7)
    state.advance_offset(20, 21, "P2", None, 0, 0)
    with pytest.raises(FencedError, match="is 21, this process was at 20"):
        state.advance_offset(20, 30, "P3", 5, 1, 1)
    found = state.offset()
    assert found is not None
    assert (found.next_offset, found.position, found.commit_ms) == (21, "P2", 1234)
    assert (found.transactions, found.events) == (2, 7)


def test_a_long_load_does_not_hold_up_the_stream(conn: psycopg.Connection, open_: Open) -> None:
    """Epoch shared by both, chunk rows and offset apart: neither waits for the other."""
    state = TargetState(conn, "shop")
    epoch = state.new_generation(1, "a", [USERS])
    state.save_plan([Chunk("users", 0, None, None, 10)])
    state.init_offset(0, "P")
    conn.commit()
    loader, stream = open_("shop:copy"), open_("shop:consumer")
    TargetState(loader, "shop").require_epoch(epoch)
    assert TargetState(loader, "shop").lock_chunk("users", 0) is not None
    stream.execute("set lock_timeout = '1s'")
    consumer = TargetState(stream, "shop")
    consumer.require_epoch(epoch)
    consumer.advance_offset(0, 1, "P", 1, 1, 1)
    consumer.count_changes({"users": (1, 0, 0, 0)}, 1)
    stream.commit()


def test_chunks_come_back_as_they_were_planned(conn: psycopg.Connection) -> None:
    state = TargetState(conn, "shop")
    state.new_generation(1, "a", [USERS, ORDERS])
    plan = [
        Chunk("users", 0, None, (2**64 - 1, "é\0x"), 5, shard=1, fingerprint="f"),
        Chunk("users", 1, (2**64 - 1, "é\0x"), None, 5),
        Chunk("orders", 0, None, None, 0),
    ]
    state.save_plan(plan)
    assert state.chunks() == [plan[2], plan[0], plan[1]]
    assert state.chunks("users") == plan[:2]
    done = Chunk("users", 0, None, None, 5, rows=3, bytes=30, seconds=0.5, position="P", fingerprint="f")
    at = state.finish_chunk(done)
    found = state.chunks("users")[0]
    assert (found.state, found.rows, found.bytes, found.seconds, found.position, found.copied_at) == (
        "done", 3, 30, 0.5, "P", at,
    )
    state.reset_table("users")
    assert state.chunks("users") == plan[:2]
    state.save_plan([Chunk("users", 0, None, None, 5)])
    assert len(state.chunks()) == 2


def test_figures_are_ready_for_json(conn: psycopg.Connection) -> None:
    import json

    state = TargetState(conn, "shop")
    state.new_generation(1, "a", [USERS, ORDERS])
    state.save_plan([Chunk("users", 0, None, (5,), 10), Chunk("users", 1, (5,), None, 10)])
    state.finish_chunk(Chunk("users", 0, None, (5,), 10, rows=4, bytes=44, seconds=1.0, position="P"))
    state.count_changes({"users": (1, 2, 3, 1), "orders": (5, 0, 0, 0)}, 1_700_000_000_123)
    state.count_changes({"users": (1, 0, 0, 0)}, None)
    conn.execute("insert into _cdc.verified (pipeline, table_name, rows, differences) values ('shop', 'users', 9, 0)")
    orders, users = json.loads(json.dumps(state.table_stats()))
    assert orders["changes_applied"] == 5
    assert orders["chunks"] == 0
    assert orders["verified"] is None
    assert (users["chunks"], users["chunks_done"], users["rows_copied"], users["changes_applied"]) == (2, 1, 4, 8)
    assert users["last_change_at"] == "2023-11-14T22:13:20.123Z"
    assert users["verified"]["rows"] == 9


def test_a_table_stands_apart_from_where_it_was_detached_until_it_is_attached(conn: psycopg.Connection) -> None:
    state = TargetState(conn, "shop")
    state.new_generation(1, "a", [USERS, ORDERS])
    state.detach("users", "a value was refused", "quarantined", position="P", offset=7)
    state.count_skipped({"users": 3, "orders": 9})
    (first,) = state.detached().values()
    assert (first.table, first.kind, first.reason, first.skipped) == ("users", "quarantined", "a value was refused", 3)
    state.detach("users", "is copied again", "lane", position="Q", offset=9)
    state.count_skipped({"users": 2})
    (second,) = state.detached().values()
    assert (second.kind, second.reason, second.skipped) == ("lane", "is copied again", 5)
    assert (second.position, second.offset, second.since) == ("P", 7, first.since), "its rows are as old as they were"
    with pytest.raises(ValueError, match="none of quarantined, changed, lane"):
        state.detach("users", "…", "sleeping")  # type: ignore[arg-type]
    state.attach("users")
    assert state.detached() == {}
    state.detach("users", "again", "quarantined", position="R", offset=11)
    assert (state.detached()["users"].position, state.detached()["users"].skipped) == ("R", 0)


# Tables


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
    assert ddl.check_existing(conn, EVERY_TYPE) == []
    found = ddl.find(conn, "public", "every")
    assert found is not None
    assert found.keys == (("id",),)


def test_names_with_quotes_capitals_and_emoji_are_just_names(conn: psycopg.Connection) -> None:
    odd = MappedTable(
        Table("shop", 'We"ird', (ID,), ("id",)), 'Sch"ema; --', 'Ta"ble 💥', (MappedColumn(ID, 'I"d %s {}', "integer"),)
    )
    assert ddl.create_table(conn, odd)
    assert ddl.check_existing(conn, odd) == []
    assert copy_rows(conn, odd, [[(b"1",), (b"2",)]]) == (2, 4)
    assert ddl.delete_range(conn, odd, (2,), None) == 1
    ddl.add_column(conn, odd, MappedColumn(column("x", "int"), 'X"', "integer"), "7")
    assert scalar(conn, 'select "X""" from "Sch""ema; --"."Ta""ble 💥"') == 7
    ddl.truncate(conn, odd)
    assert ddl.is_empty(conn, odd)
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
    problems = ddl.check_existing(conn, USERS)
    assert len(problems) == (problem is not None)
    assert problem is None or problem in problems[0]


def test_rows_of_our_own_are_no_obstacle(conn: psycopg.Connection) -> None:
    TargetState(conn, "shop").new_generation(1, "a", [USERS])
    ddl.create_table(conn, USERS)
    conn.execute("insert into users values (1, 'x')")
    assert ddl.check_existing(conn, USERS, pipeline="shop") == []
    assert ddl.check_existing(conn, USERS, pipeline="other") != []


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
    assert ddl.is_empty(conn, pair)


def test_a_table_that_a_foreign_key_points_at_is_emptied_all_the_same(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.execute("insert into users values (1, 'x'); create table child (user_id int references users)")
    ddl.truncate(conn, USERS)
    assert ddl.is_empty(conn, USERS)


def test_unique_indexes_beside_the_key_are_found(conn: psycopg.Connection) -> None:
    with pytest.raises(ConfigurationError, match="not on the target"):
        ddl.unique_indexes(conn, USERS)
    ddl.create_table(conn, USERS)
    assert ddl.unique_indexes(conn, USERS) == []
    conn.execute("create index on users (name)")
    assert ddl.unique_indexes(conn, USERS) == []
    conn.execute("create unique index on users (name, id); create unique index on users (lower(name))")
    assert ddl.unique_indexes(conn, USERS) == [("name", "id"), ()]


# Bulk load


def test_every_text_arrives_as_it_was(conn: psycopg.Connection) -> None:
    table = mapped("t", ID, column("v", "text"))
    ddl.create_table(conn, table)
    values = ["", "\\", "\\N", "\\.", "\t", "\n", "\r\n", "\\t", "a\\", "'\"", "é", "💥", "\x01\x7f", "\ufeff"]
    values.append("x" * 100_000)
    rows = [(str(n).encode(), v.encode()) for n, v in enumerate(values)] + [(b"99", None)]
    count, size = copy_rows(conn, table, [rows[:3], [], rows[3:]])
    assert count == len(rows)
    assert size > 100_000
    assert conn.execute("select v from t order by id").fetchall() == [(v,) for v in [*values, None]]


def test_a_readers_error_commits_nothing(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.commit()
    closed = []

    def read() -> Iterator[list[tuple[bytes, bytes]]]:
        try:
            yield [(b"1", b"x")]
            raise RetryableError("source went away", "wait.")
        finally:
            closed.append(threading.current_thread().name)

    with pytest.raises(RetryableError, match="source went away"), conn.transaction():
        copy_rows(conn, USERS, read())
    assert closed == ["read-users"]
    assert ddl.is_empty(conn, USERS)
    assert scalar(conn, "select 1") == 1  # the session is of use


def test_a_refused_value_ends_the_reader_too(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.commit()
    given = []

    def read() -> Iterator[list[tuple[bytes, bytes]]]:
        for n in range(1_000):
            given.append(n)
            yield [(b"1", b"much too long a name" * 10)] * 5000

    with pytest.raises(ConfigurationError) as caught, conn.transaction():
        copy_rows(conn, USERS, read(), what="table users, chunk 3")
    text = str(caught.value)
    assert "table users, chunk 3: column name (varchar(10) → varchar(10))" in text
    assert "too long" in text
    assert "Next step: change the value on the source" in text
    assert len(text) < 1000
    assert not [t for t in threading.enumerate() if t.name.startswith("read-")]
    assert len(given) < 150  # of about 1 MB each: the error is found before all of them are sent


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("tinyint", b"40000", 'value "40000" is out of range for type smallint'),
        ("date", b"0000-00-00", "date/time field value out of range"),
        ("json", b'"\\u0000"', "unsupported Unicode escape"),
        ("int", b"3000000000", "out of range for type integer"),
        ("text", b"a\xc3(", "invalid byte sequence"),
    ],
)
def test_values_that_postgres_cannot_hold_name_table_chunk_and_column(
    conn: psycopg.Connection, kind: str, value: bytes, message: str
) -> None:
    table = mapped("t", ID, column("odd", kind))
    ddl.create_table(conn, table)
    with pytest.raises(ConfigurationError, match="table t, chunk 4") as caught, conn.transaction():
        copy_rows(conn, table, [[(b"1", None), (b"2", value)]], what="table t, chunk 4")
    assert message in str(caught.value)
    if kind != "text":
        assert f"column odd ({kind}" in str(caught.value)


def test_nul_is_refused_before_it_is_sent(conn: psycopg.Connection) -> None:
    table = mapped("t", ID, column("a", "text"), column("b", "text"))
    ddl.create_table(conn, table)
    with pytest.raises(ConfigurationError, match=r"table t, chunk 0: column b holds the character NUL") as caught:
        copy_rows(conn, table, [[(b"1", b"x", b"y"), (b"2", b"x", b"y\0z")]], what="table t, chunk 0")
    assert "Next step: remove it on the source" in str(caught.value)


def test_a_trigger_that_swallows_rows_is_noticed(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.execute(
        "create function swallow() returns trigger language plpgsql as "
        "$$ begin return case when new.id = 1 then null else new end; end $$; "
        "create trigger s before insert on users for each row execute function swallow()"
    )
    with pytest.raises(IntegrityError, match=r"2 rows were read, but public\.users took 1"):
        copy_rows(conn, USERS, [[(b"1", b"x"), (b"2", b"x")]])


def test_rows_of_another_origin_are_noticed(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.execute("insert into users values (1, 'x')")
    with pytest.raises(IntegrityError, match="has such a row already"):
        copy_rows(conn, USERS, [[(b"1", b"x")]])


# Preflight


def failures(results: list[CheckResult]) -> dict[str, str]:
    return {r.name: r.message for r in results if not r.ok}


def test_a_fresh_target_meets_everything_and_nothing_is_written(spec: Target, open_: Open) -> None:
    results = check_target(spec, [USERS, ORDERS], "shop")
    assert failures(results) == {}
    assert len(results) >= 9
    conn = open_()
    assert not TargetState(conn, "shop").exists()
    assert ddl.find(conn, "public", "users") is None


def test_a_server_out_of_reach_is_one_result(spec: Target) -> None:
    [result] = check_target(spec.model_copy(update={"port": 1}), [USERS], "shop")
    assert not result.ok
    assert "127.0.0.1:1" in result.message


def test_everything_wrong_is_reported_together(spec: Target, conn: psycopg.Connection) -> None:
    TargetState(conn, "other").new_generation(1, "a", [ORDERS])
    conn.execute("create table users (id bigint primary key, name varchar(10)); insert into users values (1)")
    conn.commit()
    long = mapped("long", column("é" * 32, "int", nullable=False), key=("é" * 32,))
    found = failures(check_target(spec, [USERS, ORDERS, long], "shop"))
    assert set(found) == {"target tables", "target claims", "target names"}
    assert "public.users: column id is bigint, not integer; holds rows" in found["target tables"]
    assert "public.orders belongs to pipeline other" in found["target claims"]
    assert "é" * 32 in found["target names"]


def test_triggers_and_foreign_keys_need_a_right_that_is_named_and_then_enough(
    stack: StackSettings, spec: Target, target_database: str, conn: psycopg.Connection
) -> None:
    ddl.create_table(conn, USERS)
    ddl.create_table(conn, ORDERS)
    conn.commit()
    without, planned = (
        {r.name: r for r in check_target(spec, [USERS, ORDERS], "shop", foreign_keys=keys)}["target triggers"]
        for keys in (False, True)
    )
    assert without.ok
    assert "foreign keys that are to be made" in planned.message
    assert planned.ok or planned.fix == 'GRANT SET ON PARAMETER session_replication_role TO "cdc";'
    conn.execute("alter table orders add constraint belongs foreign key (id) references users")
    conn.commit()
    results = {r.name: r for r in check_target(spec, [USERS, ORDERS], "shop")}
    with postgres_connection(stack.postgres, target_database, admin=True) as admin:
        result = results["target triggers"]
        if result.ok:  # the stack's user may have the right already
            assert take_replica_role(conn)
        else:
            assert result.fix == 'GRANT SET ON PARAMETER session_replication_role TO "cdc";'
            assert "public.orders: foreign key belongs" in result.message
            assert not take_replica_role(conn)
            try:
                admin.execute(result.fix)
                assert failures(check_target(spec, [USERS, ORDERS], "shop")) == {}
                with connect(spec, purpose="shop:test") as other:
                    assert take_replica_role(other)
                    assert copy_rows(other, ORDERS, [[(b"5", b"2024-01-01")]])[0] == 1  # no such user yet
            finally:
                admin.execute('revoke set on parameter session_replication_role from "cdc"')


def test_a_table_of_somebody_else_is_told_with_its_grants(
    stack: StackSettings, spec: Target, target_database: str
) -> None:
    with postgres_connection(stack.postgres, target_database, admin=True) as admin:
        admin.execute("create table public.users (id int primary key, name varchar(10))")
        results = {r.name: r for r in check_target(spec, [USERS], "shop")}
        assert "lacks SELECT, INSERT, UPDATE, DELETE" in results["target tables"].message
        admin.execute(results["target tables"].fix)
        again = {r.name: r for r in check_target(spec, [USERS], "shop")}
        assert "does not own it" in again["target tables"].message
        admin.execute(again["target tables"].fix)
        assert failures(check_target(spec, [USERS], "shop")) == {}
