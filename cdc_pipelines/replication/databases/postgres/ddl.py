"""Tables of the target: make them, look at them, change them. Everything in the caller's transaction."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import ALL_ROWS, DELETED_TYPE, MappedColumn, MappedTable
from cdc_pipelines.replication.errors import ConfigurationError, UnsupportedChangeError

_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence", "c": "a type"}


@dataclass(frozen=True)
class ExistingColumn:
    """A column of the target as PostgreSQL describes it; `type` is `format_type`'s text."""

    name: str
    type: str
    not_null: bool
    has_default: bool
    generated: bool


@dataclass(frozen=True)
class ExistingTable:
    """A relation of the target. `keys` are its whole, plain unique indexes' columns, the primary key's first.

    `unique_expressions` says that there are unique indexes beside them, on expressions or with a condition.
    """

    kind: str
    columns: dict[str, ExistingColumn] = field(default_factory=dict)
    keys: tuple[tuple[str, ...], ...] = ()
    unique_expressions: bool = False


def table_name(mapped: MappedTable) -> sql.Identifier:
    return sql.Identifier(mapped.target_schema, mapped.target_name)


def find(conn: psycopg.Connection, schema: str, name: str) -> ExistingTable | None:
    """The relation of that name, None where there is none."""
    row = conn.execute(
        "select c.oid, c.relkind::text from pg_catalog.pg_class c join pg_catalog.pg_namespace n "
        "on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s",
        [schema, name],
    ).fetchone()
    if row is None:
        return None
    oid, kind = row
    columns = conn.execute(
        "select attname, format_type(atttypid, atttypmod), attnotnull, atthasdef or attidentity <> '', "
        "attgenerated <> '' from pg_catalog.pg_attribute where attrelid = %s and attnum > 0 and not attisdropped "
        "order by attnum",
        [oid],
    ).fetchall()
    indexes = conn.execute(
        """
        select i.indexprs is null and i.indpred is null,
               array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(attnum, place)
                     join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                     where k.place <= i.indnkeyatts order by k.place)
        from pg_catalog.pg_index i
        where i.indrelid = %s and i.indisunique and i.indislive
        order by i.indisprimary desc, i.indexrelid
        """,
        [oid],
    ).fetchall()
    return ExistingTable(
        kind=kind,
        columns={name: ExistingColumn(name, *facts) for name, *facts in columns},
        keys=tuple(tuple(names) for plain, names in indexes if plain),
        unique_expressions=any(not plain for plain, _ in indexes),
    )


def create_table(conn: psycopg.Connection, mapped: MappedTable) -> bool:
    """Make the table (and its schema) where it is missing. Returns whether it was made."""
    if find(conn, mapped.target_schema, mapped.target_name) is not None:
        return False
    schema = conn.execute("select 1 from pg_catalog.pg_namespace where nspname = %s", [mapped.target_schema])
    if schema.fetchone() is None:
        conn.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(mapped.target_schema)))
    # A row that is marked as deleted stays as it was, whatever its table becomes.
    parts = [
        _column_definition(column, not_null=is_not_null(column) and (not mapped.rows.soft or column in mapped.key))
        for column in mapped.columns
    ]
    parts += [
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in mapped.landing[len(mapped.columns) :]
    ]
    if mapped.key:
        key = sql.SQL(", ").join(sql.Identifier(c.target_name) for c in mapped.key)
        parts.append(sql.SQL("primary key ({})").format(key))
    statement = sql.SQL("create table if not exists {} ({})").format(table_name(mapped), sql.SQL(", ").join(parts))
    conn.execute(statement)
    return True


def _column_definition(column: MappedColumn, *, not_null: bool) -> sql.Composed:
    return sql.SQL("{} {}{}").format(
        sql.Identifier(column.target_name),
        sql.SQL(column.target_type),  # ours, from the value's form
        sql.SQL(" not null" if not_null else ""),
    )


def is_not_null(column: MappedColumn) -> bool:
    """As on the source, but for dates: a zero date of the source may have to become null."""
    dated = column.source.type in ("date", "datetime", "timestamp")
    return not column.source.nullable and not (dated and column.rules.zero_dates == "as_null")


