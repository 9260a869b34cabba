"""A row filter means the same in the source's SQL (copy, verify) and in Python (changes)."""

import base64
import json
import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest

from cdc_pipelines.replication.catalog import RowRules
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.databases.mysql.ranges import KeyRange
from cdc_pipelines.replication.databases.mysql.row_filter import filter_sql
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.load import copy_rows
from cdc_pipelines.replication.verify.tables import verify_table
from tests.integration.conftest import SourceServer

_random = random.Random(11)
_TEXTS = ["", " ", "a", "A", "a ", "á", "ß", "ss", "b\\", "it's", "é", "e\u0301", "日本", "\U0001f600", "\t", "10", "9"]
_DECIMALS = [Decimal(v) for v in ("0", "-0.0001", "0.1", "10", "10.5000", "-99999999.9999", "99999999.9999", "9.9999")]
_DAYS = [date(1000, 1, 1), date(1969, 12, 31), date(1970, 1, 1), date(2024, 2, 29), date(9999, 12, 31)]
_MOMENTS = [datetime(d.year, d.month, d.day, 23, 59, 59, f) for d in _DAYS for f in (0, 1000, 999999)]
_INSTANTS = [datetime(1970, 1, 1, 0, 0, 1), datetime(2024, 3, 31, 1, 30), datetime(2024, 3, 31, 1, 30, 0, 500000),
             datetime(2037, 12, 31, 23, 59, 59, 999999)]
_EPOCH = datetime(1970, 1, 1)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _utc(moment: datetime) -> str:
    return moment.isoformat().rstrip("0").rstrip(".") + "Z" if moment.microsecond else moment.isoformat() + "Z"


# Column → its type, its values (as SQL takes them), and how the change log tells one of them.
_Column = tuple[str, list[Any], Callable[[Any], Any]]
_COLUMNS: dict[str, _Column] = {
    "tiny": ("tinyint", [-128, -1, 0, 1, 127], int),
    "flag": ("tinyint(1)", [0, 1], int),
    "small": ("smallint unsigned", [0, 1, 65535], int),
    "num": ("int", [-(2**31), -1, 0, 1, 10, 2**31 - 1], int),
    "big": ("bigint", [-(2**63), -1, 0, 10, 2**63 - 1], int),
    "huge": ("bigint unsigned", [0, 10, 2**63, 2**64 - 1], int),
    "zero": ("int(6) unsigned zerofill", [0, 10, 2**32 - 1], int),
    "born": ("year", [1901, 1999, 2001, 2069, 2155], int),
    "price": ("decimal(12,4)", _DECIMALS, str),
    "wide": ("decimal(65,30)", [*_DECIMALS, Decimal("9" * 35 + "." + "9" * 30)], str),
    "ci": ("varchar(20) collate utf8mb4_general_ci", _TEXTS, str),
    "old": ("varchar(20) character set latin1", ["", "a", "A", "a ", "é", "ß", "ss"], str),
    "fixed": ("char(5)", ["", "a", "A", "á", "é"], str),
    "body": ("text", _TEXTS, str),
    "state": ("enum('new','paid','sent','Größe')", ["new", "paid", "sent", "Größe"], str),
    "tags": ("set('a','b','c')", ["", "a", "a,b", "c"], str),
    "day": ("date", _DAYS, lambda d: (d - date(1970, 1, 1)).days),
    "sharp": ("datetime(6)", _MOMENTS, _micros),
    "plain": ("datetime", [m.replace(microsecond=0) for m in _MOMENTS], _micros),
    "instant": ("timestamp(6)", _INSTANTS, _utc),
    "blob_": ("blob", [b"", b"x"], lambda b: base64.b64encode(b).decode()),
    "ratio": ("double", [0.0, 1.5], float),
}
_ONLY_NULL = {"blob_", "ratio"}


def _literal(name: str) -> str:
    value = _random.choice(_COLUMNS[name][1])
    match value:
        case bool() | int() | Decimal():
            near = _random.choice([0, 0, 0, 1, -1, Decimal("0.5")])
            if name == "flag" and _random.random() < 0.5:
                return _random.choice(["true", "FALSE"])
            return format(Decimal(value) + near, "f") if value < 2**60 else str(value)
        case datetime():
            return "'" + _random.choice([str(value), value.isoformat(), str(value.date()), str(value)[:16]]) + "'"
        case date():
            return f"'{value}'"
    if name in ("state", "tags", "old"):
        return f"'{value}'"
    return "'" + (value + _random.choice(["", "", " ", "a"])).replace("'", "''") + "'"


