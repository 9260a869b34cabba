"""The applier on a real PostgreSQL: rows and offset stand or fall together, and others see whole runs only."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.changes.batches import SMALL, Commit, Counts, KeyedBatch, Part, Truncate
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.carried_store import Carried, CarriedStore
from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.state import TargetState, ensure_schema
from cdc_pipelines.replication.errors import ConfigurationError, FencedError, IntegrityError
from cdc_pipelines.replication.pipeline import Target
from cdc_pipelines.replication.stream.applying import Applier
from cdc_pipelines.replication.stream.refusal import RefusedError
from cdc_pipelines.stack.settings import StackSettings

ID = Column("id", "bigint", "bigint", nullable=False)
CODE = Column("code", "varchar", "varchar(9)", length=9)
COLUMNS = (MappedColumn(ID, "id", "bigint"), MappedColumn(CODE, "code", "varchar(9)"))
T = MappedTable(Table("shop", "t", (ID, CODE), ("id",)), "public", "t", COLUMNS)
U = MappedTable(Table("shop", "u", (ID, CODE), ("id",)), "public", "u", COLUMNS)
START = MySqlPosition("binlog.000001", 100, "", "s")


class Started:
    """A started pipeline `shop` with tables `t` and `u` (unique by code on the target), copied up to START."""

    def __init__(self, open_: Callable[[str], psycopg.Connection]) -> None:
        self.open = open_
        conn = open_("shop:test")
        ensure_schema(conn)
        state = TargetState(conn, "shop")
        self.epoch = state.new_generation(1, "s", [T, U])
        for table in (T, U):
            ddl.create_table(conn, table)
        conn.execute("create unique index on u (code)")
        state.save_plan([
            Chunk("t", 0, None, (10,), 1, state="done", position=START.to_json()),
            Chunk("t", 1, (10,), None, 1, state="done", position=START.to_json()),
            Chunk("u", 0, None, None, 1, state="done", position=START.to_json()),
        ])
        state.set_log_topic("log", "its id")
        state.init_offset(5, START.to_json())
        conn.commit()
        self.conn, self.state = conn, state

    def applier(self) -> Applier:
        return Applier(self.open("shop:consumer"), "shop", ("mysql", "postgres"), logging.getLogger("test"))

    def rows(self, table: str = "t") -> list[tuple[Any, ...]]:
        found = self.conn.execute(f"select id, code from {table} order by id").fetchall()
        self.conn.commit()
        return found

    def offset(self) -> int:
        found = self.state.offset()
        self.conn.commit()
        assert found is not None
        return found.next_offset


@pytest.fixture
def target(stack: StackSettings, target_database: str) -> Iterator[Started]:
    spec = Target(
        type="postgres", host=stack.postgres.host, port=stack.postgres.port, database=target_database,
        user=stack.postgres.user, password="${env:CDC_STACK_POSTGRES_PASSWORD}",
    )
    opened: list[psycopg.Connection] = []

    def open_(purpose: str) -> psycopg.Connection:
        opened.append(connect(spec, purpose=purpose))
        return opened[-1]

    yield Started(open_)
    for conn in opened:
        conn.close()


def part(table: MappedTable, rows: dict[int, str | None]) -> Part:
    """Rows to be there, with their code; None for a key to be gone."""
    codec = RowCodec(table, "mysql", "postgres")
    batch = KeyedBatch(fresh=False)
    for key, code in rows.items():
        batch.images[key,] = None if code is None else codec.row(json.dumps({"id": key, "code": code}).encode())  # type: ignore[arg-type]
    return Part({table.name: codec.pack(batch)}, {table.name: Counts(updates=len(rows))}, len(rows))


def commit(next_offset: int, events: int = 1) -> Commit:
    position = MySqlPosition("binlog.000001", 100 + next_offset, "", "s", exact=False)
    return Commit(next_offset, position.to_json(), 1, 1, events)


def test_a_run_is_seen_as_a_whole_with_its_offset(target: Started) -> None:
    applier = target.applier()
    for first in (0, 100):  # one source transaction, too large for one part
        assert not applier.handle(part(T, {first + n: "a" for n in range(SMALL + 1)}))
        assert target.rows() == []
        assert target.offset() == 5
    assert applier.handle(commit(9, 2 * SMALL + 2))
    assert len(target.rows()) == 2 * SMALL + 2
    assert target.offset() == 9


def test_rows_and_offset_stand_or_fall_together(target: Started) -> None:
    """Somebody else has applied the stretch meanwhile: what this one did of it must not stay."""
    applier = target.applier()
    applier.handle(part(T, {1: "mine"}))
    target.state.advance_offset(5, 8, None, None, 1, 1)
    target.conn.commit()
    with pytest.raises(FencedError, match="another consumer"):
        applier.handle(commit(9))
    applier.abandon()
    assert target.rows() == []
    assert target.offset() == 8


def test_an_abandoned_run_leaves_nothing_and_comes_again(target: Started) -> None:
    applier = target.applier()
    applier.handle(part(T, {1: "half", 7: "never"}))
    applier.abandon()
    assert target.rows() == []
    applier.handle(part(T, {1: "whole"}))
    applier.handle(commit(9))
    assert target.rows() == [(1, "whole")]
    assert target.offset() == 9
    figures = target.state.table_stats()
    assert figures[0]["updates"] == 1, "the abandoned run was counted"


def test_a_consumer_of_an_old_epoch_writes_nothing(target: Started) -> None:
    """A zombie: it was frozen between two runs while something newer took over."""
    applier = target.applier()
    applier.handle(part(T, {1: "a"}))
    applier.handle(commit(6))
    target.state.raise_epoch()
    target.conn.commit()
    with pytest.raises(FencedError, match="something newer took over"):
        applier.handle(part(T, {2: "zombie"}))
    applier.abandon()
    assert target.rows() == [(1, "a")]
    assert target.offset() == 6


def test_a_truncate_is_not_seen_by_who_reads_an_older_state(target: Started) -> None:
    """PostgreSQL's own TRUNCATE shows an older snapshot an empty table: a state that the source was not in."""
    applier = target.applier()
    applier.handle(part(T, {1: "a", 20: "b"}))
    applier.handle(commit(6))
    reader = target.open("shop:reader")
    reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    reader.execute("select 1 from u").fetchall()  # the snapshot is taken; t itself is not locked
    applier.handle(Truncate("t"))
    applier.handle(commit(7))
    assert target.rows() == []
    assert reader.execute("select count(*) from t").fetchone() == (2,)