def check_existing(conn: psycopg.Connection, mapped: MappedTable, *, pipeline: str | None = None) -> list[str]:
    """Why the table that is there can't receive the source's; empty where it can, or where there is none.

    Rows in it are a reason only where `pipeline` has not claimed the table before.
    """
    found = find(conn, mapped.target_schema, mapped.target_name)
    if found is None:
        return []
    if found.kind not in ("r", "p"):
        return [f"is {_KINDS.get(found.kind, 'not a table')}, not a table"]
    problems = []
    for name, column in ((c.target_name, c) for c in mapped.columns):
        existing = found.columns.get(name)
        if existing is None:
            problems.append(f"lacks column {name} {column.target_type}")
        elif existing.generated:
            problems.append(f"column {name} is generated on the target")
        elif existing.type != plain_type(column.target_type):
            problems.append(f"column {name} is {existing.type}, not {plain_type(column.target_type)}")
        elif existing.not_null and not is_not_null(column) and column not in mapped.key:
            problems.append(f"column {name} is NOT NULL, but values of the source may be null")
    for added in mapped.added:
        existing = found.columns.get(added.name)
        if existing is None:
            problems.append(f"lacks column {added.name} {added.target_type}, which the pipeline adds")
        elif existing.generated or existing.type != plain_type(added.target_type):
            what = "generated" if existing.generated else existing.type
            problems.append(f"column {added.name} is {what}, not {plain_type(added.target_type)}")
    if mapped.rows.soft:
        problems += _deleted_problems(found, mapped)
    ours = {name for name, _ in mapped.landing}
    problems += [
        f"column {c.name} is not replicated, NOT NULL and without a default"
        for c in found.columns.values()
        if c.name not in ours and c.not_null and not c.has_default and not c.generated
    ]
    key = tuple(c.target_name for c in mapped.key)
    if key and not any(set(k) == set(key) for k in found.keys):
        problems.append(f"lacks a primary key or unique index on ({', '.join(key)})")
    if not is_ours(conn, mapped, pipeline) and not is_empty(conn, mapped):
        problems.append("holds rows that this pipeline did not write")
    return problems


def _deleted_problems(found: ExistingTable, mapped: MappedTable) -> list[str]:
    """What keeps the table from having rows that are marked as deleted."""
    name, kind = mapped.rows.deleted_column, plain_type(DELETED_TYPE)
    existing = found.columns.get(name)
    key = {c.target_name for c in mapped.key}
    problems = []
    if existing is None:
        problems.append(f"lacks column {name} {kind}")
    elif existing.generated or existing.type != kind or existing.not_null or existing.has_default:
        problems.append(f"column {name} is not a plain {kind} that may be null and has no default")
    problems += [
        f"has a unique index on ({', '.join(columns)}), also over deleted rows: make it one `where {name} is null`"
        for columns in found.keys if set(columns) != key
    ]
    return problems


def is_ours(conn: psycopg.Connection, mapped: MappedTable, pipeline: str | None) -> bool:
    """Whether the pipeline has claimed the table."""
    if pipeline is None:
        return False
    there = conn.execute("select to_regclass('_cdc.claim') is not null").fetchone()
    if there is None or not there[0]:
        return False
    return conn.execute(
        "select 1 from _cdc.claim where target_schema = %s and target_name = %s and pipeline = %s",
        [mapped.target_schema, mapped.target_name, pipeline],
    ).fetchone() is not None


def is_empty(conn: psycopg.Connection, mapped: MappedTable) -> bool:
    return conn.execute(sql.SQL("select 1 from {} limit 1").format(table_name(mapped))).fetchone() is None


_ALIASES = {"varchar": "character varying"}
_ZONES = {"timestamp": " without time zone", "timestamptz": " with time zone"}


def plain_type(target_type: str) -> str:
    """Our type text as PostgreSQL's `format_type` prints it: `varchar(3)` → `character varying(3)`."""
    match = re.fullmatch(r"([a-z ]+?)(\(.*\))?", target_type.strip())
    if match is None:
        return target_type
    name, arguments = match[1], match[2] or ""
    if name == "numeric" and arguments and "," not in arguments:
        arguments = f"{arguments[:-1]},0)"
    if name in _ZONES:
        return f"timestamp{arguments}{_ZONES[name]}"
    return _ALIASES.get(name, name) + arguments


