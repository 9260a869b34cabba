"""Source and target compared the plain way: fetch everything, compare Python values.

Shares no code with the comparison that it checks: the drivers' own values, no checksums, no canonical texts.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pymysql
from psycopg import sql


@dataclass
class Found:
    """Keys as tuples of plain values (of a table without a key: whole rows), each as often as it differs."""

    missing: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    extra: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    differs: dict[tuple[Any, ...], tuple[str, ...]] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        return not (self.missing or self.extra or self.differs)

    @property
    def count(self) -> int:
        return self.missing.total() + self.extra.total() + len(self.differs)


def plain_compare(
    source: pymysql.Connection, target: psycopg.Connection, table: str, target_table: str, key: Sequence[str],
    renames: dict[str, str] | None = None, schema: str = "public",
) -> Found:
    """Compare a table of the source connection's database with one of the target's, whole, in memory."""
    with source.cursor() as cursor:
        cursor.execute("set time_zone = '+00:00'")
        cursor.execute(f"show columns from `{table.replace('`', '``')}`")
        types = {row[0]: row[1] for row in cursor.fetchall()}
        shown = [
            # As text a float has six digits only
            f"`{name.replace('`', '``')}`" + ("*1e0" if kind.startswith("float") else "")
            for name, kind in types.items()
        ]
        cursor.execute(f"select {', '.join(shown)} from `{table.replace('`', '``')}`".replace("%", "%%"), ())
        ours = [
            tuple(_of_mysql(value, kind) for value, kind in zip(row, types.values(), strict=True))
            for row in cursor.fetchall()
        ]
    names = [(renames or {}).get(name, name) for name in types]
    columns = sql.SQL(", ").join(
        # Of a document the driver makes Python values, and None both of NULL and of the document null
        sql.SQL({"float": "{}::float8", "json": "{}::text"}.get(kind.split("(")[0], "{}")).format(sql.Identifier(name))
        for name, kind in zip(names, types.values(), strict=True)
    )
    rows = target.execute(sql.SQL("select {} from {}").format(columns, sql.Identifier(schema, target_table))).fetchall()
    theirs = [tuple(_of_postgres(v, kind) for v, kind in zip(row, types.values(), strict=True)) for row in rows]
    if not key:
        left, right = Counter(ours), Counter(theirs)
        return Found(left - right, right - left)
    return _by_key(ours, theirs, list(types), [list(types).index(k) for k in key])


def _by_key(
    ours: Iterable[tuple[Any, ...]], theirs: Iterable[tuple[Any, ...]], names: list[str], key: list[int]
) -> Found:
    left: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    right: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for rows, side in ((ours, left), (theirs, right)):
        for row in rows:
            side[tuple(row[i] for i in key)].append(row)
    found = Found()
    for at in left.keys() | right.keys():
        a, b = Counter(left.get(at, [])), Counter(right.get(at, []))
        lone, other = list((a - b).elements()), list((b - a).elements())
        for x, y in zip(lone, other, strict=False):
            found.differs[at] = tuple(n for n, v, w in zip(names, x, y, strict=True) if v != w)
        if len(lone) > len(other):
            found.missing[at] += len(lone) - len(other)
        if len(other) > len(lone):
            found.extra[at] += len(other) - len(lone)
    return found


def _of_mysql(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "json":
        return _json(value)
    if isinstance(value, str) and kind.startswith(("date", "timestamp")):
        return None  # no date that Python knows: a zero date
    if kind.startswith("bit"):
        return int.from_bytes(value, "big")
    if isinstance(value, float):
        return repr(value)  # tells -0.0 from 0.0
    if kind.startswith(("int", "bigint", "smallint", "mediumint", "tinyint", "year")):
        return int(value)
    return value


def _of_postgres(value: Any, kind: str) -> Any:
    match value:
        case None:
            return None
        case bool():
            return int(value)
        case Decimal() if "int" in kind:
            return int(value)
        case float():
            return repr(value)
        case UUID():
            return str(value)
        case memoryview():
            return bytes(value)
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).replace(tzinfo=None)
        case str() if kind.startswith("bit"):
            return int(value, 2)
        case _ if kind == "json":
            return _json(value)
        case _:
            return value


def _json(text: str) -> str:
    """Equal texts for equal documents; numbers by value."""
    return json.dumps(json.loads(text, parse_int=_number, parse_float=_number), sort_keys=True)


def _number(text: str) -> str:
    value = Decimal(text)
    return f"number {value.normalize() + 0 if value else Decimal(0)}"
