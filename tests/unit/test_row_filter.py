"""A row filter that can't be understood, or compares what it can't, is refused with its place and what is valid."""

from decimal import Decimal

import pytest

from cdc_pipelines.replication.catalog import Column
from cdc_pipelines.replication.row_filter.binding import bind
from cdc_pipelines.replication.row_filter.evaluate import compiled
from cdc_pipelines.replication.row_filter.language import All, AnyOf, Compare, IsNull, Not, columns_of, parse

COLUMNS = {
    c.name: c for c in (
        Column("n", "int", "int"), Column("v", "varchar", "varchar(9)"), Column("d", "date", "date"),
        Column("at", "timestamp", "timestamp(3)"), Column("f", "double", "double"),
        Column("e", "enum", "enum('a','b')", labels=("a", "b")),
    )
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at the end: expected"),
        ("n = ", "at the end: expected a number, a text in single quotes, true or false"),
        ("n = m", "at character 5, `m`: expected a number"),
        ("n = null", "at character 5, `null`"),
        ("n like 'x%'", "at character 3, `like 'x%'`: expected =, <>"),
        ("n = 1 and", "at the end: expected (, a column, not"),
        ("lower(v) = 'x'", "at character 6, `(v) = 'x'`"),
        ("(n = 1", "at the end: expected )"),
        ('v = "x"', 'at character 5, `"x"`'),
        ("n in ()", "at character 7, `)`"),
        ("n in (select n from t)", "at character 7, `select n from t)`"),
        ("n = 1; drop table t", "at character 6, `; drop table t`"),
        ("n = 1 -- all", "at character 7, `-- all`"),
        ("v = 'x", "at character 5, `'x`"),
        ("n = 1e5", "at character 5, `1e5`"),
        ("1 = n", "at character 1, `1 = n`"),
    ],
)
def test_what_is_no_condition_is_refused_at_its_place(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="a condition is column = literal") as caught:
        parse(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n = 1 or m = 2", "at character 10: no column m; the table has n, v, d, at, f, e"),
        ("n = '1'", "n is int, and '1' is a text; write a number, without quotes"),
        ("v = 1", "v is varchar(9), and 1 is no text; write it in single quotes"),
        ("v = true", "v is varchar(9), and true is no text"),
        ("d >= '2024-02-30'", "d is date, and '2024-02-30' is none that it can be compared with; write 'YYYY-MM-DD'"),
        ("d = '2024-02-03 10:00'", "write 'YYYY-MM-DD'"),
        ("at > '10:00'", "'YYYY-MM-DD HH:MM:SS'"),
        ("at > 5", "at is timestamp(3), and 5 is none"),
        ("f > 0", "only `is null` and `is not null` are valid"),
        ("e in ('a', 'c')", "e is enum('a','b'), and 'c' is none of its labels: a, b"),
        ("n = 0." + "1" * 31, "30 of them behind the point"),
    ],
)
def test_a_comparison_that_would_not_be_exact_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="at character") as caught:
        bind(parse(text), COLUMNS)
    assert words in str(caught.value)


def test_texts_are_read_as_they_stand() -> None:
    assert parse("`a``b` = 'it''s \\n'") == Compare("a`b", "=", "it's \\n", 0)
    assert parse("N BETWEEN -1 AND +2.50") == All(
        (Compare("N", ">=", Decimal(-1), 0), Compare("N", "<=", Decimal("2.50"), 0))
    )
    assert parse("not n is not null and m not in (1, true)") == All((
        IsNull("n", 4), Not(AnyOf((Compare("m", "=", Decimal(1), 22), Compare("m", "=", True, 22))))
    ))
    assert columns_of(parse("b = 1 or (a = 2 and b = 3)")) == ["b", "a"]


def test_and_binds_closer_than_or_and_not_closest() -> None:
    assert parse("a = 1 or not b = 2 and c = 3") == parse("a = 1 or ((not b = 2) and c = 3)")


@pytest.mark.parametrize(
    ("text", "row", "is_in"),
    [
        ("n = 1", None, False), ("not n = 1", None, False), ("n <> 1", None, False), ("n is null", None, True),
        ("n = 1 or n is null", None, True), ("not (n = 1 and n is not null)", None, True),
        ("n not in (1, 2)", None, False), ("n not in (1, 2)", 3, True), ("n = 1.0", 1, True),
    ],
)
def test_null_is_unknown_as_in_sql(text: str, row: int | None, is_in: bool) -> None:
    assert compiled(bind(parse(text), COLUMNS), {"n": lambda row: row})(row) is is_in
