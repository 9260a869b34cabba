"""Where the reader must not go on, and where a run must not end."""

import json
import time

import pytest

from cdc_pipelines.replication.changes.batches import (
    Commit,
    Failed,
    Item,
    KeyedBatch,
)
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import (
    IntegrityError,
    ResyncRequiredError,
    UnsupportedChangeError,
)
from cdc_pipelines.replication.pipeline import Apply
from cdc_pipelines.replication.stream.overlap import Overlap
from cdc_pipelines.replication.stream.reader import LogReader
from tests.unit.log_reading import COLUMNS, KEYED, applied, at, failure, read
from tests.unit.log_records import FakeClient, Log, Record


def test_a_pause_inside_a_transaction_ends_no_run() -> None:
    """The applier is busy, so that a whole transaction is still gathered when the next one has come in part."""
    log = Log()
    for n in (2, 3):
        log.transaction(n, ("c", "t", None, {"id": n, "v": "a"}))
    log.begin(4)
    log.row(4, "c", "t", after={"id": 4, "v": "half"})
    client = FakeClient(log.records)
    reader = LogReader(
        client, database="shop", pair=("mysql", "postgres"), tables=[KEYED], known={}, offset=0, position=at(1),
        overlap=Overlap({}), limits=Apply(idle_commit_seconds=0.05),
    )
    reader.start()
    while client.idle_s < 0.3:  # long past the idle commit
        time.sleep(0.01)
    items: list[Item] = []
    while not reader.queue.empty():
        items.append(reader.queue.get())
        time.sleep(0.05)  # the reader may have been waiting for room
    reader.close()
    reader.join(5)
    assert ("t", 2) in applied(items)
    assert ("t", 4) not in applied(items), "half a transaction was committed"


def test_the_begin_of_a_transaction_alone_moves_nothing() -> None:
    """A reader that begins behind it would not know any more that an END must come."""
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    log.begin(3)
    commits = [i for i in read(log) if isinstance(i, Commit)]
    assert commits
    assert all(i.next_offset <= 3 for i in commits)


def test_an_end_alone_of_a_transaction_that_was_not_applied_stops_the_stream() -> None:
    """Neither its BEGIN nor its rows are in the log: the broker lost, or refused, all of them."""
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    log.end(3, 1)
    items = read(log)
    assert isinstance(failure(items), ResyncRequiredError)
    assert "1 rows were announced and 0 are in the change log" in failure(items).message
    assert all(i.next_offset <= 3 for i in items if isinstance(i, Commit))


def test_an_event_without_one_of_the_columns_stops_the_stream() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1}))
    error = failure(read(log))
    assert isinstance(error, UnsupportedChangeError)
    assert "table t" in error.message


def test_a_record_that_can_not_be_read_stops_the_stream() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    log.add({"op": ["not", "ours"]})
    log.transaction(3, ("c", "t", None, {"id": 2, "v": "a"}))
    items = read(log)
    error = failure(items)
    assert isinstance(error, IntegrityError)
    assert "record 3" in error.message
    assert applied(items) == {("t", 1): "a"}


@pytest.mark.parametrize("with_gtids", [True, False])
def test_rows_of_an_xa_transaction_stop_the_stream(with_gtids: bool) -> None:
    """They come where it is prepared, outside of any transaction: after the first, all would pass for repeated ones."""
    log = Log(with_gtids=with_gtids)
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    for n in (2, 3):
        log.row(3, "c", "t", after={"id": n, "v": "xa"}, row=n - 2)
        log.records[-1] = Record(len(log.records) - 1, json.loads(log.records[-1].value()) | {"transaction": None})
    log.transaction(4, ("c", "t", None, {"id": 4, "v": "behind"}))
    position = at(1) if with_gtids else MySqlPosition("binlog.000001", 1500, "", "s")
    items = read(log, position=position)
    error = failure(items)
    assert isinstance(error, UnsupportedChangeError)
    assert "t was changed in an XA transaction" in error.message
    assert applied(items) == {("t", 1): "a"}
    # After a resync it lies before the position, and is in the copy or was rolled back.
    position = at(3) if with_gtids else MySqlPosition("binlog.000001", 3500, "", "s")
    assert applied(read(log, position=position)) == {("t", 4): "behind"}


def test_rows_that_can_not_be_rendered_stop_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(codec: RowCodec, batch: KeyedBatch) -> None:
        raise ValueError("no such text")

    monkeypatch.setattr(RowCodec, "pack", broken)
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    (only,) = read(log)
    assert isinstance(only, Failed)
    assert str(only.error) == "no such text"


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


def test_an_event_with_an_unknown_column_stops_the_stream() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a", "surprise": 1}))
    assert "surprise" in failure(read(log)).message


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
