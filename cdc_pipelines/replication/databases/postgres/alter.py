"""A table of the target takes the source's new columns and key, in the caller's transaction.

Before anything is changed the target is asked whether the source's change converted values: at this place of the log
its rows are the source's as they were before it.
"""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable
from cdc_pipelines.replication.changes.batches import Redefine
from cdc_pipelines.replication.changes.conversions import (
    Beyond,
    EndsInSpace,
    Equals,
    FinerThan,
    IsNull,
    LargerThan,
    LongerThan,
    NotOneOf,
    NotSingle,
    Outside,
    Question,
)
from cdc_pipelines.replication.databases.postgres import ddl, existing


class ValuesConvertedError(Exception):
    """The source converted a column's values, which the log does not tell. Nothing was changed here."""


def redefine(conn: psycopg.Connection, change: Redefine) -> None:
    """Raises ValuesConvertedError, or UnsupportedChangeError where a column of the target's own stands in the way."""
    before, after = change.before, change.after
    _ask(conn, change)
    table = ddl.table_name(before)
    rekeyed = [c.target_name for c in before.key] != [_name_before(change, c) for c in after.key]
    if rekeyed:
        _drop_key(conn, before)
    _part_with_columns(conn, change)
    _rename(conn, change)
    for column in after.columns:
        origin = change.origins.get(column.source.name)
        if origin is None:
            ddl.add_column(conn, before, column, change.literals[column.source.name])
        else:
            free = column in after.key or bool(after.rows.ended)  # a row that stays keeps its nulls
            _alter_column(conn, table, _by_name(before)[origin], column, free)
    if rekeyed and after.key:
        _add_key(conn, after)


def _by_name(table: MappedTable) -> dict[str, MappedColumn]:
    return {column.source.name: column for column in table.columns}


def _name_before(change: Redefine, column: MappedColumn) -> str | None:
    """The target's name, before the change, of a column that is there after it."""
    origin = change.origins.get(column.source.name)
    return None if origin is None else _by_name(change.before)[origin].target_name


# Questions


def _ask(conn: psycopg.Connection, change: Redefine) -> None:
    """All of them in one look at the table."""
    if not change.questions:
        return
    columns, ended = _by_name(change.before), change.before.rows.ended
    # What takes another type must fit in all rows; a null stays one where the source does not have the row any more.
    here = sql.SQL("{} is null").format(sql.Identifier(ended)) if ended else sql.SQL("true")
    asked = sql.SQL(", ").join(
        sql.SQL("coalesce(bool_or(({}) and {}), false)").format(
            _condition(question, sql.Identifier(columns[name].target_name)),
            here if isinstance(question, IsNull | Equals) else sql.SQL("true"),
        )
        for name, question in change.questions
    )
    answers = conn.execute(sql.SQL("select {} from {}").format(asked, ddl.table_name(change.before))).fetchone()
    assert answers is not None
    converted = dict.fromkeys(name for (name, _), yes in zip(change.questions, answers, strict=True) if yes)
    if converted:
        raise ValuesConvertedError(f"the source converted values of {', '.join(converted)}")


def _condition(question: Question, column: sql.Identifier) -> sql.Composed:
    literal = sql.Literal
    match question:
        case Outside(low, high, scale):
            number = sql.SQL("{}::text::numeric").format(column)
            template = "{0} < {1} or {0} > {2} or round({0}, {3}) <> {0}"
            return sql.SQL(template).format(number, literal(low), literal(high), literal(scale))
        case LongerThan(characters):
            return sql.SQL("char_length({}) > {}").format(column, literal(characters))
        case LargerThan(size, exactly):
            return sql.SQL("octet_length({}) {} {}").format(column, sql.SQL("<>" if exactly else ">"), literal(size))
        case Beyond(repertoire):
            plane = "[^\\x01-\\x7f]" if repertoire == "ascii" else "[\\U00010000-\\U0010FFFF]"
            return sql.SQL("{} ~ {}").format(column, literal(plane))
        case EndsInSpace():
            return sql.SQL("right({}, 1) = ' '").format(column)
        case NotOneOf(labels, is_set):
            value = sql.SQL("string_to_array({}, ',')").format(column) if is_set else column
            template = "not ({} <@ {}::text[])" if is_set else "{} <> all({}::text[])"
            return sql.SQL(template).format(value, literal(list(labels)))
        case FinerThan(digits):
            if digits is None:
                return sql.SQL("{0}::date::timestamp <> {0}").format(column)
            factor = sql.SQL("extract(microseconds from {})::bigint % {} <> 0")
            return factor.format(column, literal(10 ** (6 - digits)))
        case NotSingle():
            return sql.SQL("{0}::real::double precision <> {0}").format(column)
        case IsNull():
            return sql.SQL("{} is null").format(column)
        case Equals(text):
            return sql.SQL("{} = {}").format(column, literal(text))


