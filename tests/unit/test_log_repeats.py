"""A change log in which things come again: on servers without GTIDs, on MariaDB, whose connector counts anew."""

from typing import Any

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.stream.batches import Commit, Item, Part
from tests.unit.log_records import Log
from tests.unit.test_log_reader import NEW_KEY, OLD_KEY, read


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
