"""What the reader makes of changes of a table that keeps its history: one version per row and transaction."""

from typing import Any

import msgspec
import pytest

from cdc_pipelines.replication.catalog import MappedTable, RowRules
from cdc_pipelines.replication.changes import versions
from cdc_pipelines.replication.changes.batches import Commit, HistoryBatch, HistoryCopyBatch, Part, Truncate
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.column_shape import ColumnShape
from tests.unit.log_reading import KEYED, NEW_KEY, OLD_KEY, UNIQUE, read
from tests.unit.log_records import Log

A, B, C, OUT = ({"id": 1, "v": v} for v in ("a", "b", "c", "out"))
TWO = {"id": 2, "v": "a"}


def kept(table: MappedTable = KEYED, **rules: Any) -> MappedTable:
    return msgspec.structs.replace(table, rows=RowRules(history=True, **rules))


def batches(log: Log, table: MappedTable, **limits: Any) -> list[Any]:
    items = read(log, tables=[table], **limits)
    assert isinstance(items[-1], Commit)
    return [part.tables[table.name] for part in items if isinstance(part, Part) and table.name in part.tables]


def told(log: Log, table: MappedTable | None = None) -> dict[int, list[tuple[int, str | None]]]:
    """Per id (milliseconds, value) of its versions; no value where the row went."""
    found: dict[int, list[tuple[int, str | None]]] = {}
    for batch in batches(log, table or kept()):
        assert isinstance(batch, HistoryBatch)
        for (key,), each in batch.versions.items():
            found.setdefault(key, []).extend((batch.times[n], row and row.c1) for n, row in each)
    return found


def test_each_transaction_leaves_one_version_of_a_row_with_the_time_of_its_commit() -> None:
    log = Log()
    for n, changes in ((2, [("c", None, A), ("u", A, B)]), (3, [("u", B, C)]), (4, [("d", C, None)])):
        log.begin(n)
        for order, (op, before, after) in enumerate(changes, 1):
            log.row(n, op, "t", before=before, after=after, order=order, row=order)
        log.end(n, len(changes), ts_ms=n * 1000 + 500)
    assert told(log) == {1: [(2500, "b"), (3500, "c"), (4500, None)]}


def test_a_row_that_goes_and_comes_back_in_one_transaction_is_one_version() -> None:
    log = Log()
    log.transaction(2, ("d", "t", A, None), ("c", "t", None, B))
    log.transaction(3, ("c", "t", None, TWO), ("d", "t", TWO, None))
    assert told(log) == {1: [(1, "b")], 2: [(1, None)]}


@pytest.mark.parametrize("table", [KEYED, UNIQUE])
def test_another_key_ends_one_row_and_begins_another(table: MappedTable) -> None:
    log = Log()
    log.begin(2)
    if table is UNIQUE:
        log.row(2, "u", table.name, before=A, after=TWO)
    else:
        log.row(2, "d", table.name, before=A, headers=NEW_KEY, order=1, row=0)
        log.row(2, "c", table.name, after=TWO, headers=OLD_KEY, order=2, row=0)
    log.end(2, 1 if table is UNIQUE else 2)
    assert told(log, kept(table)) == {1: [(1, None)], 2: [(1, "a")]}


def test_a_row_that_leaves_the_filter_ends() -> None:
    log = Log()
    log.transaction(2, ("u", "t", OUT, A))
    log.transaction(3, ("u", "t", A, OUT))
    log.transaction(4, ("u", "t", OUT, OUT))
    assert told(log, kept(where="v <> 'out'")) == {1: [(1, "a"), (1, None)]}


def test_a_change_of_what_the_target_does_not_have_is_no_version() -> None:
    masked = msgspec.structs.replace(
        KEYED, columns=(KEYED.columns[0], msgspec.structs.replace(KEYED.columns[1], shape=ColumnShape(truncate=1)))
    )
    long, longer, other = ({"id": 1, "v": v} for v in ("along", "alonger", "b"))
    for table, changes in ((kept(masked), [(long, longer), (longer, other)]), (kept(), [(long, longer)])):
        log = Log()
        for n, (before, after) in enumerate(changes, 2):
            log.transaction(n, ("u", "t", before, after))
        assert told(log, table) == {1: [(1, changes[-1][1]["v"])]}


def test_a_truncate_stands_between_the_versions_with_its_time() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, A))
    log.truncate(3, "t")
    log.transaction(4, ("c", "t", None, A))
    kinds = [i for i in read(log, tables=[kept()]) if not isinstance(i, Commit)]
    assert [type(i) for i in kinds] == [Part, Truncate, Part]
    assert isinstance(kinds[1], Truncate)
    assert kinds[1].at_ms == 3000


def test_a_transaction_in_several_parts_has_one_time_and_its_parts_know_of_each_other() -> None:
    """Its commit is not known when the first part goes out: its first change tells the time."""
    log = Log()
    log.transaction(2, ("c", "t", None, TWO))
    log.begin(3)
    for order, (before, after) in enumerate([(A, B), (B, C), (C, A)], 1):
        log.row(3, "u", "t", before=before, after=after, order=order, row=order)
    log.end(3, 3, ts_ms=9999)
    found = batches(log, kept(), run_events=2)
    # The first part holds a whole transaction and the other's beginning, unless that one went out alone.
    parts = [batch for batch in found if isinstance(batch, HistoryCopyBatch)]
    assert parts[0].goes_on is not None
    assert parts[0].went_before is None
    assert {part.went_before for part in parts[1:]} == {parts[0].goes_on}
    assert parts[-1].goes_on is None
    times = [line.split(b"\t")[2] for part in parts for line in part.lines.splitlines() if line.startswith(b"1\t")]
    assert set(times) == {b"1970-01-01 00:00:03.000+00:00"}


def test_copy_text_of_versions() -> None:
    codec = RowCodec(kept(), "mysql", "postgres")
    row = codec.row(msgspec.Raw(msgspec.json.encode({"id": 1, "v": "a\tb"})))
    batch = HistoryBatch({(1,): [(0, row), (1, None)], (2,): [(1, None)]}, {0: 1000, 1: 2000}, goes_on=1)
    packed = versions.pack(codec, batch)
    assert isinstance(packed, HistoryCopyBatch)
    at = [f"1970-01-01 00:00:0{n}.000+00:00".encode() for n in (1, 2)]
    assert packed.lines == (
        b"1\ta\\tb\t%b\t0\tf\t0\n" % at[0] + b"1\t\\N\t%b\t1\tt\t1\n" % at[1] + b"2\t\\N\t%b\t0\tt\t1\n" % at[1]
    )
