"""Key ranges: cutting a table by its key into half-open ranges of about equal row counts, and reading one."""

from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.databases.mysql.sql import quote, quote_table

Key = tuple[Any, ...]

_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}
_TARGET_INTEGERS = {"smallint", "integer", "bigint"}
# By number: an ENUM's index order is that of its labels' numbers, but compared with a text it is compared as text.
_BY_NUMBER = {"enum", "set", "bit", "year"}
# No order that a literal can express exactly, or (blobs) no index over the whole value.
_UNORDERED = {"float", "double", "json", "tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob",
              "longblob"}


class KeyRange(NamedTuple):
    """The rows whose key tuple is ≥ `lower` and < `upper`; None is no bound.

    Values are int, Decimal, str (texts, dates and times) or bytes, as `SnapshotSession.query` gives them.
    """

    columns: tuple[str, ...]
    lower: Key | None = None
    upper: Key | None = None


class Session(Protocol):
    """What a walk needs of a snapshot's session."""

    def query(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]: ...


def is_exact(table: Table | MappedTable) -> bool:
    """Whether a key's range can be told in Python: all key columns are integers (no collation, no rounding).

    Of a mapped table, on the target too: not where a shape makes texts of them.
    """
    source = _source(table)
    if isinstance(table, MappedTable) and not all(_stays_integer(column) for column in table.key):
        return False
    return bool(source.key) and all(source.column(name).type in _INTEGERS for name in source.key)


def _stays_integer(column: MappedColumn) -> bool:
    return not column.shape.changes or column.target_type in _TARGET_INTEGERS


def where_sql(where: KeyRange) -> tuple[str, Key]:
    """A condition with `%s` placeholders, and its values; `true` for everything.

    (a, b) ≥ (x, y) is written out as a ≥ x and (a > x or (a = x and b ≥ y)): MySQL's range optimizer does not see
    through row comparisons, and needs the bound on the first column to stand alone.
    """
    conditions: list[str] = []
    params: list[Any] = []
    for bound, strict, last in ((where.lower, ">", ">="), (where.upper, "<", "<")):
        if bound is None:
            continue
        text, values = _compare([quote(c) for c in where.columns], bound, strict, last)
        if len(bound) > 1:
            conditions.append(f"{quote(where.columns[0])} {strict}= %s")
            params.append(bound[0])
        conditions.append(text)
        params += values
    return (" and ".join(conditions) or "true"), tuple(params)


def _compare(columns: list[str], bound: Key, strict: str, last: str) -> tuple[str, list[Any]]:
    column, value = columns[0], bound[0]
    if len(bound) == 1:
        return f"{column} {last} %s", [value]
    rest, values = _compare(columns[1:], bound[1:], strict, last)
    return f"({column} {strict} %s or ({column} = %s and {rest}))", [value, value, *values]


def walk(session: Session, table: Table | MappedTable, rows_per_chunk: int, max_chunks: int) -> list[KeyRange]:
    """The table in at most `max_chunks` ranges of about `rows_per_chunk` rows each, whatever its keys look like.

    It steps through the index by `limit 1 offset n`, so gaps and skew do not matter. The first range has no lower
    bound, the last no upper one. A table without a usable key is one range of everything.
    """
    source = _source(table)
    key = tuple(source.column(name) for name in source.key)
    if not key or any(c.type in _UNORDERED for c in key):
        return [KeyRange(())]
    columns = tuple(c.name for c in key)
    step = max(1, rows_per_chunk, -(-source.rows_estimate // max(1, max_chunks)))
    bounds: list[Key] = []
    last: Key | None = None
    while True:
        found = _next_bound(session, source, key, last, step)
        if found is None:
            break
        bounds.append(found)
        last = found
        if len(bounds) >= max_chunks:
            # The estimate was too low: make every range twice as long instead of exceeding the limit.
            step *= 2
            bounds = bounds[1::2]
            last = bounds[-1] if bounds else None
            if not bounds:
                break
    edges = [None, *bounds, None]
    return [KeyRange(columns, low, high) for low, high in pairwise(edges)]


def _next_bound(session: Session, table: Table, key: tuple[Column, ...], last: Key | None, step: int) -> Key | None:
    where, params = where_sql(KeyRange(tuple(c.name for c in key), last, None))
    shown = ", ".join(f"{quote(c.name)}+0" if c.type in _BY_NUMBER else quote(c.name) for c in key)
    order = ", ".join(quote(c.name) for c in key)
    sql = f"select {shown} from {quote_table(table.schema, table.name)} where {where} order by {order}"  # noqa: S608
    rows = session.query(f"{sql} limit 1 offset {int(step)}", params)
    return _bound(rows[0], key) if rows else None


def _bound(row: tuple[Any, ...], key: tuple[Column, ...]) -> Key:
    return tuple(int(v) if c.type in _BY_NUMBER or c.type in _INTEGERS else v for v, c in zip(row, key, strict=True))


def _source(table: Table | MappedTable) -> Table:
    return table.source if isinstance(table, MappedTable) else table