# Columns


def _part_with_columns(conn: psycopg.Connection, change: Redefine) -> None:
    """Columns that the source has no more: they go, stay as they are, or make room for a new one of that name."""
    before, after = change.before, change.after
    table = ddl.table_name(before)
    wanted = {column.target_name for column in after.columns}
    gone = [c for c in before.columns if c.source.name not in change.origins.values()]
    for column in gone:
        name = sql.Identifier(column.target_name)
        if change.drops or column.target_name in wanted:
            conn.execute(sql.SQL("alter table {} drop column {}").format(table, name))
        else:
            conn.execute(sql.SQL("alter table {} alter column {} drop not null").format(table, name))
    for kept in before.kept:
        if kept in wanted:
            conn.execute(sql.SQL("alter table {} drop column if exists {}").format(table, sql.Identifier(kept)))


def _rename(conn: psycopg.Connection, change: Redefine) -> None:
    """Over names that nobody has where two columns swap theirs."""
    table = ddl.table_name(change.before)
    moves = [
        (old, column.target_name) for column in change.after.columns
        if (old := _name_before(change, column)) is not None and old != column.target_name
    ]
    olds = {old for old, _ in moves}
    if any(new in olds for _, new in moves):
        aside = [(old, f"_cdc_moved_{n}") for n, (old, _) in enumerate(moves)]
        _rename_each(conn, table, aside)
        moves = [(f"_cdc_moved_{n}", new) for n, (_, new) in enumerate(moves)]
    _rename_each(conn, table, moves)


def _rename_each(conn: psycopg.Connection, table: sql.Identifier, moves: Sequence[tuple[str, str]]) -> None:
    statement = sql.SQL("alter table {} rename column {} to {}")
    for old, new in moves:
        conn.execute(statement.format(table, sql.Identifier(old), sql.Identifier(new)))


def _alter_column(
    conn: psycopg.Connection, table: sql.Identifier, before: MappedColumn, after: MappedColumn, free: bool
) -> None:
    """`free`: it is not our part to see to it that values are not null."""
    name = sql.Identifier(after.target_name)
    if before.target_type != after.target_type:
        if after.target_type not in ("smallint", "integer", "bigint"):
            conn.execute(sql.SQL("alter table {} alter column {} drop identity if exists").format(table, name))
        via = "::int" if "boolean" in (before.target_type, after.target_type) else ""
        conn.execute(
            sql.SQL("alter table {} alter column {} type {} using {}{}::{}").format(
                table, name, sql.SQL(after.target_type), name, sql.SQL(via), sql.SQL(after.target_type)
            )
        )
    was, shall = existing.is_not_null(before), existing.is_not_null(after)
    if was != shall and not free:
        action = sql.SQL("set" if shall else "drop")
        conn.execute(sql.SQL("alter table {} alter column {} {} not null").format(table, name, action))


# Keys


def _drop_key(conn: psycopg.Connection, table: MappedTable) -> None:
    """The primary key, and what else is unique over the old key's columns: their values may come twice now."""
    rows = conn.execute(
        "select i.indexrelid::regclass::text, c.conname, "
        "array(select a.attname::text from unnest(i.indkey::int2[]) k(n) "
        "join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n) "
        "from pg_catalog.pg_index i left join pg_catalog.pg_constraint c on c.conindid = i.indexrelid "
        "and c.contype in ('p', 'u') where i.indrelid = %s::regclass and i.indisunique "
        "and i.indexprs is null and i.indpred is null",
        [ddl.table_name(table).as_string(conn)],
    ).fetchall()
    key = {column.target_name for column in table.key}
    for index, constraint, columns in rows:
        if not key or set(columns) != key:
            continue
        if constraint is not None:
            conn.execute(
                sql.SQL("alter table {} drop constraint {}").format(ddl.table_name(table), sql.Identifier(constraint))
            )
        else:
            conn.execute(sql.SQL("drop index {}").format(sql.SQL(index)))  # quoted by the server


def _add_key(conn: psycopg.Connection, table: MappedTable) -> None:
    names = [column.target_name for column in table.key]
    found = existing.find(conn, table.target_schema, table.target_name)
    if found is not None and any(set(key) == set(names) for key in found.keys):
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    conn.execute(sql.SQL("alter table {} add primary key ({})").format(ddl.table_name(table), columns))
