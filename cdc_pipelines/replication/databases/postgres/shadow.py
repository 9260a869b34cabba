"""The shadow: a second copy of a target table, filled unseen, that takes the table's place or gives it its rows.

Where nothing hangs on the table, the shadow takes its name: done in a moment, whatever its size. Views, foreign keys,
triggers and the like hang on the table itself, not on its name; where there are any, it gets the shadow's rows instead.
Either way in one transaction: a reader sees the rows of before, and then those of after.
"""

from collections.abc import Collection, Sequence

import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable, RowRules
from cdc_pipelines.replication.databases.postgres import ddl, existing, history, soft_deletes
from cdc_pipelines.replication.databases.postgres.inherit import inherit
from cdc_pipelines.replication.errors import ConfigurationError

_LOCK_WAIT_S = 1  # whoever comes to read waits behind us for as long

# What makes an index what it is, but for its name and its table.
_INDEX_TRAITS = (
    "(i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text, i.indisunique, i.indisprimary, "
    "pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid))::text"
)


def create_shadow(
    conn: psycopg.Connection, shadow: MappedTable, live: MappedTable, before: MappedTable | None = None
) -> None:
    """Make the shadow where it is missing: with the target table's indexes and defaults, if its columns still fit.

    `before` is the mapping that the table had; a column that is no longer replicated goes, and so does a key that the
    source's table has no more: it may hold such rows twice now.
    """
    if existing.find(conn, shadow.target_schema, shadow.target_name) is not None:
        return
    if live.rows.history and (kept := history.kept_by(conn, live, before)) is not None:
        history.require_same_key(conn, live, kept)
    if not misfits(conn, live) and not _names(before) - _names(live) and _has_key_of(before, live):
        conn.execute(
            sql.SQL("create table {} (like {} including all)").format(ddl.table_name(shadow), ddl.table_name(live))
        )
    else:
        ddl.create_table(conn, shadow)


def misfits(conn: psycopg.Connection, live: MappedTable) -> list[str]:
    """Why the target table does not have the mapped columns and key (rows in it are no matter)."""
    if existing.find(conn, live.target_schema, live.target_name) is None:
        return ["is not there"]
    return [w for w in existing.misfits(conn, live) if not w.startswith("holds rows")]


def _has_key_of(before: MappedTable | None, live: MappedTable) -> bool:
    return before is None or {c.target_name for c in before.key} <= {c.target_name for c in live.key}


def _names(table: MappedTable | None) -> set[str]:
    return {name for name, _ in table.landing} if table is not None else set()


def take_place(
    conn: psycopg.Connection, shadow: MappedTable, live: MappedTable, before: MappedTable | None = None, *,
    swap: bool = True,
) -> str:
    """Let the target table have the shadow's rows, in the caller's transaction. The shadow is gone then.

    `before` is the mapping that the table had: its columns are not the target's own, and go where they are not mapped
    any more.

    Returns `swapped` or `merged`, which needs no lock that readers wait for; without `swap` it is always that. Raises
    the server's error where readers keep the table locked, ConfigurationError where things hang on a table whose
    columns must change.
    """
    conn.execute(f"set local lock_timeout = '{_LOCK_WAIT_S}s'".encode())
    if existing.find(conn, live.target_schema, live.target_name) is None:
        if shadow.rows.history:
            history.end_unseen(conn, shadow)
        _rename(conn, shadow, live)
        return "swapped"
    if live.rows.history and (kept := history.kept_by(conn, live, before)) is not None:
        return _give_versions(conn, shadow, live, before, kept)
    if live.rows.soft and (before is None or before.rows.soft):
        was = live.rows if before is None else before.rows
        soft_deletes.carry_over(conn, live, shadow, was.deleted_column)
    reasons = what_hangs_on(conn, live, before)
    if swap and not reasons:
        inherit(conn, shadow, live)
        indexes = _indexes(conn, live)
        conn.execute(sql.SQL("drop table {}").format(ddl.table_name(live)))
        _rename(conn, shadow, live)
        _rename_indexes(conn, live, indexes)
        _rename_sequences(conn, shadow, live)
        return "swapped"
    _require_fits(conn, shadow, live, reasons)
    merge(conn, shadow, live)
    conn.execute(sql.SQL("drop table {}").format(ddl.table_name(shadow)))
    return "merged"


