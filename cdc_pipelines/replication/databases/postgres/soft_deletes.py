"""Tables whose deleted rows stay, marked with the time of their delete. Everything in the caller's transaction.

A live row has null in the column of that time. The stream marks a row by an upsert, like any other change; here is what
is done to many rows at once.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.postgres import ddl, existing
from cdc_pipelines.replication.databases.postgres.inherit import inherit

Key = Sequence[Any]


def mark_range(
    conn: psycopg.Connection, table: MappedTable, at_ms: int | None, lower: Key | None = None, upper: Key | None = None
) -> int:
    """Mark the live rows whose key lies in [lower, upper) as deleted at `at_ms`; None is an open end."""
    where, values = ddl.key_range(table, lower, upper)
    column = ddl.beside_parameters(table.rows.deleted_column)
    statement = sql.SQL("update {} set {} = %s where {} is null and {}").format(
        ddl.beside_parameters(table.target_schema, table.target_name), column, column, where
    )
    if values:  # as in `ddl.delete_range`
        conn.execute("set local enable_seqscan = off")
    marked = conn.execute(statement, [datetime.fromtimestamp((at_ms or 0) / 1000, UTC), *values]).rowcount
    conn.execute("set local enable_seqscan to default")
    return marked


def load_range(
    conn: psycopg.Connection, table: MappedTable, lower: Key | None, upper: Key | None,
    load: Callable[[MappedTable], tuple[int, int]], *, by_range: bool,
) -> tuple[int, int]:
    """Let the rows that `load` puts into the table it is given be the live ones of a key range; returns what it does.

    Rows that are there stay: as deleted ones, if `load` does not bring their keys. `by_range`: the key's order is the
    same on both sides; else all live rows were marked before.
    """
    if by_range:
        mark_range(conn, table, time.time_ns() // 1_000_000, lower, upper)
    where, values = ddl.key_range(table, lower, upper) if by_range else (sql.SQL("true"), [])
    there = sql.SQL("select 1 from {} where {} limit 1").format(
        ddl.beside_parameters(table.target_schema, table.target_name), where
    )
    if conn.execute(there, values).fetchone() is None:
        return load(table)
    stage = make_stage(conn, table)
    loaded = load(stage)
    take_staged(conn, table, stage)
    return loaded


def rebuild(conn: psycopg.Connection, table: MappedTable) -> None:
    """Let the table have its mapping's columns; all rows that are there become deleted ones, if they aren't yet.

    Raises the server's error where something depends on the table.
    """
    old = ddl.elsewhere(table, table.target_schema, "_cdc_old")
    conn.execute(sql.SQL("alter table {} rename to {}").format(ddl.table_name(table), sql.Identifier(old.target_name)))
    ddl.create_table(conn, table)
    carry_over(conn, old, table, table.rows.deleted_column)
    inherit(conn, table, old)
    ddl.drop_table(conn, old)


def keeps_deleted(conn: psycopg.Connection, table: MappedTable) -> bool:
    """Whether the table is there, and has the column that marks deleted rows."""
    found = existing.find(conn, table.target_schema, table.target_name)
    return found is not None and table.rows.deleted_column in found.columns


def carry_over(conn: psycopg.Connection, old: MappedTable, new: MappedTable, column: str) -> int:
    """Let the rows of `old` that `new` lacks go on in it as deleted ones; how many there were.

    `column` is what the time of a delete is called in `old`. A row that is live there was deleted, or left the filter,
    while nobody followed the table: it is marked now. Columns that `old` does not have are null. Of rows that share a
    key, where that is another one now, one goes on; none where `old` has no such columns.
    """
    found = existing.find(conn, old.target_schema, old.target_name)
    if found is None or column not in found.columns:
        return 0
    there = {name: column.type for name, column in found.columns.items()}
    shared = [(name, kind) for name, kind in new.landing if name in there and name != new.rows.deleted_column]
    if not {key.target_name for key in new.key} <= {name for name, _ in shared}:
        return 0  # another key: the rows can't be told
    names = [sql.Identifier(name) for name, _ in shared]
    values = [existing.as_type(sql.Identifier("o", name), there[name], kind) for name, kind in shared]
    same = sql.SQL(" and ").join(
        sql.SQL("n.{0} = o.{0}").format(sql.Identifier(key.target_name)) for key in new.key
    )
    for mapped in new.columns:
        if mapped.target_name not in there:
            conn.execute(
                sql.SQL("alter table {} alter column {} drop not null").format(
                    ddl.table_name(new), sql.Identifier(mapped.target_name)
                )
            )
    return conn.execute(
        sql.SQL(
            "insert into {new} ({names}, {mark}) overriding system value "
            "select {values}, coalesce(o.{column}, now()) from {old} o "
            "where not exists (select 1 from {new} n where {same}) on conflict do nothing"
        ).format(
            new=ddl.table_name(new), old=ddl.table_name(old), names=sql.SQL(", ").join(names),
            column=sql.Identifier(column), mark=sql.Identifier(new.rows.deleted_column),
            values=sql.SQL(", ").join(values), same=same,
        )
    ).rowcount


_STAGE = "_cdc_staged"


def make_stage(conn: psycopg.Connection, table: MappedTable) -> MappedTable:
    """An empty table for rows of the source, gone with the transaction; as a mapping to load it by."""
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in table.loaded
    )
    conn.execute(sql.SQL("drop table if exists pg_temp.{}").format(sql.Identifier(_STAGE)))
    conn.execute(sql.SQL("create temporary table {} ({}) on commit drop").format(sql.Identifier(_STAGE), columns))
    return ddl.elsewhere(table, "pg_temp", _STAGE)


def take_staged(conn: psycopg.Connection, table: MappedTable, stage: MappedTable) -> None:
    """The stage's rows are the table's live ones of their keys."""
    same = sql.SQL(" and ").join(
        sql.SQL("l.{0} = s.{0}").format(sql.Identifier(key.target_name)) for key in table.key
    )
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in table.loaded)
    parts = {"live": ddl.table_name(table), "stage": ddl.table_name(stage), "same": same, "names": names}
    conn.execute(sql.SQL("delete from {live} l using {stage} s where {same}").format(**parts))
    conn.execute(
        sql.SQL("insert into {live} ({names}) overriding system value select {names} from {stage}").format(**parts)
    )
