"""What the reader makes of a change log: whole transactions, no repetition, no time travel, nothing unnoticed."""

import queue
from collections.abc import Collection, Sequence

import msgspec
import pytest

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import (
    CdcError,
    IntegrityError,
    ResyncRequiredError,
    TornLogError,
    UnsupportedChangeError,
)
from cdc_pipelines.replication.pipeline import Apply
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.stream.batches import (
    AtBarrier,
    Commit,
    Failed,
    Item,
    KeyedBatch,
    Learn,
    Part,
    Redefine,
    Truncate,
)
from cdc_pipelines.replication.stream.overlap import Overlap, TableOverlap
from cdc_pipelines.replication.stream.reader import LogReader
from cdc_pipelines.replication.stream.rows import RowCodec
from cdc_pipelines.replication.stream.schema_event import Rules
from tests.unit.log_records import UUID, FakeClient, Log, gtid

INT = Column("id", "bigint", "bigint", nullable=False)
TEXT = Column("v", "varchar", "varchar(9)", length=9)
KEYED = MappedTable(
    Table("shop", "t", (INT, TEXT), ("id",)),
    "public",
    "t",
    (MappedColumn(INT, "id", "bigint"), MappedColumn(TEXT, "v", "varchar(9)")),
)
KEYLESS = MappedTable(
    Table("shop", "k", (INT, TEXT)),
    "public",
    "k",
    (MappedColumn(INT, "id", "bigint"), MappedColumn(TEXT, "v", "varchar(9)")),
)
UNIQUE = MappedTable(Table("shop", "q", (INT, TEXT), ("id",), key_index="u"), "public", "q", KEYED.columns)
NEW_KEY, OLD_KEY = [("__debezium.newkey", b"{}")], [("__debezium.oldkey", b"{}")]
COLUMNS = [{"name": "id", "typeName": "BIGINT"}, {"name": "v", "typeName": "VARCHAR", "length": 9}]


def at(n: int) -> MySqlPosition:
    return MySqlPosition("binlog.000001", n * 1000 + 500, f"{UUID}:1-{n}" if n else f"{UUID}:1", "s")


def read(
    log: Log,
    *,
    start: int = 1,
    overlap: Overlap | None = None,
    stop_at: MySqlPosition | None = None,
    position: MySqlPosition | None = None,
    marks: int = 0,
    batch: int = 3,
    detached: Collection[str] = (),
    end: int | None = None,
    careful_until: int = 0,
    tables: Sequence[MappedTable] = (KEYED, KEYLESS),
    rules: Rules | None = None,
    statements: tuple[str, set[str]] = ("", set()),
    **limits: float,
) -> list[Item]:
    """All items that the log gives, from transaction `start` (applied) on; ends with the reader's own end."""
    client = FakeClient(log.records, batch, marks)
    reader = LogReader(
        client,
        database="shop",
        pair=("mysql", "postgres"),
        tables=list(tables),
        known={},
        offset=0,
        position=position or at(start),
        overlap=overlap or Overlap({}),
        limits=Apply(**({"idle_commit_seconds": 0.05} | limits)),
        stop_at=stop_at,
        detached=detached,
        end=end,
        careful_until=careful_until,
        rules=rules,
        statements=statements,
    )
    reader.start()
    items: list[Item] = []
    while client.idle_s < 0.15 or not reader.queue.empty():  # until long after the idle commit
        try:
            item = reader.queue.get(timeout=0.02)
        except queue.Empty:
            assert reader.is_alive()
            continue
        items.append(item)
        if isinstance(item, Failed | AtBarrier):
            break
    reader.close()
    reader.join(5)
    return items


def applied(items: list[Item]) -> dict[tuple[str, int], str | None]:
    """The last image per (table, id) of everything before the last Commit; fails where a part was never committed."""
    state: dict[tuple[str, int], str | None] = {}
    pending: list[Part] = []
    for item in items:
        if isinstance(item, Part):
            pending.append(item)
        if isinstance(item, Commit):
            for part in pending:
                for name, batch in part.tables.items():
                    assert isinstance(batch, KeyedBatch)
                    for key, row in batch.images.items():
                        state[name, key[0]] = msgspec.structs.astuple(row)[1] if row is not None else None
            pending = []
    return state


def failure(items: list[Item]) -> CdcError:
    assert isinstance(items[-1], Failed), items
    assert isinstance(items[-1].error, CdcError), items[-1].error
    return items[-1].error