def _require_fits(conn: psycopg.Connection, shadow: MappedTable, live: MappedTable, reasons: Sequence[str]) -> None:
    wrong = misfits(conn, live)
    if wrong:
        raise ConfigurationError(
            f"table {live.target_schema}.{live.target_name} {'; '.join(wrong)}, and can't be replaced by one that "
            "fits: it has " + (", ".join(reasons) or "readers that keep it locked"),
            f"alter it yourself, or drop what hangs on it; then run the same command again. Its new rows are kept "
            f"ready in {shadow.target_schema}.{shadow.target_name}.",
        )


def _give_versions(
    conn: psycopg.Connection, shadow: MappedTable, live: MappedTable, before: MappedTable | None, kept: RowRules
) -> str:
    """A table with a history is not replaced: where its columns change, it is made anew with all its versions."""
    if misfits(conn, live) or _names(before) - _names(live):
        reasons = what_hangs_on(conn, live, before, besides=before.kept if before is not None else ())
        if reasons:
            _require_fits(conn, shadow, live, reasons)
        else:
            history.rebuild(conn, live, kept, before)
    history.merge(conn, shadow, live)
    conn.execute(sql.SQL("drop table {}").format(ddl.table_name(shadow)))
    return "merged"


def what_hangs_on(
    conn: psycopg.Connection, live: MappedTable, before: MappedTable | None = None, besides: Collection[str] = ()
) -> list[str]:
    """In words, what a table has that another table in its place would lack; empty where it can be replaced.

    Columns that the other one has `besides` its mapping's are no reason.
    """
    row = conn.execute(
        """
        with t as (
            select c.* from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = %(schema)s and c.relname = %(name)s
        )
        select
            relkind <> 'r' or relispartition or relhassubclass
                or exists (select 1 from pg_inherits where inhrelid = t.oid or inhparent = t.oid),
            exists (select 1 from pg_constraint where contype = 'f' and (conrelid = t.oid or confrelid = t.oid)),
            exists (select 1 from pg_trigger where tgrelid = t.oid and not tgisinternal),
            relrowsecurity or exists (select 1 from pg_policy where polrelid = t.oid),
            exists (select 1 from pg_publication_rel where prrelid = t.oid),
            exists (select 1 from pg_rewrite where ev_class = t.oid),
            exists (select 1 from pg_attribute where attrelid = t.oid and attacl is not null),
            relpersistence <> 'p' or relreplident <> 'd' or reltablespace <> 0,
            not pg_has_role(relowner, 'usage')
        from t
        """,
        {"schema": live.target_schema, "name": live.target_name},
    ).fetchone()
    assert row is not None
    words = (
        "partitions or inheritance", "foreign keys", "triggers", "row security", "a publication", "rules",
        "grants on columns", "a storage of its own", "another owner",
    )
    found = [word for word, holds in zip(words, row, strict=True) if holds]
    there = existing.find(conn, live.target_schema, live.target_name)
    extra = set(there.columns if there else ()) - _names(live) - _names(before) - set(besides)
    if extra:
        found.append(f"columns of its own ({', '.join(sorted(extra))})")
    if _is_depended_on(conn, live):
        found.append("views or functions")
    return found


def _is_depended_on(conn: psycopg.Connection, live: MappedTable) -> bool:
    """Whether the server would refuse to drop the table because of others."""
    row = conn.execute(
        """
        select exists (
            select 1 from pg_depend d, (select %s::regclass::oid as oid) t
            where d.deptype = 'n' and d.classid in ('pg_rewrite'::regclass, 'pg_proc'::regclass)
              and (d.refobjid = t.oid or d.refobjid in (select reltype from pg_class where oid = t.oid))
        )
        """,
        [ddl.table_name(live).as_string(conn)],
    ).fetchone()
    assert row is not None
    return bool(row[0])


def _rename(conn: psycopg.Connection, shadow: MappedTable, live: MappedTable) -> None:
    conn.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(live.target_schema)))
    conn.execute(
        sql.SQL("alter table {} set schema {}").format(ddl.table_name(shadow), sql.Identifier(live.target_schema))
    )
    conn.execute(
        sql.SQL("alter table {} rename to {}").format(
            sql.Identifier(live.target_schema, shadow.target_name), sql.Identifier(live.target_name)
        )
    )


