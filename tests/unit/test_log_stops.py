"""Where the reader must not go on, and where a run must not end."""

import json
import time

import pytest

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import CdcError, IntegrityError, ResyncRequiredError, UnsupportedChangeError
from cdc_pipelines.replication.pipeline import Apply
from cdc_pipelines.replication.stream.batches import Commit, Item
from cdc_pipelines.replication.stream.overlap import Overlap
from cdc_pipelines.replication.stream.reader import LogReader
from tests.unit.log_records import FakeClient, Log, Record
from tests.unit.test_log_reader import COLUMNS, KEYED, applied, at, failure, read


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


def described() -> Log:
    """A log whose connector has told the columns of table t."""
    log = Log()
    log.ddl(1, "t", COLUMNS, snapshot="true", kind="CREATE")
    return log


def stopped(log: Log) -> CdcError:
    """What stops the stream there; the row behind it must not be applied."""
    log.transaction(9, ("c", "t", None, {"id": 9, "v": "behind"}))
    items = read(log)
    assert ("t", 9) not in applied(items)
    return failure(items)


def test_another_key_stops_the_stream() -> None:
    log = described()
    log.ddl(2, "t", COLUMNS, key=["id", "v"], text="alter table t drop primary key, add primary key (id, v)")
    assert "has the key (id, v) now" in stopped(log).message


def test_a_dropped_table_stops_the_stream() -> None:
    log = described()
    log.ddl(2, "t", COLUMNS, kind="DROP", text="drop table t")
    assert "was dropped" in stopped(log).message


@pytest.mark.parametrize("text", ["drop database shop", "DROP SCHEMA IF EXISTS `shop`"])
def test_a_dropped_database_stops_the_stream(text: str) -> None:
    """No table is named: made again, they would be filled on top of the old rows."""
    log = described()
    log.ddl(2, "t", COLUMNS, text=text)
    log.records[-1] = Record(len(log.records) - 1, json.loads(log.records[-1].value()) | {"tableChanges": []})
    assert "was dropped with its database" in stopped(log).message


@pytest.mark.parametrize(
    "text",
    [
        "alter table t drop column v, add column v varchar(9)",
        "alter table t drop `V`, add v varchar(9)",
        "alter table t rename column v to id, rename column id to v",
        "alter table t change v w varchar(9), add column v varchar(9)",
        "ALTER TABLE t CHANGE COLUMN `id` v varchar(9), CHANGE v id bigint",
    ],
)
def test_columns_made_anew_in_one_statement_stop_the_stream(text: str) -> None:
    """The table looks as before, and its values changed without a row event."""
    log = described()
    log.ddl(2, "t", COLUMNS, text=text)
    assert "made anew" in stopped(log).message


@pytest.mark.parametrize(
    "text",
    [
        "alter table t drop index v, drop key `i`, drop primary key, add primary key (id)",
        "alter table t drop foreign key f, drop constraint c, alter column v drop default",
        "alter table t comment 'never drop v, nor rename column v to w'",
        "alter table t change v v varchar(9) default 'x' first",
        "alter table t modify v varchar(9) comment 'id'",
        "drop database other",
        "alter table t drop column gone_before_it_was_described",
    ],
)
def test_statements_that_only_look_like_it_are_passed(text: str) -> None:
    log = described()
    log.ddl(2, "t", COLUMNS, text=text)
    log.transaction(3, ("c", "t", None, {"id": 3, "v": "behind"}))
    assert applied(read(log)) == {("t", 3): "behind"}


def test_an_alter_that_drops_rows_stops_the_stream() -> None:
    """MariaDB's ALTER IGNORE deletes what a new unique index would not take, without events."""
    log = described()
    log.ddl(2, "t", COLUMNS, text="alter ignore table t add unique (v)")
    assert "had rows moved" in stopped(log).message


def test_a_change_of_a_table_that_was_never_described_stops_the_stream() -> None:
    log = Log()
    log.ddl(2, "t", COLUMNS, text="alter table t something")
    error = stopped(log)
    assert isinstance(error, ResyncRequiredError)
    assert "alter table t something" in error.message


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ({"typeName": "VARCHAR", "length": 40, "defaultValueExpression": "(uuid())"}, "add w varchar(40) default (…)"),
        ({"typeName": "TIMESTAMP", "defaultValueExpression": "2020-01-01 00:00:00"}, "add w timestamp default '…'"),
        ({"typeName": "INT", "autoIncremented": True, "optional": False}, "add w int auto_increment unique"),
        ({"typeName": "INT", "generated": True}, "add w int as (id + 1)"),
        ({"typeName": "INT"}, "add w int generated always as (id + 1) stored"),
        ({"typeName": "DATE", "optional": False}, "add w date not null"),
    ],
)
def test_added_columns_whose_values_the_log_does_not_tell_stop_the_stream(column: dict, text: str) -> None:
    log = described()
    log.ddl(2, "t", [*COLUMNS, {"name": "w", **column}], text=f"alter table t {text}")
    error = stopped(log)
    assert isinstance(error, UnsupportedChangeError)
    assert "gained column w" in error.message