def test_changes_are_folded_to_the_last_image_per_key() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}), ("u", "t", {"id": 1, "v": "a"}, {"id": 1, "v": "b"}))
    log.transaction(3, ("c", "t", None, {"id": 2, "v": "x"}), ("d", "t", {"id": 2, "v": "x"}, None))
    items = read(log)
    assert applied(items) == {("t", 1): "b", ("t", 2): None}
    last = [i for i in items if isinstance(i, Commit)][-1]
    assert last.next_offset == len(log.records)
    assert MySqlPosition.from_json(last.position).gtids == f"{UUID}:1-3"


def test_rows_that_can_not_be_rendered_stop_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(codec: RowCodec, batch: KeyedBatch) -> None:
        raise ValueError("no such text")

    monkeypatch.setattr(RowCodec, "pack", broken)
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    (only,) = read(log)
    assert isinstance(only, Failed)
    assert str(only.error) == "no such text"


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


def test_transactions_applied_before_are_dropped() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "old"}))
    log.transaction(3, ("c", "t", None, {"id": 2, "v": "new"}))
    assert applied(read(log, start=2)) == {("t", 2): "new"}


def test_a_stretch_sent_twice_inside_a_transaction_is_dropped() -> None:
    log = Log()
    log.begin(2)
    for order in (1, 2, 1, 2, 3):
        log.row(2, "c", "t", after={"id": order, "v": "a"}, order=order, row=order)
    log.end(2, 3)
    items = read(log)
    assert applied(items) == {("t", n): "a" for n in (1, 2, 3)}
    assert sum(i.events for i in items if isinstance(i, Commit)) == 3


def test_a_repeated_transaction_and_end_are_dropped() -> None:
    log = Log()
    for _ in range(2):
        log.transaction(2, ("c", "k", None, {"id": 1, "v": "a"}))
    log.end(2, 1)
    assert sum(i.events for i in read(log) if isinstance(i, Commit)) == 1


@pytest.mark.parametrize("with_gtids", [True, False])
def test_an_end_sent_again_to_a_reader_that_never_saw_its_rows_is_dropped(with_gtids: bool) -> None:
    """The connector was restarted right behind a transaction's END, and the reader began between the two."""
    log = Log(with_gtids=with_gtids)
    log.end(2, 1)
    log.transaction(3, ("c", "t", None, {"id": 2, "v": "new"}))
    position = at(2) if with_gtids else MySqlPosition("binlog.000001", 2500, "", "s")
    assert applied(read(log, position=position)) == {("t", 2): "new"}


def test_fewer_rows_than_announced_stop_the_stream() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    log.begin(3)
    log.row(3, "c", "t", after={"id": 2, "v": "a"})
    log.end(3, 2)
    items = read(log)
    assert isinstance(failure(items), ResyncRequiredError)
    assert set(applied(items)) <= {("t", 1)}


def test_rows_announced_by_an_end_that_never_came_stop_the_stream() -> None:
    log = Log()
    log.begin(2)
    log.end(2, 1)
    assert isinstance(failure(read(log)), ResyncRequiredError)


def test_a_hole_in_the_rows_of_a_transaction_stops_the_stream() -> None:
    log = Log()
    log.begin(2)
    log.row(2, "c", "t", after={"id": 1, "v": "a"}, order=1)
    log.row(2, "c", "t", after={"id": 3, "v": "a"}, order=3)
    assert "row 2 is missing" in failure(read(log)).message


def test_rows_that_never_end_stop_the_stream() -> None:
    log = Log()
    log.begin(2)
    log.row(2, "c", "t", after={"id": 1, "v": "a"})
    log.transaction(3, ("c", "t", None, {"id": 2, "v": "a"}))
    assert isinstance(failure(read(log)), IntegrityError)


@pytest.mark.parametrize("sent", [3, 4, 5])
def test_rows_that_come_again_under_new_numbers(sent: int) -> None:
    """Debezium's client connected again after `sent` rows: no second BEGIN, and the numbering goes on."""
    rows = [
        ("c", {"after": {"id": 1, "v": "a"}, "pos": 100, "row": 0}),
        ("c", {"after": {"id": 1, "v": "a"}, "pos": 100, "row": 1}),
        ("d", {"before": {"id": 1, "v": "a"}, "pos": 200, "headers": NEW_KEY}),
        ("c", {"after": {"id": 2, "v": "a"}, "pos": 200, "headers": OLD_KEY}),
        ("c", {"after": {"id": 1, "v": "a"}, "pos": 300, "row": 0}),
    ]
    log = Log()
    log.begin(2)
    for order, (op, row) in enumerate([*rows[:sent], *rows], 1):
        log.row(2, op, "k", order=order, **row)
    log.end(2, sent + len(rows))
    (part,) = [i for i in read(log) if isinstance(i, Part)]
    changes = part.tables["k"].changes  # type: ignore[union-attr]
    assert [(before and before.c0, after and after.c0) for before, after in changes] == [
        (None, 1), (None, 1), (1, None), (None, 2), (None, 1),
    ]  # fmt: skip