def _rename_sequences(conn: psycopg.Connection, shadow: MappedTable, live: MappedTable) -> None:
    """Those of identity columns, which the server named after the shadow."""
    found = conn.execute(
        "select c.relname from pg_depend d join pg_class c on c.oid = d.objid and c.relkind = 'S' "
        "where d.refobjid = %s::regclass and d.deptype = 'i' and starts_with(c.relname, %s)",
        [ddl.table_name(live).as_string(conn), f"{shadow.target_name}_"],
    ).fetchall()
    for (name,) in found:
        wanted = live.target_name + name.removeprefix(shadow.target_name)
        if len(wanted.encode()) <= 63 and existing.find(conn, live.target_schema, wanted) is None:
            conn.execute(
                sql.SQL("alter sequence {} rename to {}").format(
                    sql.Identifier(live.target_schema, name), sql.Identifier(wanted)
                )
            )


def _indexes(conn: psycopg.Connection, table: MappedTable) -> list[tuple[str, str]]:
    """(traits, name) of each index, in one order for equal sets."""
    return conn.execute(
        sql.SQL(
            "select {}, c.relname from pg_index i join pg_class c on c.oid = i.indexrelid "
            "where i.indrelid = %s::regclass order by 1, 2"
        ).format(sql.SQL(_INDEX_TRAITS)),
        [ddl.table_name(table).as_string(conn)],
    ).fetchall()


def _rename_indexes(conn: psycopg.Connection, live: MappedTable, wanted: Sequence[tuple[str, str]]) -> None:
    """The names that the table's indexes had: the server made up others for the shadow's."""
    found = _indexes(conn, live)
    if [traits for traits, _ in found] != [traits for traits, _ in wanted]:
        return
    for number, (_, name) in enumerate(found):
        conn.execute(
            sql.SQL("alter index {} rename to {}").format(
                sql.Identifier(live.target_schema, name), sql.Identifier(f"_cdc_{number}")
            )
        )
    for number, (_, name) in enumerate(wanted):
        conn.execute(
            sql.SQL("alter index {} rename to {}").format(
                sql.Identifier(live.target_schema, f"_cdc_{number}"), sql.Identifier(name)
            )
        )


def merge(conn: psycopg.Connection, shadow: MappedTable, live: MappedTable) -> tuple[int, int]:
    """Make the table's rows those of the shadow, touching only what differs. Returns rows removed and rows written.

    Rows are compared by their bytes: to `=` a 0 is equal to a -0.
    """
    landing = [name for name, _ in live.landing]
    columns = sql.SQL(", ").join(map(sql.Identifier, landing))
    ours, theirs = (
        sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.SQL(side), sql.Identifier(name)) for name in landing)
        for side in ("l", "s")
    )
    names = {"live": ddl.table_name(live), "shadow": ddl.table_name(shadow), "columns": columns, "theirs": theirs}
    insert = sql.SQL("insert into {live} ({columns}) overriding system value select {theirs} from {shadow} s").format(
        **names
    )
    if not live.key:
        removed = conn.execute(sql.SQL("delete from {live}").format(**names)).rowcount
        return removed, conn.execute(insert).rowcount
    key = sql.SQL(" and ").join(sql.SQL("s.{0} = l.{0}").format(sql.Identifier(c.target_name)) for c in live.key)
    same = sql.SQL("{} and row({})::record operator(pg_catalog.*=) row({})::record").format(key, ours, theirs)
    key_names = {c.target_name for c in live.key}
    others = [name for name in landing if name not in key_names]
    if others and not existing.unique_indexes(conn, live):
        # In place: columns of the table's own keep their values.
        update = sql.SQL("update {live} l set {sets} from {shadow} s where {key} and not ({same})").format(
            sets=sql.SQL(", ").join(sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in others),
            key=key, same=same, **names,
        )
        changed = conn.execute(update).rowcount
        gone = sql.SQL("delete from {live} l where not exists (select 1 from {shadow} s where {key})")
    else:
        changed = 0
        gone = sql.SQL("delete from {live} l where not exists (select 1 from {shadow} s where {same})")
    removed = conn.execute(gone.format(key=key, same=same, **names)).rowcount
    missing = sql.SQL("{} where not exists (select 1 from {live} l where {key})").format(insert, key=key, **names)
    return removed, changed + conn.execute(missing).rowcount