def _condition(depth: int) -> str:
    if depth and _random.random() < 0.6:
        parts = [_condition(depth - 1) for _ in range(_random.randint(2, 3))]
        joined = _random.choice([" and ", " OR "]).join(f"({part})" for part in parts)
        return _random.choice(["", "not "]) + f"({joined})"
    name = _random.choice(list(_COLUMNS))
    negation = _random.choice(["", "not "])
    if name in _ONLY_NULL or _random.random() < 0.15:
        return f"{name} is {negation}null"
    kind = _random.random()
    if kind < 0.2:
        return f"`{name}` {negation}in ({', '.join(_literal(name) for _ in range(_random.randint(1, 4)))})"
    if kind < 0.4:
        return f"{name} {negation}between {_literal(name)} and {_literal(name)}"
    return f"{name} {_random.choice(['=', '<>', '!=', '<', '<=', '>', '>='])} {_literal(name)}"


def test_sql_and_python_agree_on_any_row(server: SourceServer) -> None:
    columns = ", ".join(f"`{name}` {kind} null" for name, (kind, _, _) in _COLUMNS.items())
    server.run(f"create table t (id int primary key, {columns}) character set utf8mb4")
    rows = [
        [_random.choice(values) if _random.random() < 0.9 else None for _, values, _ in _COLUMNS.values()]
        for _ in range(400)
    ]
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("set sql_mode = '', time_zone = '+00:00'")
        marks = ", ".join(["%s"] * (len(_COLUMNS) + 1))
        cursor.executemany(f"insert into t values ({marks})", [(n, *row) for n, row in enumerate(rows)])
    table = server.map(server.source.tables(["t"])[0])
    events = [
        msgspec.Raw(json.dumps({"id": n} | {
            name: None if value is None else told(value)
            for (name, (_, _, told)), value in zip(_COLUMNS.items(), row, strict=True)
        }).encode())
        for n, row in enumerate(rows)
    ]
    conditions = [_condition(_random.randint(0, 3)) for _ in range(300)]
    codecs = [
        RowCodec(msgspec.structs.replace(table, rows=RowRules(where=text)), server.flavor, "postgres")
        for text in conditions
    ]
    images = [codecs[0].row(event) for event in events]
    seen: list[list[int]] = []
    with server.source.open_snapshot(1, [table.source]) as snapshot:
        for first in range(0, len(codecs), 50):
            asked = ", ".join(
                f"{filter_sql(codec.table, server.flavor, 'postgres')} is true" for codec in codecs[first : first + 50]
            )
            answers = snapshot.sessions[0].query(f"select {asked} from t order by id")
            seen += [list(column) for column in zip(*answers, strict=True)]
    several = 0
    for text, codec, answers in zip(conditions, codecs, seen, strict=True):
        ours = [int(codec.accepts(image)) for image in images]
        wrong = [n for n, (a, b) in enumerate(zip(ours, answers, strict=True)) if a != b]
        assert not wrong, f"{text}\n{filter_sql(codec.table, server.flavor, 'postgres')}\nrow {rows[wrong[0]]}"
        several += 0 < sum(ours) < len(rows)
    assert several > 150  # most of them tell rows apart


@pytest.mark.parametrize("key", ["n int primary key", "n varchar(9) primary key"])
def test_copy_and_comparison_see_the_rows_that_count(
    server: SourceServer, target: psycopg.Connection, key: str
) -> None:
    """On the source those of the filter, on the target those that are not marked as deleted."""
    rows = "(1, 'in'), (2, 'IN'), (3, null), (4, 'in')"
    server.run(f"create table t ({key}, v varchar(9))", f"insert into t values {rows}")
    plain = server.map(server.source.tables(["t"])[0])
    table = msgspec.structs.replace(plain, rows=RowRules("v = 'in'", "soft", "gone %"))
    ddl.create_table(target, table)
    with server.source.open_snapshot(1, [table.source]) as snapshot:
        with target.transaction():
            copy_rows(target, table, snapshot.sessions[0].read(table, KeyRange(())))
        assert target.execute("select n::text from t order by 1").fetchall() == [("1",), ("4",)]
        target.execute("""insert into t values ('2', 'IN', now()), ('9', 'in', now())""")
        with target.transaction():
            equal = verify_table(snapshot.sessions[0], target, table).result
        assert (equal.rows_source, equal.rows_target, equal.difference_count) == (2, 2, 0)
        target.execute("""update t set "gone %" = null where n = '2'""")
        target.execute("""update t set "gone %" = now() where n = '4'""")
        with target.transaction():
            compared = verify_table(snapshot.sessions[0], target, table)
        found = {(d.kind, str(d.key["n"])) for d in compared.result.differences}
        assert found == {("extra", "2"), ("missing", "4")}
