"""What tables a MySQL or MariaDB database has, from information_schema."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.catalog import Column, Table
from cdc_pipelines.replication.databases.mysql.binlog import select
from cdc_pipelines.replication.errors import ConfigurationError

_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}
_LABEL = re.compile(r"'((?:[^'\\]|\\.|'')*)'", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)|''", re.DOTALL)
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_CHARSET_NAMES = {"utf8": "utf8mb3"}  # what it was called before
_WIDTH = re.compile(r"\(\d+\)")

_KINDS = "('BASE TABLE', 'SYSTEM VERSIONED')"
_TABLES = f"""select table_name, coalesce(table_rows, 0), coalesce(data_length, 0), table_comment, table_type
from information_schema.tables where table_schema = %s and table_type in {_KINDS} order by table_name"""  # noqa: S608
_NAMES = f"select table_name from information_schema.tables where table_schema = %s and table_type in {_KINDS}"  # noqa: S608
_SEQUENCES = "select table_name from information_schema.tables where table_schema = %s and table_type = 'SEQUENCE'"
_CHARSETS = """select column_name, character_set_name from information_schema.columns
where table_schema = %s and table_name = %s and character_set_name is not null"""
_COLUMNS = """select table_name, column_name, data_type, column_type, is_nullable, character_maximum_length,
numeric_precision, numeric_scale, datetime_precision, character_set_name, collation_name, column_default, extra
from information_schema.columns where table_schema = %s order by table_name, ordinal_position"""
_INDEXES = """select table_name, index_name, column_name, sub_part
from information_schema.statistics where table_schema = %s and non_unique = 0
order by table_name, index_name, seq_in_index"""


def tables(conn: "Connection[Cursor]", database: str, names: Sequence[str] | None = None) -> list[Table]:
    """The base tables of a database, by name; with `names` only those, in that order.

    Raises ConfigurationError where a named table does not exist (or can't be seen, or is a view).
    """
    with conn.cursor() as cursor:
        cursor.execute("select @@lower_case_table_names = 1")
        folded = cursor.fetchall()[0][0] == 1
        heads = _rows(cursor, _TABLES, database)
        columns = _grouped(_rows(cursor, _COLUMNS, database))
        indexes = _grouped(_rows(cursor, _INDEXES, database))
    mariadb = "mariadb" in str(conn.get_server_info()).lower()  # type: ignore[no-untyped-call]
    found = {}
    for name, rows, size, comment, kind in heads:
        parsed = tuple(column_of(row, mariadb) for row in columns.get(name, ()))
        if parsed:  # without a privilege on any column nothing of the table is of use
            index, key = _key(parsed, indexes.get(name, ()))
            found[name] = Table(
                schema=database, name=name, columns=parsed, key=key, rows_estimate=int(rows), data_bytes=int(size),
                comment=comment or "", key_index=index, folded=folded, versioned=kind == "SYSTEM VERSIONED",
            )
    if names is None:
        return list(found.values())
    missing = [name for name in names if name not in found]
    if missing:
        raise ConfigurationError(_missing_text(database, missing, found), "correct `tables` in the pipeline's file; "
                                 "`cdc discover` lists what there is. Views can't be replicated.")
    return [found[name] for name in names]


def table_names(conn: "Connection[Cursor]", database: str) -> set[str]:
    """Of the base tables of a database that this user can see."""
    return {name for name, *_ in select(conn, _NAMES, (database,))}


def sequences(conn: "Connection[Cursor]", database: str) -> set[str]:
    """The names of a MariaDB database's sequences."""
    return {name for name, *_ in select(conn, _SEQUENCES, (database,))}


def charsets(conn: "Connection[Cursor]", database: str, table: str) -> dict[str, str]:
    """The character sets of a table's text columns, by name."""
    return {name: _CHARSET_NAMES.get(charset, charset) for name, charset in select(conn, _CHARSETS, (database, table))}


def _missing_text(database: str, missing: Sequence[str], found: Iterable[str]) -> str:
    known = list(found)
    parts = []
    for name in missing:
        close = difflib.get_close_matches(name, known, n=2)
        parts.append(f"{name} (did you mean {' or '.join(close)}?)" if close else name)
    return f"database {database} has no table {', '.join(parts)} that this user can read"


def _rows(cursor: Cursor, sql: str, database: str) -> list[tuple[Any, ...]]:
    cursor.execute(sql, (database,))
    return [tuple(_text(v) for v in row) for row in cursor.fetchall()]


def _text(value: Any) -> Any:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _grouped(rows: Iterable[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for table, *rest in rows:
        groups.setdefault(table, []).append(tuple(rest))
    return groups


def column_of(row: tuple[Any, ...], mariadb: bool) -> Column:
    """The column that a row of `_COLUMNS` (without the table) describes."""
    name, kind, full, nullable, length, precision, scale, fraction, charset, collation, default, extra = row
    kind = kind.lower()
    flags = (extra or "").upper()
    return Column(
        name=name,
        type=kind,
        full_type=_full_type(kind, full),
        nullable=nullable == "YES",
        length=int(precision) if kind == "bit" else None if length is None else int(length),
        precision=int(precision) if kind == "decimal" else None,
        scale=int(scale) if kind == "decimal" else None,
        fraction=None if fraction is None else int(fraction),
        unsigned="unsigned" in full.lower() and kind not in ("enum", "set"),
        charset=charset,
        collation=collation,
        labels=_labels(full) if kind in ("enum", "set") else (),
        default=_sql_default(default) if mariadb else None if "DEFAULT_GENERATED" in flags else default,
        generated="VIRTUAL GENERATED" in flags or "STORED GENERATED" in flags or "PERSISTENT GENERATED" in flags,
    )


def _full_type(kind: str, full: str) -> str:
    """The server's text; display widths are dropped, except that of tinyint(1), which means BOOLEAN."""
    if kind in _INTEGERS and full.lower() != "tinyint(1)":
        return _WIDTH.sub("", full.lower(), count=1)
    if kind == "year":
        return kind
    return full if kind in ("enum", "set") else full.lower()


def _labels(full: str) -> tuple[str, ...]:
    """The labels of an ENUM or SET, which the server writes as strings with escapes."""
    special = {"n": "\n", "r": "\r", "0": "\0"}
    return tuple(
        _ESCAPED.sub(lambda m: special.get(m[1], m[1]) if m[1] is not None else "'", text)
        for text in _LABEL.findall(full)
    )


def _sql_default(sql: str | None) -> str | None:
    """A literal default's text; None for no default and for expressions.

    MySQL gives the text itself and marks expressions in `extra`; MariaDB gives SQL: 'text', 5, NULL, expression().
    """
    if sql is None or sql == "NULL":
        return None
    if len(sql) >= 2 and sql[0] == sql[-1] == "'":
        return sql[1:-1].replace("''", "'")
    return sql if _NUMBER.fullmatch(sql) else None


def _key(columns: Sequence[Column], indexes: Sequence[tuple[Any, ...]]) -> tuple[str, tuple[str, ...]]:
    """The primary key (its name and columns), else the first (by name) unique index of whole not-null columns."""
    not_null = {c.name for c in columns if not c.nullable}
    parts: dict[str, list[tuple[str | None, int | None]]] = {}
    for index, column, sub_part in indexes:
        parts.setdefault(index, []).append((column, sub_part))
    if "PRIMARY" in parts:
        return "PRIMARY", tuple(c for c, _ in parts["PRIMARY"] if c is not None)
    for index in sorted(parts):
        if all(column in not_null and sub_part is None for column, sub_part in parts[index]):
            return index, tuple(column for column, _ in parts[index] if column is not None)
    return "PRIMARY", ()
