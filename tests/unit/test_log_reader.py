"""What the reader makes of a change log: whole transactions, no time travel, nothing unnoticed."""

import pytest

from cdc_pipelines.replication.changes.batches import AtBarrier, Commit, Item, Learn, Part, Redefine, Truncate
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import ResyncRequiredError, TornLogError, UnsupportedChangeError
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.stream.overlap import Overlap, TableOverlap
from tests.unit.log_reading import COLUMNS, NEW_KEY, OLD_KEY, UNIQUE, applied, at, failure, read
from tests.unit.log_records import UUID, Log, gtid


def test_changes_are_folded_to_the_last_image_per_key() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}), ("u", "t", {"id": 1, "v": "a"}, {"id": 1, "v": "b"}))
    log.transaction(3, ("c", "t", None, {"id": 2, "v": "x"}), ("d", "t", {"id": 2, "v": "x"}, None))
    items = read(log)
    assert applied(items) == {("t", 1): "b", ("t", 2): None}
    last = [i for i in items if isinstance(i, Commit)][-1]
    assert last.next_offset == len(log.records)
    assert MySqlPosition.from_json(last.position).gtids == f"{UUID}:1-3"


def test_a_transaction_without_its_end_is_not_committed() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    log.begin(3)
    log.row(3, "c", "t", after={"id": 2, "v": "b"})
    assert applied(read(log)) == {("t", 1): "a"}


def test_a_large_transaction_goes_out_in_parts_and_one_commit() -> None:
    log = Log()
    log.transaction(2, *[("c", "t", None, {"id": n, "v": "a"}) for n in range(25)])
    items = read(log, run_events=10)
    parts = [i for i in items if isinstance(i, Part) and i.events]
    with_rows = [i for i in items if isinstance(i, Commit) and i.events]
    assert len(parts) == 3
    assert len(with_rows) == 1
    assert with_rows[0].events == 25


def test_a_key_change_is_a_delete_and_an_insert() -> None:
    log = Log()
    log.begin(2)
    log.row(2, "d", "t", before={"id": 1, "v": "a"}, order=1, headers=NEW_KEY)
    log.row(2, "c", "t", after={"id": 9, "v": "a"}, order=2, headers=OLD_KEY)
    log.end(2, 2)
    assert applied(read(log)) == {("t", 1): None, ("t", 9): "a"}


@pytest.mark.parametrize("next_row", ["end", "delete"])
def test_a_torn_key_change_stops_the_stream(next_row: str) -> None:
    log = Log()
    log.begin(2)
    log.row(2, "d", "t", before={"id": 1, "v": "a"}, order=1, headers=NEW_KEY)
    if next_row == "end":
        log.end(2, 1)
    else:
        log.row(2, "d", "t", before={"id": 5, "v": "a"}, order=2)
    items = read(log)
    assert "only the first half" in failure(items).message
    assert isinstance(failure(items), TornLogError), "it can be read again from the source"
    assert applied(items) == {}


def test_a_key_change_that_comes_again_from_before_it_is_whole() -> None:
    """The connector was restarted between the halves, and begins again at an earlier row of the transaction."""
    log = Log()
    log.begin(2)
    log.row(2, "u", "t", before={"id": 5, "v": "a"}, after={"id": 5, "v": "b"}, order=1)
    log.row(2, "d", "t", before={"id": 1, "v": "a"}, order=2, headers=NEW_KEY)
    log.row(2, "u", "t", before={"id": 5, "v": "a"}, after={"id": 5, "v": "b"}, order=1)
    log.row(2, "d", "t", before={"id": 1, "v": "a"}, order=2, headers=NEW_KEY)
    log.row(2, "c", "t", after={"id": 9, "v": "a"}, order=3, headers=OLD_KEY)
    log.end(2, 3)
    assert applied(read(log)) == {("t", 5): "b", ("t", 1): None, ("t", 9): "a"}


def test_what_a_chunk_holds_is_not_applied_again() -> None:
    log = Log()
    log.transaction(
        2,
        ("u", "t", {"id": 1, "v": "?"}, {"id": 1, "v": "in chunk 1"}),
        ("u", "t", {"id": 10, "v": "?"}, {"id": 10, "v": "in chunk 2"}),
    )
    log.transaction(
        3,
        ("u", "t", {"id": 1, "v": "?"}, {"id": 1, "v": "new"}),
        ("u", "t", {"id": 10, "v": "?"}, {"id": 10, "v": "in chunk 2"}),
    )
    log.transaction(4, ("u", "t", {"id": 10, "v": "?"}, {"id": 10, "v": "new"}))
    overlap = Overlap({"t": TableOverlap([(None, (10,)), ((10,), None)], [at(2), at(3)])})
    items = read(log, overlap=overlap)
    assert applied(items) == {("t", 1): "new", ("t", 10): "new"}
    assert sum(i.events for i in items if isinstance(i, Part)) == 2, "what the chunks hold was applied again"
    assert overlap.passed