def broken_off(*, rows: int, with_gtids: bool = True) -> Log:
    """The connector was deleted in transaction 3; its successor begins at 2, which was sent already."""
    log = Log(with_gtids=with_gtids)
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    log.begin(3)
    for n in range(1, rows + 1):
        log.row(3, "c", "t", after={"id": 10 + n, "v": "b"}, order=n)
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    return log


@pytest.mark.parametrize("with_gtids", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_transaction_that_broke_off_comes_again(rows: int, with_gtids: bool) -> None:
    log = broken_off(rows=rows, with_gtids=with_gtids)
    start = at(1) if with_gtids else MySqlPosition("binlog.000001", 1500, "", "s")
    assert applied(read(log, position=start)) == {("t", 1): "a"}, "half a transaction was committed"
    log.transaction(3, *[("c", "t", None, {"id": 10 + n, "v": "b"}) for n in (1, 2)])
    items = read(log, position=start)
    assert applied(items) == {("t", 1): "a", ("t", 11): "b", ("t", 12): "b"}
    assert sum(i.events for i in items if isinstance(i, Part)) == 3, "something was applied twice"


@pytest.mark.parametrize("with_gtids", [True, False])
def test_several_transactions_that_come_again_are_dropped(with_gtids: bool) -> None:
    log = Log(with_gtids=with_gtids)
    for _ in range(2):
        for n in (2, 3, 4):
            log.transaction(n, ("c", "t", None, {"id": n, "v": "a"}))
    start = at(1) if with_gtids else MySqlPosition("binlog.000001", 1500, "", "s")
    items = read(log, position=start)
    assert sum(i.events for i in items if isinstance(i, Part)) == 3, "something was applied twice"
    last = MySqlPosition.from_json([i for i in items if isinstance(i, Commit)][-1].position)
    assert last.covers(Place(None, "binlog.000001", 4000)), "the position went back"


def mariadb_truncate(log: Log, n: int) -> None:
    """MariaDB begins a truncate, as any DDL, and never ends it."""
    log.begin(n)
    log.truncate(n, "t")


@pytest.mark.parametrize("broken_off", [False, True])
def test_a_truncate_that_comes_again_is_dropped(broken_off: bool) -> None:
    log = Log()
    row = ("c", "t", None, {"id": 1, "v": "a"})
    mariadb_truncate(log, 2)
    log.transaction(3, row)
    if broken_off:
        log.begin(4)
        log.row(4, "c", "t", after={"id": 2, "v": "b"})
    mariadb_truncate(log, 2)
    log.transaction(3, row)
    log.transaction(4, ("c", "t", None, {"id": 2, "v": "b"}))
    items = read(log)
    assert len([i for i in items if isinstance(i, Truncate)]) == 1, "the row behind it would be gone"
    assert applied(items) == {("t", 1): "a", ("t", 2): "b"}


def test_a_transaction_that_broke_off_and_never_comes_again_stops_the_stream() -> None:
    log = broken_off(rows=1)
    log.transaction(4, ("c", "t", None, {"id": 2, "v": "a"}))
    items = read(log)
    assert "without the END" in failure(items).message
    assert applied(items) == {("t", 1): "a"}


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


def test_an_event_with_an_unknown_column_stops_the_stream() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a", "surprise": 1}))
    assert "surprise" in failure(read(log)).message


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


@pytest.mark.parametrize("begins_at", [1, 2, 3])
def test_a_connector_that_began_anew_further_on_stops_the_stream(begins_at: int) -> None:
    """A schema snapshot at what was read, or before it, is a hand-over's; beyond it, something was left out."""
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    log.ddl(begins_at, "t", COLUMNS, kind="CREATE", snapshot="true")
    log.transaction(4, ("c", "t", None, {"id": 2, "v": "b"}))
    items = read(log)
    if begins_at <= 2:
        assert applied(items) == {("t", 1): "a", ("t", 2): "b"}
    else:
        assert isinstance(failure(items), ResyncRequiredError)
        assert "began anew" in failure(items).message
        assert applied(items) == {("t", 1): "a"}


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
