"""A change log in which things come again: they are applied once, whatever the server counts by."""

from typing import Any

import pytest

from cdc_pipelines.replication.changes.batches import (
    Commit,
    Item,
    Part,
    Truncate,
)
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.position import Place
from tests.unit.log_reading import COLUMNS, NEW_KEY, OLD_KEY, applied, at, failure, read
from tests.unit.log_records import Log


class MariaDbLog(Log):
    """Transactions are called `0-1-n`."""

    def _id(self, n: int) -> str:
        return f"0-1-{n}"

    def source(self, n: int, table: str, row: int = 0) -> dict[str, Any]:
        return super().source(n, table, row) | {"gtid": self._id(n)}


MARIADB = MySqlPosition("binlog.000001", 1500, "0-1-1", "mariadb:1", "mariadb")


def keyless(items: list[Item]) -> list[tuple[int | None, int | None]]:
    """(id before, id after) of each change of the table without a key, in order: doubles and holes show."""
    changes = [c for i in items if isinstance(i, Part) and "k" in i.tables for c in i.tables["k"].changes]  # type: ignore[union-attr]
    return [(before and before.c0, after and after.c0) for before, after in changes]  # type: ignore[attr-defined]


def row(n: int) -> dict[str, Any]:
    return {"id": n, "v": "a"}


def test_a_transaction_that_comes_again_without_gtids_is_dropped() -> None:
    """An applied position is where its last rows event begins; that event must not come twice."""
    log = Log(with_gtids=False)
    log.transaction(2, ("c", "k", None, row(2)))
    for _ in range(2):
        log.transaction(3, ("c", "k", None, row(3)))
    log.transaction(4, ("c", "k", None, row(4)))
    position = MySqlPosition("binlog.000001", 2000, "", "s", exact=False)
    assert keyless(read(log, position=position)) == [(None, 3), (None, 4)]


def test_a_stretch_of_transactions_that_comes_again_without_gtids_is_dropped_to_its_end() -> None:
    """The first one of them must not take the applied place back: the next ones would pass for new."""
    log = Log(with_gtids=False)
    for n in (2, 3, 4, 5, 3, 4, 5, 6):
        log.transaction(n, ("c", "k", None, row(n)))
    items = read(log, position=MySqlPosition("binlog.000001", 4000, "", "s", exact=False))
    assert keyless(items) == [(None, 5), (None, 6)]
    places = [MySqlPosition.from_json(i.position).pos for i in items if isinstance(i, Commit)]
    assert places == sorted(places), "an applied position went back"
    assert places[-1] == 6000


def test_places_are_ordered_by_file_first() -> None:
    log = Log(with_gtids=False)
    log.transaction(2, ("c", "k", None, row(2)))
    assert keyless(read(log, position=MySqlPosition("binlog.000002", 4, "", "s"))) == []
    assert keyless(read(log, position=MySqlPosition("binlog.000000", 9999, "", "s"))) == [(None, 2)]


def test_mariadb_numbers_the_rows_of_a_transaction_anew_after_a_restart() -> None:
    """Its connector repeats BEGIN, counts from 1 again, sends a row again, and END counts only what came since."""
    log = MariaDbLog()
    log.begin(2)
    log.row(2, "c", "k", after=row(1), order=1, row=0)
    log.row(2, "c", "k", after=row(2), order=2, row=1)
    log.begin(2)
    log.row(2, "c", "k", after=row(2), order=1, row=1)
    log.row(2, "d", "k", before=row(1), order=2, pos=2100, headers=NEW_KEY)
    log.row(2, "c", "k", after=row(9), order=3, pos=2100, headers=OLD_KEY)
    log.row(2, "c", "k", after=row(3), order=4, pos=2200, row=0)
    log.end(2, 4)
    items = read(log, position=MARIADB)
    assert keyless(items) == [(None, 1), (None, 2), (1, None), (None, 9), (None, 3)]
    last = [i for i in items if isinstance(i, Commit)][-1]
    assert MySqlPosition.from_json(last.position).gtids == "0-1-2"


def test_behind_a_create_of_mariadb_the_position_says_in_which_transaction_it_lies() -> None:
    """Rows of it may follow: its GTID is not applied, though the place is in it."""
    log = MariaDbLog()
    log.begin(2)
    log.ddl(2, "made", COLUMNS, kind="CREATE")
    (commit,) = [i for i in read(log, position=MARIADB) if isinstance(i, Commit)]
    position = MySqlPosition.from_json(commit.position)
    assert (position.gtids, position.within, position.exact) == ("0-1-1", "0-1-2", False)
    log.transaction(3, ("c", "k", None, row(3)))
    last = [i for i in read(log, position=MARIADB) if isinstance(i, Commit)][-1]
    assert MySqlPosition.from_json(last.position).within == ""


def test_mariadb_transactions_applied_before_are_dropped() -> None:
    log = MariaDbLog()
    for n in (1, 2, 2, 3):
        log.transaction(n, ("c", "k", None, row(n)))
    assert keyless(read(log, position=MARIADB)) == [(None, 2), (None, 3)]


def test_rows_at_one_place_that_come_again_under_new_numbers_can_not_be_told() -> None:
    """A limit that is known. All rows of a compressed transaction have one place, and numbers that go on."""
    log = Log()
    log.begin(2)
    for order, n in enumerate((1, 2, 1, 2, 3), 1):
        log.row(2, "c", "k", after=row(n), order=order)
        log.row(2, "u", "t", before=row(n), after=row(n), order=order + 5)
    log.records[1:-1] = log.records[1::2] + log.records[2::2]  # in the order of their numbers
    log.end(2, 10)
    items = read(log)
    assert keyless(items) == [(None, 1), (None, 2), (None, 1), (None, 2), (None, 3)], "doubled"
    keyed = {key[0] for i in items if isinstance(i, Part) and "t" in i.tables for key in i.tables["t"].images}  # type: ignore[union-attr]
    assert keyed == {1, 2, 3}


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