def test_a_changed_unique_key_that_the_connector_does_not_take_for_the_key_leaves_no_old_row() -> None:
    log = Log()
    log.transaction(2, ("u", "q", {"id": 1, "v": "a"}, {"id": 5, "v": "a"}))
    assert applied(read(log, tables=[UNIQUE])) == {("q", 1): None, ("q", 5): "a"}
    overlap = Overlap({"q": TableOverlap([(None, (3,)), ((3,), None)], [at(2), at(1)])})
    items = read(log, tables=[UNIQUE], overlap=overlap)
    assert applied(items) == {("q", 5): "a"}, "the chunk of the old key has seen the change"


def test_a_truncate_reaches_only_chunks_copied_before_it() -> None:
    log = Log()
    log.truncate(3, "t")
    log.truncate(5, "t")
    overlap = Overlap({"t": TableOverlap([(None, (10,)), ((10,), None)], [at(2), at(4)])})
    assert [i for i in read(log, overlap=overlap) if isinstance(i, Truncate)] == [
        Truncate("t", [(None, (10,))], at_ms=3000),
        Truncate("t", None, at_ms=5000),
    ]


@pytest.mark.parametrize("batch", [3, 100])
def test_the_reader_stops_exactly_at_a_barrier(batch: int) -> None:
    log = Log()
    for n in (2, 3, 4):
        log.transaction(n, ("c", "t", None, {"id": n, "v": "a"}))
    items = read(log, stop_at=at(3), batch=batch)
    assert isinstance(items[-1], AtBarrier)
    assert applied(items) == {("t", 2): "a", ("t", 3): "a"}


def test_other_tables_and_databases_only_move_the_position() -> None:
    log = Log()
    log.transaction(2, ("c", "not_replicated", None, {"x": 1}))
    log.begin(3)
    log.end(3, 0)
    items = read(log)
    assert applied(items) == {}
    last = [i for i in items if isinstance(i, Commit)][-1]
    assert MySqlPosition.from_json(last.position).covers(Place(gtid(3), "binlog.000001", 3000))


def test_transactions_that_the_log_leaves_out_leave_no_holes_in_the_position() -> None:
    log = Log()
    for n in (3, 7, 20):
        log.transaction(n, ("c", "t", None, {"id": n, "v": "a"}))
    position = MySqlPosition("binlog.000001", 1500, f"{UUID}:1", UUID)
    last = [i for i in read(log, position=position) if isinstance(i, Commit)][-1]
    assert MySqlPosition.from_json(last.position).gtids == f"{UUID}:1-20"


def test_a_log_that_is_read_to_its_end_is_done_with_to_its_end() -> None:
    """Also where the broker's marks come last, which no reader ever sees: who waits for the end must not wait on."""
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    last = [i for i in read(log, marks=1) if isinstance(i, Commit)][-1]
    assert last.next_offset == len(log.records) + 1


def test_mere_progress_waits_and_what_the_applier_learns_does_not() -> None:
    """It opens a transaction on the target. In a new log it is all there is, and who starts waits for its commit."""
    idle, new = Log(), Log()
    idle.heartbeat()
    new.ddl(1, "t", COLUMNS, snapshot="true", kind="CREATE")
    new.heartbeat()
    assert read(idle, idle_commit_seconds=60) == []
    kinds = [type(item).__name__ for item in read(new, idle_commit_seconds=60)]
    assert (kinds[0], kinds[-1]) == ("Learn", "Commit")


def test_the_end_of_the_log_inside_a_transaction_moves_nothing() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    log.begin(3)
    log.row(3, "c", "t", after={"id": 2, "v": "b"})
    assert all(i.next_offset <= 3 for i in read(log, marks=1) if isinstance(i, Commit))


@pytest.mark.parametrize("table", ["t", "not_ours"])
def test_rows_of_an_xa_transaction_stop_the_stream(table: str) -> None:
    """They stand outside of BEGIN and END. Those of other tables are passed."""
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    for row in range(2):
        after = {"id": 10 + row, "v": "xa"}
        log.add({"op": "c", "after": after, "source": log.source(3, table, row=row), "transaction": None})
    log.transaction(4, ("c", "t", None, {"id": 2, "v": "b"}))
    items = read(log)
    if table == "t":
        assert isinstance(failure(items), UnsupportedChangeError)
        assert "XA" in failure(items).message
        assert applied(items) == {("t", 1): "a"}
    else:
        assert applied(items) == {("t", 1): "a", ("t", 2): "b"}


