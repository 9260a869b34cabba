"""Key ranges: their conditions against Python's tuple order, and the walk over tables of every shape."""

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipelines.replication.catalog import Column, Table
from cdc_pipelines.replication.databases.mysql.ranges import (
    KeyRange,
    is_exact,
    walk,
    where_sql,
)
from cdc_pipelines.replication.databases.mysql.sql import bind

KEYS = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


def holds(sql: str, row: dict[str, int]) -> bool:
    """Evaluate a bound condition in Python."""
    text = re.sub(r"`(\w+)`", lambda m: str(row[m[1]]), sql)
    return bool(eval(re.sub(r"(?<![<>])=", "==", text).replace("true", "True")))


@given(st.integers(1, 3), KEYS, st.none() | KEYS, st.none() | KEYS)
def test_condition_is_the_order_of_tuples(width: int, key: Any, lower: Any, upper: Any) -> None:
    columns = ("a", "b", "c")[:width]
    cut = KeyRange(columns, lower and lower[:width], upper and upper[:width])
    condition = bind(*where_sql(cut))
    expected = (cut.lower is None or key[:width] >= cut.lower) and (cut.upper is None or key[:width] < cut.upper)
    assert holds(condition, dict(zip(columns, key, strict=False))) == expected


def test_the_first_column_has_a_bound_of_its_own() -> None:
    """The range optimizer needs it: behind an OR it sees nothing."""
    sql, params = where_sql(KeyRange(("a", "b"), (1, 2), (3, 4)))
    assert sql.startswith("`a` >= %s and ")
    assert " and `a` <= %s and " in sql
    assert params == (1, 1, 1, 2, 3, 3, 3, 4)
    assert where_sql(KeyRange(())) == ("true", ())


def test_names_are_quoted_and_values_are_not_text() -> None:
    sql = bind(*where_sql(KeyRange(("a`b %s",), ("x' or 1=1 --",), None)))
    assert sql == "`a``b %s` >= 'x\\' or 1=1 --'"


def table(kinds: dict[str, str], rows_estimate: int = 0) -> Table:
    columns = tuple(Column(name, kind, kind, nullable=False) for name, kind in kinds.items())
    return Table("shop", "t", columns, key=tuple(kinds), rows_estimate=rows_estimate)


class Index:
    """Answers the walk's queries from sorted keys, as a server does."""

    def __init__(self, keys: list[tuple[Any, ...]]) -> None:
        self.keys = sorted(keys)
        self.queries = 0

    def query(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        self.queries += 1
        width = len(self.keys[0]) if self.keys else 1
        offset = int(re.search(r"offset (\d+)", sql)[1])
        # The walk's lower bound stands last in its parameters.
        lower = tuple(params[-width:]) if params else None
        rest = [k for k in self.keys if lower is None or k >= lower]
        return [rest[offset]] if offset < len(rest) else []


@given(
    st.sets(st.tuples(st.integers(-(10**9), 10**9)), max_size=200),
    st.integers(1, 50), st.integers(1, 20), st.integers(0, 500),
)
def test_ranges_cover_every_key_once_and_are_not_too_many(
    keys: set[tuple[int]], step: int, most: int, estimate: int
) -> None:
    ranges = walk(Index(list(keys)), table({"id": "bigint"}, estimate), step, most)
    assert 1 <= len(ranges) <= most
    assert ranges[0].lower is None
    assert ranges[-1].upper is None
    for one, following in pairwise(ranges):
        assert one.upper == following.lower
    counts = [
        sum(1 for k in keys if (r.lower is None or k >= r.lower) and (r.upper is None or k < r.upper)) for r in ranges
    ]
    assert sum(counts) == len(keys)
    if len(keys) > step * 2 and most >= 4:
        assert all(counts), "a range without rows"
        assert max(counts) <= 4 * max(step, -(-estimate // most), -(-len(keys) // most)), "lopsided ranges"


def test_skew_does_not_matter() -> None:
    keys = [(n,) for n in range(1000)] + [(10**15 + n * 10**12,) for n in range(1000)]
    ranges = walk(Index(keys), table({"id": "bigint"}), 100, 500)
    assert len(ranges) == 20


def test_an_estimate_far_too_low_makes_longer_ranges_not_more() -> None:
    index = Index([(n,) for n in range(5000)])
    ranges = walk(index, table({"id": "bigint"}, rows_estimate=10), 10, 8)
    assert 4 <= len(ranges) <= 8
    assert index.queries < 100


def test_composite_keys() -> None:
    keys = [(a, b) for a in range(20) for b in range(20)]
    ranges = walk(Index(keys), table({"a": "int", "b": "int"}), 30, 500)
    assert [r.lower for r in ranges[:3]] == [None, (1, 10), (3, 0)]


@pytest.mark.parametrize("kinds", [{}, {"f": "double"}, {"id": "int", "t": "text"}, {"f": "float"}])
def test_without_a_usable_key_there_is_one_range(kinds: dict[str, str]) -> None:
    assert walk(Index([]), table(kinds), 10, 10) == [KeyRange(())]


@pytest.mark.parametrize(
    ("kinds", "exact"),
    [
        ({"id": "bigint"}, True), ({"a": "int", "b": "tinyint"}, True), ({"a": "int", "b": "varchar"}, False),
        ({"d": "decimal"}, False), ({"d": "date"}, False), ({}, False), ({"y": "year"}, False),
    ],
)
def test_only_integer_keys_are_exact(kinds: dict[str, str], exact: bool) -> None:
    assert is_exact(table(kinds)) is exact
