"""Tables that keep every version of their rows. Everything in the caller's transaction.

The open version of a key has null in the column `valid_to`; a partial unique index allows no second one.
The stream's versions are written by `history_apply`; here is what is done to many rows at once: a copy's rows, a
repair's or a shadow's become the open versions, and closed ones stay whatever happens.
"""

from collections.abc import Callable, Sequence
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import TIME_TYPE, VERSION_TYPE, MappedTable, RowRules
from cdc_pipelines.replication.column_shape import AddedColumn
from cdc_pipelines.replication.databases.postgres import ddl, existing
from cdc_pipelines.replication.databases.postgres.inherit import inherit
from cdc_pipelines.replication.databases.postgres.refusals import reason
from cdc_pipelines.replication.databases.postgres.soft_deletes import make_stage
from cdc_pipelines.replication.errors import ConfigurationError

Key = Sequence[Any]
Load = Callable[[MappedTable, tuple[bytes, ...]], tuple[int, int]]
"""Fills the table of a mapping, with these values for its last columns; returns rows and bytes."""

_UNSEEN = sql.SQL("'infinity'")
"""Where a version ends of which it is not known yet whether the copy under way brings it."""


def _run(
    conn: psycopg.Connection, template: LiteralString, table: MappedTable, values: Sequence[Any] = (), **more: Any
) -> int:
    """A statement about the table `live`; how many rows it touched. A `%` in it, but for parameters', is doubled."""
    return conn.execute(sql.SQL(template).format(**_parts(table), **more), list(values)).rowcount


def _parts(table: MappedTable) -> dict[str, Any]:
    name, rules = ddl.beside_parameters, table.rows
    return {
        "live": name(table.target_schema, table.target_name), "valid_from": name(rules.valid_from),
        "valid_to": name(rules.valid_to), "version": name(rules.version), "unseen": _UNSEEN,
        "loaded": sql.SQL(", ").join(name(column) for column, _ in table.loaded),
        "theirs": sql.SQL(", ").join(sql.SQL("s.{}").format(name(column)) for column, _ in table.loaded),
        "key": sql.SQL(" and ").join(sql.SQL("l.{0} = s.{0}").format(name(c.target_name)) for c in table.key),
        "same": _same(table),
    }


def _same(table: MappedTable) -> sql.Composed:
    """The version `l` says what the row `s` is: by its bytes, and but for what is told of a change."""
    told = [c.target_name for c in table.columns] + [a.name for a in table.added if a.origin == "constant"]
    rows = [
        sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.SQL(side), ddl.beside_parameters(column)) for column in told)
        for side in ("l", "s")
    ]
    return sql.SQL("row({})::record operator(pg_catalog.*=) row({})::record").format(*rows)


# Versions that end


def close_range(
    conn: psycopg.Connection, table: MappedTable, at_ms: int | None, lower: Key | None = None, upper: Key | None = None
) -> int:
    """Close the open versions whose key lies in [lower, upper) at `at_ms`, milliseconds since 1970; None: an open end.

    Returns how many there were.
    """
    where, values = ddl.key_range(table, lower, upper)
    return _run(
        conn,
        "update {live} set {valid_to} = greatest(to_timestamp(%s / 1000.0), {valid_from}) "
        "where {valid_to} is null and {where}",
        table, [at_ms or 0, *values], where=where,
    )


def end_unseen(conn: psycopg.Connection, table: MappedTable) -> int:
    """All rows are copied: what was open before, and did not come, is closed now. How many versions that were."""
    return _run(
        conn, "update {live} set {valid_to} = greatest(now(), {valid_from}) where {valid_to} = {unseen}", table
    )


# Rows that come by a copy or a repair


def expect_all(conn: psycopg.Connection, table: MappedTable) -> None:
    """All rows are about to be copied, in whatever order: no version is open but those that `load_range` finds again.

    What it does not find, `end_unseen` closes.
    """
    _run(conn, "update {live} set {valid_to} = {unseen} where {valid_to} is null", table)


def reopen(conn: psycopg.Connection, table: MappedTable) -> int:
    """A copy was broken off: versions that it did not come to are open, as they were before it. How many."""
    return _run(conn, "update {live} set {valid_to} = null where {valid_to} = {unseen}", table)