def add_column(
    conn: psycopg.Connection, before: MappedTable, column: MappedColumn, default_literal: str | None
) -> None:
    """Add a column; `default_literal` (text input) is the value that the rows that are there get, None is null.

    The column keeps no default: values come from the source. Raises UnsupportedChangeError where the target has a
    column of that name and another type.
    """
    name = table_name(before)
    existing = find(conn, before.target_schema, before.target_name)
    there = existing.columns.get(column.target_name) if existing else None
    identifier = sql.Identifier(column.target_name)
    if there is None:
        not_null = is_not_null(column) and default_literal is not None
        definition = _column_definition(column, not_null=not_null)
        if default_literal is None:
            conn.execute(sql.SQL("alter table {} add column {}").format(name, definition))
            return
        conn.execute(
            sql.SQL("alter table {} add column {} default {}").format(name, definition, sql.Literal(default_literal))
        )
        # The rows that are there keep it: PostgreSQL stored it as their value, without rewriting the table.
        conn.execute(sql.SQL("alter table {} alter column {} drop default").format(name, identifier))
        return
    if there.generated or there.type != plain_type(column.target_type):
        raise UnsupportedChangeError(
            f"table {before.name} gained column {column.source.name} {column.source.full_type}, but the target's "
            f"{before.target_schema}.{before.target_name} has a column {column.target_name} {there.type} already",
            f"drop or rename that column on the target (wanted: {plain_type(column.target_type)}); "
            "then start the pipeline again.",
        )
    conn.execute(sql.SQL("update {} set {} = {}").format(name, identifier, sql.Literal(default_literal)))


def drop_table(conn: psycopg.Connection, mapped: MappedTable) -> bool:
    """Drop the table. Returns whether there was one. What depends on it stands in the way (the server's error)."""
    if find(conn, mapped.target_schema, mapped.target_name) is None:
        return False
    conn.execute(sql.SQL("drop table {}").format(table_name(mapped)))
    return True


def truncate(conn: psycopg.Connection, mapped: MappedTable) -> None:
    """Empty the table: TRUNCATE, or DELETE where a foreign key or missing rights stand in the way."""
    try:
        with conn.transaction():
            conn.execute(sql.SQL("truncate table {}").format(table_name(mapped)))
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.InsufficientPrivilege):
        conn.execute(sql.SQL("delete from {}").format(table_name(mapped)))


def delete_range(
    conn: psycopg.Connection, mapped: MappedTable, lower: Sequence[Any] | None, upper: Sequence[Any] | None
) -> int:
    """Delete the rows whose key lies in [lower, upper); None is an open end. Returns how many there were.

    Only for keys whose order is the same on both sides (integers). Without any bound the table is emptied.
    """
    if lower is None and upper is None:
        return conn.execute(sql.SQL("delete from {}").format(table_name(mapped))).rowcount
    where, values = key_range(mapped, lower, upper)
    # A table that is being filled has no statistics yet; by guess the planner would read all of it.
    conn.execute("set local enable_seqscan = off")
    statement = sql.SQL("delete from {} where {}").format(
        beside_parameters(mapped.target_schema, mapped.target_name), where
    )
    deleted = conn.execute(statement, values).rowcount
    conn.execute("set local enable_seqscan to default")
    return deleted


def key_range(
    mapped: MappedTable, lower: Sequence[Any] | None, upper: Sequence[Any] | None
) -> tuple[sql.Composable, list[str]]:
    """A condition for the rows whose key lies in [lower, upper), and its values; None is an open end."""
    key = sql.SQL(", ").join(beside_parameters(c.target_name) for c in mapped.key)
    conditions, values = [], []
    for bound, operator in ((lower, ">="), (upper, "<")):
        if bound is not None:
            marks = sql.SQL(", ").join([sql.Placeholder()] * len(bound))
            conditions.append(sql.SQL("({}) {} ({})").format(key, sql.SQL(operator), marks))
            values += [str(value) for value in bound]  # as text: each takes its column's type, and so the index
    return sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true"), values


def elsewhere(mapped: MappedTable, schema: str, name: str) -> MappedTable:
    """The mapping of a table of the same columns, without more, of another name."""
    return msgspec.structs.replace(mapped, target_schema=schema, target_name=name, rows=ALL_ROWS)


def beside_parameters(*names: str) -> sql.Identifier:
    """An identifier for a statement with parameters: the driver would take a `%` in a name for a placeholder."""
    return sql.Identifier(*(name.replace("%", "%%") for name in names))


def unique_indexes(conn: psycopg.Connection, mapped: MappedTable) -> list[tuple[str, ...]]:
    """The columns of each unique index beside the key's; `()` stands for those on expressions or with a condition."""
    found = find(conn, mapped.target_schema, mapped.target_name)
    if found is None:
        raise ConfigurationError(
            f"table {mapped.target_schema}.{mapped.target_name} is not on the target",
            "copy the pipeline again: `cdc start NAME --force-resync`.",
        )
    key = {c.target_name for c in mapped.key}
    return [k for k in found.keys if set(k) != key] + ([()] if found.unique_expressions else [])