def skipped(items: list[Item]) -> dict[str, int]:
    """Per table the changes that were passed by."""
    found: dict[str, int] = {}
    for item in items:
        if isinstance(item, Part):
            for table, counts in item.counts.items():
                found[table] = found.get(table, 0) + counts.skipped
    return {table: count for table, count in found.items() if count}


def test_a_table_that_stands_apart_is_passed_by_and_its_changes_are_counted() -> None:
    """Whatever happens to it; END's count of rows includes its own, and the other tables go on."""
    log = Log()
    log.ddl(1, "t", COLUMNS, snapshot="true", kind="CREATE")
    log.transaction(
        2,
        ("c", "t", None, {"id": 1, "v": "t", "of another shape": 1}),
        ("c", "k", None, {"id": 1, "v": "k"}),
        ("d", "t", {"id": 2, "v": "t"}, None),
    )
    log.truncate(3, "t")
    log.ddl(4, "t", [COLUMNS[0]], text="alter table t drop column v")
    log.ddl(5, "t", [COLUMNS[0]], kind="DROP", text="drop table t")
    log.add({"op": "c", "after": {"id": 1}, "source": log.source(6, "t"), "transaction": None})  # XA
    log.transaction(7, ("c", "k", None, {"id": 2, "v": "k"}))
    items = read(log, detached={"t"})
    changes = [c for i in items if isinstance(i, Part) for b in i.tables.values() for c in b.changes]  # type: ignore[union-attr]
    assert [after.c0 for _, after in changes] == [1, 2]
    assert {name for i in items if isinstance(i, Part) for name in i.tables} == {"k"}
    assert skipped(items) == {"t": 4}
    assert not [i for i in items if isinstance(i, Redefine | Truncate)]
    assert [i.table for i in items if isinstance(i, Learn)] == ["t", "t"], "what the log said of its columns is kept"
    assert MySqlPosition.from_json([i for i in items if isinstance(i, Commit)][-1].position).gtids == f"{UUID}:1-7"


def test_of_a_table_that_stands_apart_rows_may_not_be_missing_either() -> None:
    log = Log()
    log.begin(2)
    log.row(2, "c", "t", after={"id": 1, "v": "a"})
    log.end(2, 2)
    assert isinstance(failure(read(log, detached={"t"})), ResyncRequiredError)


def test_of_a_table_that_stands_apart_what_comes_again_is_counted_once() -> None:
    log = Log()
    for _ in range(2):
        log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    log.begin(3)
    for order in (1, 2, 1, 2):
        log.row(3, "c", "t", after={"id": order, "v": "a"}, order=order, row=order)
    log.end(3, 2)
    assert skipped(read(log, detached={"t"})) == {"t": 3}


def test_a_reader_ends_where_it_is_told_to() -> None:
    """At an offset where another reader ended a run, whatever the log holds behind it; and there exactly."""
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    end = len(log.records)
    log.transaction(3, ("c", "t", None, {"id": 2, "v": "b"}))
    for batch in (1, 3, 100):
        items = read(log, end=end, batch=batch)
        assert isinstance(items[-1], AtBarrier)
        assert applied(items) == {("t", 1): "a"}
        last = [i for i in items if isinstance(i, Commit)][-1]
        assert (last.next_offset, MySqlPosition.from_json(last.position).gtids) == (end, f"{UUID}:1-2")


def test_a_reader_ends_at_the_end_of_the_log_that_it_is_told() -> None:
    """What is between the last record and the end is marks of the broker's, which nobody delivers."""
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    items = read(log, end=len(log.records) + 2, marks=2)
    assert isinstance(items[-1], AtBarrier)
    assert [i for i in items if isinstance(i, Commit)][-1].next_offset == len(log.records) + 2


def test_what_came_before_a_table_was_copied_may_have_other_columns() -> None:
    """A table that is copied again with fewer columns: its events had all of them until then."""
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a", "secret": "s"}))
    log.transaction(3, ("c", "t", None, {"id": 2, "v": "b"}))
    overlap = Overlap({"t": TableOverlap([(None, (5,)), ((5,), None)], [at(2), at(2)])})
    assert applied(read(log, overlap=overlap)) == {("t", 2): "b"}
    one_earlier = Overlap({"t": TableOverlap([(None, (5,)), ((5,), None)], [at(2), at(1)])})
    assert isinstance(failure(read(log, overlap=one_earlier)), UnsupportedChangeError)