def load_range(
    conn: psycopg.Connection, table: MappedTable, lower: Key | None, upper: Key | None, load: Load, *, taken_at: str,
    by_range: bool,
) -> tuple[int, int]:
    """Let the rows that `load` puts into the table it is given be the open versions of a key range; as it tells.

    A row that is as its open version says goes on in it; other versions end at `taken_at`, and new ones begin.
    `by_range`: the key's order is the same on both sides; else `expect_all` came before.
    """
    where, values = ddl.key_range(table, lower, upper) if by_range else (sql.SQL("true"), [])
    if not _run(conn, "select 1 from {live} where {where} limit 1", table, values, where=where):
        rules = table.rows
        ours = (AddedColumn(rules.valid_from, TIME_TYPE), AddedColumn(rules.version, VERSION_TYPE))
        return load(msgspec.structs.replace(table, added=(*table.added, *ours)), (taken_at.encode(), b"1"))
    stage = make_stage(conn, table)
    loaded = load(stage, ())
    rows, at = ddl.table_name(stage), sql.SQL("{}::timestamptz").format(sql.Literal(taken_at))
    conn.execute(sql.SQL("analyze {}").format(rows))
    if by_range:
        _run(conn, _CLOSE_OTHERS, table, values, at=at, where=where, rows=rows)
    else:
        _run(conn, _FIND_AGAIN, table, at=at, rows=rows)
    _run(conn, _OPEN_MISSING, table, at=at, rows=rows)
    return loaded


def open_rows(conn: psycopg.Connection, table: MappedTable, load: Load, *, taken_at: str) -> int:
    """New open versions of rows that have none, as `load` brings them; how many."""
    stage = make_stage(conn, table)
    count, _ = load(stage, ())
    at = sql.SQL("{}::timestamptz").format(sql.Literal(taken_at))
    _run(conn, _OPEN_MISSING, table, at=at, rows=ddl.table_name(stage))
    return count


# Open versions of a range that are none of `rows` end.
_CLOSE_OTHERS = """
    update {live} l set {valid_to} = greatest({at}, {valid_from})
    where {valid_to} is null and {where} and not exists (select 1 from {rows} s where {key} and {same})
"""
# Of versions that `expect_all` marked, those that are as they were are open again, those of other rows end.
_FIND_AGAIN = """
    update {live} l set {valid_to} = case when not {same} then greatest({at}, l.{valid_from}) end
    from {rows} s where {key} and l.{valid_to} = {unseen}
"""
# Each of `rows` whose key has no open version gets one: from `at` on, or where the last one ended.
_OPEN_MISSING = """
    insert into {live} ({loaded}, {valid_from}, {version}) overriding system value
    select {theirs}, greatest({at}, b.since), coalesce(b.version, 0) + 1
    from {rows} s left join lateral (
        select l.{version} as version, l.{valid_to} as since from {live} l where {key}
        order by l.{version} desc limit 1
    ) b on true
    where not exists (select 1 from {live} l where {key} and l.{valid_to} is null)
"""


# Another table in its place


def merge(conn: psycopg.Connection, shadow: MappedTable, live: MappedTable) -> None:
    """Let the open versions of `live` say what those of `shadow` do. Closed versions of the shadow are not taken.

    The stream has written down what they tell, as long as it had the table. A version begins when the shadow's does;
    one that the shadow does not have ends when the row was deleted there, or when the shadow was begun.
    """
    theirs = _parts(shadow)
    rows = sql.SQL("(select * from {live} where {valid_to} is null)").format(**theirs)
    ends = sql.SQL(
        "coalesce((select max(coalesce(s.{valid_to}, s.{valid_from})) from {live} s where {key}), "
        "(select min({valid_from}) from {live}), now())"
    ).format(**theirs)
    begins = sql.SQL("s.{valid_from}").format(**theirs)
    end_unseen(conn, shadow)
    _run(conn, _CLOSE_OTHERS, live, at=ends, where=sql.SQL("true"), rows=rows)
    _run(conn, _OPEN_MISSING, live, at=begins, rows=rows)


def kept_by(conn: psycopg.Connection, table: MappedTable, before: MappedTable | None) -> RowRules | None:
    """By which names the target table keeps a history already, those of now or of `before`; None: it has none."""
    found = existing.find(conn, table.target_schema, table.target_name)
    if found is None:
        return None
    known = [each.rows for each in (table, before) if each is not None and each.rows.history]
    return next((rules for rules in known if all(name in found.columns for name, _ in rules.columns)), None)


