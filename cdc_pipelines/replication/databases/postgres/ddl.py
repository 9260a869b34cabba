"""Tables of the target: make them, change them, empty them. Everything in the caller's transaction."""

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import ALL_ROWS, MappedColumn, MappedTable
from cdc_pipelines.replication.databases.postgres.existing import find, is_not_null, plain_type
from cdc_pipelines.replication.errors import UnsupportedChangeError


def table_name(mapped: MappedTable) -> sql.Identifier:
    return sql.Identifier(mapped.target_schema, mapped.target_name)


def create_table(conn: psycopg.Connection, mapped: MappedTable) -> bool:
    """Make the table (and its schema) where it is missing. Returns whether it was made."""
    if find(conn, mapped.target_schema, mapped.target_name) is not None:
        return False
    schema = conn.execute("select 1 from pg_catalog.pg_namespace where nspname = %s", [mapped.target_schema])
    if schema.fetchone() is None:
        conn.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(mapped.target_schema)))
    # A row that stays, though the source has it no more, stays as it was, whatever its table becomes.
    parts = [
        _column_definition(column, not_null=is_not_null(column) and (not mapped.rows.ended or column in mapped.key))
        for column in mapped.columns
    ]
    parts += [
        sql.SQL("{} {}{}").format(
            sql.Identifier(name), sql.SQL(kind), sql.SQL(" not null" if name in _never_null(mapped) else "")
        )
        for name, kind in mapped.landing[len(mapped.columns) :]
    ]
    key = [sql.Identifier(c.target_name) for c in mapped.key]
    if key:
        whole = [*key, sql.Identifier(mapped.rows.version)] if mapped.rows.history else key
        parts.append(sql.SQL("primary key ({})").format(sql.SQL(", ").join(whole)))
    statement = sql.SQL("create table if not exists {} ({})").format(table_name(mapped), sql.SQL(", ").join(parts))
    conn.execute(statement)
    if mapped.rows.history:  # at most one version of a key is open
        conn.execute(
            sql.SQL("create unique index on {} ({}) where {} is null").format(
                table_name(mapped), sql.SQL(", ").join(key), sql.Identifier(mapped.rows.valid_to)
            )
        )
    return True


def _never_null(mapped: MappedTable) -> tuple[str, ...]:
    """Those of the columns that the source does not have."""
    return (mapped.rows.valid_from, mapped.rows.version) if mapped.rows.history else ()


def _column_definition(column: MappedColumn, *, not_null: bool) -> sql.Composed:
    return sql.SQL("{} {}{}").format(
        sql.Identifier(column.target_name),
        sql.SQL(column.target_type),  # ours, from the value's form
        sql.SQL(" not null" if not_null else ""),
    )


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
        # Where rows stay that the source has no more, columns stay free; see `create_table`.
        not_null = is_not_null(column) and default_literal is not None and not before.rows.ended
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
