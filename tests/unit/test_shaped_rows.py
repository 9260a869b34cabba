"""What the reader makes of changes of a table with a filter or soft deletes: rows enter, leave, stay as deleted."""

from typing import Any

import msgspec
import pytest

from cdc_pipelines.replication.catalog import MappedTable, RowRules
from cdc_pipelines.replication.changes.batches import Commit, Item, KeyedBatch, OrderedBatch, Part
from cdc_pipelines.replication.changes.rows import RowCodec
from tests.unit.log_reading import KEYED, KEYLESS, NEW_KEY, OLD_KEY, UNIQUE, read
from tests.unit.log_records import Log

FILTER = RowRules(where="v <> 'out'")
SOFT = RowRules(deletes="soft")
IN, OUT = {"id": 1, "v": "in"}, {"id": 1, "v": "out"}


def with_rows(table: MappedTable, rows: RowRules) -> MappedTable:
    return msgspec.structs.replace(table, rows=rows)


def batches(items: list[Item], table: str) -> list[Any]:
    return [part.tables[table] for part in items if isinstance(part, Part) and table in part.tables]


def images(table: MappedTable, *changes: tuple, headers: tuple = (None, None, None)) -> dict[Any, Any]:
    """The texts that a transaction's changes (op, before, after) leave per key; None is a key that goes."""
    log = Log()
    log.begin(2)
    for order, ((op, before, after), marks) in enumerate(zip(changes, headers, strict=False), 1):
        log.row(2, op, table.name, before=before, after=after, order=order, row=order, headers=marks)
    log.end(2, len(changes))
    items = read(log, tables=[table])
    assert isinstance(items[-1], Commit)
    assert items[-1].next_offset == len(log.records)
    codec = RowCodec(table, "mysql", "postgres")
    return {
        key[0]: None if row is None else codec.texts(row)
        for batch in batches(items, table.name) for key, row in batch.images.items()
    }


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (("c", None, IN), {1: ["1", "in"]}),
        (("c", None, OUT), {}),
        (("u", IN, IN), {1: ["1", "in"]}),
        (("u", OUT, IN), {1: ["1", "in"]}),
        (("u", IN, OUT), {1: None}),
        (("u", OUT, OUT), {}),
        (("d", IN, None), {1: None}),
        (("d", OUT, None), {}),
        (("u", IN, {"id": 1, "v": None}), {1: None}),  # unknown is not true
    ],
)
def test_a_row_enters_and_leaves_the_filter(change: tuple, left: dict) -> None:
    assert images(with_rows(KEYED, FILTER), change) == left


def test_a_key_change_across_the_filter_is_two_rows() -> None:
    there, gone = {"id": 2, "v": "in"}, {"id": 2, "v": "out"}
    marks = (NEW_KEY, OLD_KEY)
    table = with_rows(KEYED, FILTER)
    assert images(table, ("d", IN, None), ("c", None, gone), headers=marks) == {1: None}
    assert images(table, ("d", OUT, None), ("c", None, there), headers=marks) == {2: ["2", "in"]}
    unique = with_rows(UNIQUE, FILTER)
    assert images(unique, ("u", IN, there)) == {1: None, 2: ["2", "in"]}
    assert images(unique, ("u", IN, gone)) == {1: None}
    assert images(unique, ("u", OUT, there)) == {2: ["2", "in"]}


def test_a_row_that_enters_is_new_to_the_target() -> None:
    log = Log()
    log.transaction(2, ("u", "t", OUT, IN))
    (batch,) = batches(read(log, tables=[with_rows(KEYED, FILTER)]), "t")
    assert isinstance(batch, KeyedBatch)
    assert batch.fresh


def test_a_transaction_of_rows_outside_the_filter_is_done_with() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, OUT), ("u", "t", OUT, OUT))
    items = read(log, tables=[with_rows(KEYED, FILTER)])
    assert batches(items, "t") == []
    assert [i.next_offset for i in items if isinstance(i, Commit)][-1] == len(log.records)


def test_the_filter_of_a_table_without_a_key() -> None:
    log = Log()
    log.transaction(2, ("u", "k", IN, OUT), ("u", "k", OUT, IN), ("u", "k", OUT, OUT), ("u", "k", IN, IN))
    table = with_rows(KEYLESS, FILTER)
    (batch,) = batches(read(log, tables=[table]), "k")
    assert isinstance(batch, OrderedBatch)
    row = RowCodec(table, "mysql", "postgres").row(msgspec.Raw(msgspec.json.encode(IN)))
    shown = [tuple(each and each.c1 for each in change) for change in batch.changes]
    assert shown == [("in", None), (None, "in"), ("in", "in")]
    assert row.c1 == "in"


DELETED = "1970-01-01 00:00:02.000+00:00"  # the log's time of the second transaction


def test_a_soft_delete_keeps_the_last_image_with_its_time() -> None:
    table = with_rows(KEYED, SOFT)
    assert images(table, ("c", None, IN), ("d", IN, None)) == {1: ["1", "in", DELETED]}
    assert images(table, ("u", IN, OUT), ("d", OUT, None)) == {1: ["1", "out", DELETED]}


def test_a_row_that_comes_back_is_no_deleted_one() -> None:
    assert images(with_rows(KEYED, SOFT), ("d", IN, None), ("c", None, OUT)) == {1: ["1", "out", None]}


def test_a_key_change_leaves_a_deleted_row_behind() -> None:
    there = {"id": 2, "v": "in"}
    left = {1: ["1", "in", DELETED], 2: ["2", "in", None]}
    assert images(with_rows(KEYED, SOFT), ("d", IN, None), ("c", None, there), headers=(NEW_KEY, OLD_KEY)) == left
    assert images(with_rows(UNIQUE, SOFT), ("u", IN, there)) == left


def test_a_row_that_leaves_the_filter_is_kept_as_it_was_in_it() -> None:
    table = with_rows(KEYED, RowRules("v <> 'out'", "soft"))
    assert images(table, ("u", IN, OUT)) == {1: ["1", "in", DELETED]}
    assert images(table, ("u", IN, OUT), ("d", OUT, None)) == {1: ["1", "in", DELETED]}


def test_a_column_that_only_the_filter_asks_goes_no_further() -> None:
    v = KEYED.columns[1]
    narrow = msgspec.structs.replace(
        KEYED, columns=KEYED.columns[:1], whole=False, rows=RowRules("v <> 'out'", "soft", beside=(v,))
    )
    assert images(narrow, ("c", None, IN)) == {1: ["1", None]}
    assert images(narrow, ("u", IN, OUT)) == {1: ["1", DELETED]}
    codec = RowCodec(narrow, "mysql", "postgres")
    row = codec.row(msgspec.Raw(msgspec.json.encode(IN)))
    assert codec.copy_text([row, codec.gone(row, 2000)]) == b"1\t\\N\n1\t" + DELETED.encode() + b"\n"
    assert narrow.captured == {"id", "v"}