def require_none(conn: psycopg.Connection, table: MappedTable) -> None:
    """Raises ConfigurationError where the target table keeps a history by names that are not known any more.

    It is told by the index that allows one open version of a key. Such a table was left out of the pipeline and comes
    back under other settings.
    """
    found = existing.find(conn, table.target_schema, table.target_name)
    key = {column.target_name for column in table.key}
    ends = [said for names, said in (found.conditional if found else ()) if set(names) == key and "IS NULL" in said]
    if ends and not existing.is_empty(conn, table):
        name, rules = f"{table.target_schema}.{table.target_name}", table.rows
        raise ConfigurationError(
            f"table {table.name}: {name} keeps a history (open versions: {ends[0]}), and not in the columns "
            f"{rules.valid_from}, {rules.valid_to}, {rules.version}",
            f"give these the names that {name} has for them (shape, {table.name}), or rename or drop {name} on the "
            "target; then run the same command again.",
        )


def require_same_key(conn: psycopg.Connection, table: MappedTable, kept: RowRules) -> None:
    """Raises ConfigurationError where the history that is there is that of another key."""
    found = existing.find(conn, table.target_schema, table.target_name)
    wanted = {column.target_name for column in table.key}
    keys = [set(key) - {kept.version} for key in (found.keys if found else ()) if kept.version in key]
    if wanted not in keys:
        name = f"{table.target_schema}.{table.target_name}"
        there = ", ".join(sorted(keys[0])) if keys else "none"
        raise ConfigurationError(
            f"table {table.name}: its history in {name} is kept by the key ({there}), and the table has the key "
            f"({', '.join(sorted(wanted))}) now: old and new versions can't be told to be of one row",
            f"rename {name} on the target to keep it beside (or drop it); then run the same command again, which makes "
            "a new one.",
        )


def rebuild(
    conn: psycopg.Connection, table: MappedTable, kept: RowRules, before: MappedTable | None = None
) -> None:
    """Let the table have its mapping's columns; all versions stay. Columns that it did not have are null in them.

    Those that the source lost, and that the mapping `before` has kept, stay for the versions that have values there.
    Raises ConfigurationError where a value of an old version does not fit, the server's error where something depends
    on the table.
    """
    require_same_key(conn, table, kept)
    old = ddl.elsewhere(table, table.target_schema, "_cdc_old")
    conn.execute(sql.SQL("alter table {} rename to {}").format(ddl.table_name(table), sql.Identifier(old.target_name)))
    ddl.create_table(conn, table)
    found = existing.find(conn, old.target_schema, old.target_name)
    assert found is not None
    there = {name: column.type for name, column in found.columns.items()}
    stay = [(name, there[name]) for name in table.still_keeping(before).kept if name in there]
    for name, kind in stay:
        conn.execute(
            sql.SQL("alter table {} add column {} {}").format(
                ddl.table_name(table), sql.Identifier(name), sql.SQL(kind)
            )
        )
    names, values = [], []
    was = {new: old_name for (new, _), (old_name, _) in zip(table.rows.columns, kept.columns, strict=True)}
    for name, kind in (*table.landing, *stay):
        source = was.get(name, name)
        if source not in there:
            continue
        names.append(sql.Identifier(name))
        values.append(existing.as_type(sql.Identifier(source), there[source], kind))
    statement = sql.SQL("insert into {} ({}) overriding system value select {} from {}").format(
        ddl.table_name(table), sql.SQL(", ").join(names), sql.SQL(", ").join(values), ddl.table_name(old)
    )
    try:
        conn.execute(statement)
    except (psycopg.DataError, psycopg.errors.CannotCoerce) as error:
        raise ConfigurationError(
            f"table {table.name}: a version in {table.target_schema}.{table.target_name} has a value that the columns "
            f"of now can't hold: {reason(error)}",
            "give the column a type that holds its former values, too (shape, columns, type, in the pipeline's file), "
            "or change those versions yourself; then run the same command again.",
        ) from error
    inherit(conn, table, old)
    ddl.drop_table(conn, old)


# Whether all is well with it


def malformed(conn: psycopg.Connection, table: MappedTable) -> int:
    """Versions that end before they begin, or after the next one of their key does begin: reads all of the table."""
    names = sql.SQL(", ").join(ddl.beside_parameters(column.target_name) for column in table.key)
    return _run(
        conn,
        "select 1 from (select {valid_from} as begins, {valid_to} as ends, lead({valid_from}) over "
        "(partition by {names} order by {version}) as following from {live}) v where ends < begins "
        "or (following is not null and (ends is null or ends > following))",
        table, names=names,
    )
