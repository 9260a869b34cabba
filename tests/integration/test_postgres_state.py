"""The state in the target: made by many at once, brought up, begun anew, offsets and chunks."""

import threading
from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.databases.postgres import ddl, state_schema
from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.preflight import check_target
from cdc_pipelines.replication.databases.postgres.state import TargetState, ensure_schema
from cdc_pipelines.replication.databases.postgres.state_schema import FORMAT
from cdc_pipelines.replication.databases.postgres.verified import last_verified
from cdc_pipelines.replication.errors import (
    ConfigurationError,
    FencedError,
)
from cdc_pipelines.replication.pipeline import Target
from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import postgres_connection
from tests.integration.target_stage import ORDERS, USERS, Open, conn, failures, open_, scalar, spec

__all__ = ["conn", "open_", "spec"]  # fixtures


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


def test_chunks_of_this_copy_are_told_from_those_of_an_earlier_one(conn: psycopg.Connection) -> None:
    state = TargetState(conn, "shop")
    state.new_generation(1, "a", [USERS])
    plan = [Chunk("users", n, None, None, 10, rows=4, position="P") for n in range(3)]
    state.save_plan(plan)
    began = state.finish_chunk(plan[0])
    assert state.table_stats()[0]["chunks_done_since"] == 0
    assert state.table_stats(since=began)[0]["chunks_done_since"] == 0
    state.finish_chunk(plan[1])
    (users,) = state.table_stats(since=began)
    assert (users["chunks"], users["chunks_done"], users["chunks_done_since"]) == (3, 2, 1)


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
