"""Which tables the background compares next, without servers."""

from datetime import UTC, datetime, timedelta

import msgspec

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.databases.postgres.verified import Verified, Walk
from cdc_pipelines.replication.verify.background import can_be_walked, due

NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def table(name: str, rows: int = 10, kind: str = "int") -> MappedTable:
    column = Column("id", kind, kind, nullable=False, length=20)
    return MappedTable(
        Table("db", name, (column,), ("id",), rows_estimate=rows), "public", name, (MappedColumn(column, "id", kind),)
    )


def verified(name: str, hours_ago: float) -> Verified:
    return Verified(name, NOW - timedelta(hours=hours_ago), "{}", 10, 0)


def names(*arguments: object) -> list[str]:
    return [turn.table.name for turn in due(*arguments, now=NOW)]  # type: ignore[arg-type]


def test_what_was_never_verified_comes_first_then_what_waited_longest() -> None:
    tables = [table(name) for name in "abcd"]
    found = names(tables, [verified("a", 30), verified("b", 50), verified("c", 2)], {}, DAY)
    assert found == ["d", "b", "a"], "c was verified within the round"
    assert names(tables, [verified(name, 23.9) for name in "abcd"], {}, DAY) == []


def test_a_walk_that_is_under_way_goes_on_alone() -> None:
    walk = Walk((5,), "{}", 100, 0)
    (turn,) = due([table("a"), table("b")], [], {"b": walk}, DAY, now=NOW)
    assert (turn.table.name, turn.walk) == ("b", walk)
    assert names([table("a")], [], {"gone": walk}, DAY) == ["a"]


def test_small_tables_share_a_slice_and_large_ones_do_not() -> None:
    assert names([table("a", 400_000), table("b", 90_000), table("c", 90_000)], [], {}, DAY) == ["a", "b"]
    assert names([table("a", 10**9), table("b")], [], {}, DAY) == ["a"]
    assert len(names([table(f"t{n:03d}") for n in range(200)], [], {}, DAY)) == 50


def test_a_large_table_that_can_not_be_cut_is_left_out() -> None:
    large = table("words", 6_000_000, "varchar")
    assert not can_be_walked(large)
    assert can_be_walked(msgspec.structs.replace(large, source=msgspec.structs.replace(large.source, rows_estimate=9)))
    assert can_be_walked(table("numbers", 10**9))
    assert names([large, table("a")], [], {}, DAY) == ["a"]