def test_a_truncate_reaches_the_ranges_that_it_names(target: Started) -> None:
    applier = target.applier()
    applier.handle(part(T, {1: "a", 20: "b"}))
    applier.handle(Truncate("t", [(None, (10,))]))
    applier.handle(commit(6))
    assert target.rows() == [(20, "b")]


@pytest.mark.parametrize("count", [3, SMALL * 2])
def test_unique_values_change_hands(target: Started, count: int) -> None:
    """The applier sees by itself that the target's table has an index beside the key's."""
    applier = target.applier()
    for run, shift in enumerate((0, 1)):
        applier.handle(part(U, {n: f"u{(n + shift) % count}" for n in range(count)}))
        applier.handle(commit(6 + run))
    assert target.rows("u") == [(n, f"u{(n + 1) % count}") for n in range(count)]


def test_a_unique_index_that_is_being_made_is_known_before_it_is_seen(target: Started) -> None:
    """Who made the applier aware of it builds it right behind that."""
    index = Carried("t", "index", "code", "public", "t", "t_code", 'unique ("code")')
    before = target.state.table_marks()
    target.state.carries([index])
    target.conn.commit()
    assert target.state.table_marks() != before
    applier = target.applier()
    applier.handle(part(T, {1: "a", 2: "b"}))
    applier.handle(commit(6))
    target.conn.execute("create unique index t_code on t (code)")
    target.conn.commit()
    applier.handle(part(T, {1: "b", 2: "a"}))
    applier.handle(commit(7))
    assert target.rows() == [(1, "b"), (2, "a")]


@pytest.mark.parametrize("ours", [True, False])
def test_what_was_carried_gives_way_to_a_row_and_nothing_else_does(target: Started, ours: bool) -> None:
    target.conn.execute("alter table t add constraint short check (length(code) < 3)")
    if ours:
        CarriedStore(target.conn, "shop").save(Carried("t", "check", "c", "public", "t", "short", "x", state="made"))
    target.conn.commit()
    applier = target.applier()
    for attempt in range(2 if ours else 1):
        applier.handle(part(U, {1: "first"}))
        if attempt == 0:
            with pytest.raises(RefusedError) as refused:
                applier.handle(part(T, {1: "long"}))
            assert applier.give_way(refused.value) is ours
            assert target.rows("u") == []
        else:
            applier.handle(part(T, {1: "long"}))
            applier.handle(commit(6))
    assert target.rows() == ([(1, "long")] if ours else [])
    assert [each.state for each in CarriedStore(target.conn, "shop").all()] == (["given_up"] if ours else [])


def test_what_the_target_refuses_stops_the_stream_and_nothing_of_the_run_stays(target: Started) -> None:
    applier = target.applier()
    applier.handle(part(T, {1: "a"}))
    with pytest.raises(IntegrityError, match="table u: the target refused a change"):
        applier.handle(part(U, {1: "same", 2: "same"}))
    applier.abandon()
    assert target.rows() == []
    assert target.offset() == 5


def test_a_copy_that_lacks_a_chunk_is_not_streamed_into(target: Started) -> None:
    target.conn.execute("update _cdc.chunk set state = 'planned' where table_name = 't' and ordinal = 1")
    target.conn.commit()
    with pytest.raises(ConfigurationError, match=r"table t: 1 chunk\(s\) of the initial copy are missing"):
        target.applier()


def test_a_table_that_stands_apart_is_not_written_to(target: Started) -> None:
    """Nor need it be there or be copied; what the reader had handed over already is counted as passed by."""
    target.state.detach("t", "the target refused a value", "quarantined", position=START.to_json(), offset=5)
    target.conn.execute("update _cdc.chunk set state = 'planned' where table_name = 't'")
    target.conn.execute("drop table t")
    target.conn.commit()
    applier = target.applier()
    both = part(T, {1: "a", 2: "b"})
    both.tables |= part(U, {1: "u"}).tables
    both.counts |= {"t": Counts(updates=2, skipped=1), "u": Counts(updates=1)}
    applier.handle(both)
    applier.handle(Truncate("t"))
    applier.handle(commit(9))
    assert target.rows("u") == [(1, "u")]
    assert target.state.detached()["t"].skipped == 3
    figures = {f["table"]: f["changes_applied"] for f in target.state.table_stats()}
    assert figures == {"t": 0, "u": 1}
