"""Batches on a real PostgreSQL table end at the state that applying their events one by one would give."""

import json
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.changes.batches import SMALL, KeyedBatch, OrderedBatch
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.databases.postgres.apply import TableApplier
from cdc_pipelines.replication.errors import IntegrityError

ID = Column("id", "bigint", "bigint unsigned", nullable=False, unsigned=True)
CODE = Column('co`de "x', "varchar", "varchar(12)", length=12)
NOTE = Column("note", "text", "text")
DOC = Column("doc", "json", "json")
COLUMNS = (ID, CODE, NOTE, DOC)
TYPES = ("numeric(20)", "varchar(12)", "text", "jsonb")


def table(key: tuple[str, ...] = ("id",)) -> MappedTable:
    mapped = tuple(MappedColumn(c, c.name, t) for c, t in zip(COLUMNS, TYPES, strict=True))
    return MappedTable(Table("s", "odd name%", COLUMNS, key), "public", "odd name%", mapped)


def create(target: psycopg.Connection, *, key: bool = True, unique: bool = False) -> None:
    target.execute('drop table if exists "odd name%"')
    target.execute(
        f'create table "odd name%" (id numeric(20){" primary key" if key else ""}, "co`de ""x" varchar(12)'
        f"{' unique' if unique else ''}, note text, doc jsonb)"
    )


def raw(row: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(row).encode())


def row(id_: int, code: str | None, note: str | None = None, doc: Any = None) -> dict[str, Any]:
    return {"id": id_, CODE.name: code, "note": note, "doc": None if doc is None else json.dumps(doc)}


def contents(target: psycopg.Connection) -> dict[int, tuple[Any, ...]]:
    found = target.execute('select id, "co`de ""x", note, doc from "odd name%"').fetchall()
    assert len({r[0] for r in found}) == len(found)
    return {int(r[0]): r[1:] for r in found}


text = st.one_of(
    st.none(), st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=12)
)
operations = st.lists(st.tuples(st.integers(0, 15), st.sampled_from("cud"), text, text), max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(operations, max_size=4), large=st.booleans())
def test_folded_batches_equal_single_steps(
    target: psycopg.Connection, runs: list[list[tuple[int, str, str | None, str | None]]], large: bool
) -> None:
    create(target)
    expected: dict[int, tuple[Any, ...]] = {}
    target.autocommit = False
    codec = RowCodec(table(), "mysql", "postgres")
    applier = TableApplier(target, codec, 1, unique=False)
    filler = 2**64 - 1
    for run in runs:
        batch = KeyedBatch()
        for key, op, code, note in run:
            there = key in expected
            if (op == "c") == there:  # only what a source could have done
                continue
            if op not in ("c",) or key in {k[0] for k in batch.images}:
                batch.fresh = False
            if op == "d":
                del expected[key]
                batch.images[key,] = None
            else:
                expected[key] = (code, note, {"k": note})
                batch.images[key,] = codec.row(raw(row(key, code, note, {"k": note})))
        if large:  # the staged way, by many more rows
            for n in range(SMALL + 1):
                batch.fresh = batch.fresh and filler - n not in expected
                expected[filler - n] = ("f", None, None)
                batch.images[filler - n,] = codec.row(raw(row(filler - n, "f")))
        applier.apply(codec.pack(batch))
        target.commit()
    assert contents(target) == expected
    target.commit()
    target.autocommit = True


@pytest.mark.parametrize("count", [3, SMALL * 3])
def test_swapped_values_of_a_secondary_unique_key(target: psycopg.Connection, count: int) -> None:
    create(target, unique=True)
    target.autocommit = False
    codec = RowCodec(table(), "mysql", "postgres")
    applier = TableApplier(target, codec, 1, unique=True)
    for shift in (0, 1, 2):
        batch = KeyedBatch(fresh=shift == 0)
        for n in range(count):
            batch.images[n,] = codec.row(raw(row(n, f"u{(n + shift) % count}")))
        applier.apply(codec.pack(batch))
        target.commit()
        assert {k: v[0] for k, v in contents(target).items()} == {n: f"u{(n + shift) % count}" for n in range(count)}


