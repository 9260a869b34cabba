"""Statements' text: placeholders only outside quotes, literals that come back as the value."""

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipelines.replication.databases.mysql.sql import bind, literal, quote, quote_table


def test_a_percent_sign_is_only_itself() -> None:
    sql = "select date_format(`100%s`,'%Y-%m-%d %H:%s'), \"%s\", 5 % 3 from t where a = %s and b like '%s'"
    assert bind(sql, (1,)) == sql.replace("a = %s", "a = 1")


@given(st.text(min_size=1), st.text())
def test_names_and_texts_can_hold_anything(name: str, value: str) -> None:
    sql = f"select {quote(name)} from t where a = {literal(value)} and {quote(name)} = %s"
    assert bind(sql, (7,)) == sql.removesuffix("%s") + "7"


def unquoted(text: str) -> str:
    """What a server with sql_mode '' makes of a string literal."""
    assert text[0] == text[-1] == "'"
    out, i = "", 1
    while i < len(text) - 1:
        char = text[i]
        assert char != "'", "the literal ends early"
        if char == "\\":
            i += 1
            char = {"n": "\n", "r": "\r", "0": "\0", "Z": "\x1a"}.get(text[i], text[i])
        out += char
        i += 1
    return out


@given(st.text())
def test_texts_come_back(value: str) -> None:
    assert unquoted(literal(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"), (True, "1"), (-5, "-5"), (2**64 - 1, "18446744073709551615"), (Decimal("1E+3"), "1000"),
        (Decimal("-1.50"), "-1.50"), (0.1, "0.1e0"), (1e300, "1e+300"), (b"", "x''"), (b"\xff'", "x'ff27'"),
        (date(1, 2, 3), "'0001-02-03'"), (datetime(2024, 1, 2, 3, 4, 5, 6), "'2024-01-02 03:04:05.000006'"),
        (timedelta(hours=-30, microseconds=-1), "'-30:00:00.000001'"), (timedelta(seconds=1), "'0:00:01.000000'"),
    ],
)
def test_literals(value: object, text: str) -> None:
    assert literal(value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN")])
def test_what_sql_has_no_number_for(value: object) -> None:
    with pytest.raises(ValueError, match="no SQL number"):
        literal(value)


def test_unknown_types_are_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        literal(object())


@pytest.mark.parametrize(("sql", "params"), [("%s", ()), ("%s", (1, 2)), ("'%s'", (1,)), ("`%s`", (1,))])
def test_placeholders_and_values_must_match(sql: str, params: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="placeholder"):
        bind(sql, params)


def test_names() -> None:
    assert quote("a`b") == "`a``b`"
    assert quote_table("s`", "t.x") == "`s```.`t.x`"