def test_a_table_without_a_key_changes_one_row_per_event(target: psycopg.Connection) -> None:
    create(target, key=False)
    target.autocommit = False
    codec = RowCodec(table(key=()), "mysql", "postgres")
    applier = TableApplier(target, codec, 1, unique=False)
    same, other = codec.row(raw(row(1, None, "n", [1]))), codec.row(raw(row(1, "x", "n", [1])))
    applier.apply(OrderedBatch([(None, same)] * (SMALL + 2) + [(same, other), (same, None)]))
    target.commit()
    counted = target.execute('select "co`de ""x", count(*) from "odd name%" group by 1 order by 1').fetchall()
    assert counted == [("x", 1), (None, SMALL)]
    with pytest.raises(IntegrityError, match="not in public"):
        applier.apply(OrderedBatch([(codec.row(raw(row(9, "never"))), None)]))
    target.rollback()


@pytest.mark.parametrize("count", [1, SMALL * 2])
def test_a_value_too_long_is_refused_not_cut(target: psycopg.Connection, count: int) -> None:
    create(target)
    target.autocommit = False
    codec = RowCodec(table(), "mysql", "postgres")
    applier = TableApplier(target, codec, 1, unique=False)
    batch = KeyedBatch(images={(n,): codec.row(raw(row(n, "x" * 13))) for n in range(count)}, fresh=False)
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        applier.apply(codec.pack(batch))
    target.rollback()


def test_rows_that_are_there_already_though_they_came_as_new(target: psycopg.Connection) -> None:
    """A stretch of inserts that comes again: straight COPY is refused, and the careful way must follow."""
    create(target)
    target.autocommit = False
    codec = RowCodec(table(), "mysql", "postgres")
    applier = TableApplier(target, codec, 1, unique=False)
    for code in ("first", "again"):
        images = {(n,): codec.row(raw(row(n, code))) for n in range(SMALL * 2)}
        applier.apply(codec.pack(KeyedBatch(images=images, fresh=True)))  # type: ignore[arg-type]
        target.commit()
        assert {k: v[0] for k, v in contents(target).items()} == dict.fromkeys(range(SMALL * 2), code)
        target.commit()


def test_large_deletes_and_upserts_of_one_batch(target: psycopg.Connection) -> None:
    """Several in one target transaction: what one batch staged must not be applied by the next."""
    create(target)
    target.autocommit = False
    codec = RowCodec(table(), "mysql", "postgres")
    applier = TableApplier(target, codec, 1, unique=False)
    many = SMALL * 2

    def rows(first: int, note: str) -> dict[Any, Any]:
        return {(n,): codec.row(raw(row(n, note))) for n in range(first, first + many)}

    def gone(first: int) -> dict[Any, Any]:
        return {(n,): None for n in range(first, first + many)}

    for images in (
        rows(0, "old") | rows(many, "old"),
        gone(0) | rows(many, "new"),
        gone(many),
        rows(0, "back"),
        gone(5 * many),
    ):
        applier.apply(codec.pack(KeyedBatch(images=images, fresh=False)))
    target.commit()
    assert {k: v[0] for k, v in contents(target).items()} == dict.fromkeys(range(many), "back")


def test_a_large_batch_after_one_that_was_rolled_back(target: psycopg.Connection) -> None:
    """With its savepoint went the stages that it had made."""
    create(target)
    target.autocommit = False
    codec = RowCodec(table(), "mysql", "postgres")
    applier = TableApplier(target, codec, 1, unique=False)
    batch = codec.pack(KeyedBatch({(n,): codec.row(raw(row(n, "a"))) for n in range(SMALL * 2)}, fresh=False))
    with target.transaction(force_rollback=True):
        applier.apply(batch)
    applier.undone()
    applier.apply(batch)
    assert len(contents(target)) == SMALL * 2
    target.rollback()
