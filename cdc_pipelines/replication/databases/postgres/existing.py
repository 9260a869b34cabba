"""A table of the target: as it is found, and as it must be to receive the source's rows. Nothing is written here."""

import re
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable
from cdc_pipelines.replication.errors import ConfigurationError

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

    `unique_expressions` says that there are unique indexes beside them, on expressions or with a condition;
    `conditional` are the (columns, condition) of those that are not on expressions.
    """

    kind: str
    columns: dict[str, ExistingColumn] = field(default_factory=dict)
    keys: tuple[tuple[str, ...], ...] = ()
    unique_expressions: bool = False
    conditional: tuple[tuple[tuple[str, ...], str], ...] = ()

    def is_unique_while_open(self, mapped: MappedTable) -> bool:
        """Whether the table itself sees to it that a key has one open version at most."""
        key = {column.target_name for column in mapped.key}
        wanted = f"({mapped.rows.valid_to} IS NULL)".replace('"', "")
        return any(set(names) == key and said.replace('"', "") == wanted for names, said in self.conditional)


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
               case when i.indexprs is null then pg_get_expr(i.indpred, i.indrelid) end,
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
        keys=tuple(tuple(names) for plain, _, names in indexes if plain),
        unique_expressions=any(not plain for plain, *_ in indexes),
        conditional=tuple((tuple(names), said) for _, said, names in indexes if said is not None),
    )


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


def is_not_null(column: MappedColumn) -> bool:
    """As on the source, but for dates: a zero date of the source may have to become null."""
    dated = column.source.type in ("date", "datetime", "timestamp")
    return not column.source.nullable and not (dated and column.rules.zero_dates == "as_null")


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


def misfits(conn: psycopg.Connection, mapped: MappedTable, *, pipeline: str | None = None) -> list[str]:
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
    if mapped.rows.ended:
        problems += _problems_of_rows_that_stay(found, mapped)
    ours = {name for name, _ in mapped.landing}
    problems += [
        f"column {c.name} is not replicated, NOT NULL and without a default"
        for c in found.columns.values()
        if c.name not in ours and c.not_null and not c.has_default and not c.generated
    ]
    key = tuple(c.target_name for c in mapped.key)
    whole = (*key, mapped.rows.version) if mapped.rows.history else key
    if key and not any(set(k) == set(whole) for k in found.keys):
        problems.append(f"lacks a primary key or unique index on ({', '.join(whole)})")
    if mapped.rows.history and not found.is_unique_while_open(mapped):
        problems.append(f"lacks a unique index on ({', '.join(key)}) where {mapped.rows.valid_to} is null")
    if not is_ours(conn, mapped, pipeline) and not is_empty(conn, mapped):
        problems.append("holds rows that this pipeline did not write")
    return problems


def _problems_of_rows_that_stay(found: ExistingTable, mapped: MappedTable) -> list[str]:
    """What keeps the table from having rows that the source has no more."""
    rules, problems = mapped.rows, []
    for name, target_type in rules.columns:
        existing, kind = found.columns.get(name), plain_type(target_type)
        free = name == rules.ended
        if existing is None:
            problems.append(f"lacks column {name} {kind}")
        elif existing.generated or existing.type != kind or (free and (existing.not_null or existing.has_default)):
            also = " that may be null and has no default" if free else ""
            problems.append(f"column {name} is not a plain {kind}{also}")
    key, what = {c.target_name for c in mapped.key}, "closed versions" if rules.history else "deleted rows"
    own = {*key, rules.version} if rules.history else key
    problems += [
        f"has a unique index on ({', '.join(columns)}), also over {what}: make it one `where {rules.ended} is null`"
        for columns in found.keys if set(columns) != own
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


def as_type(column: sql.Composable, there: str, target_type: str) -> sql.Composable:
    """An expression that a column of type `there` (as the server prints it) goes by into one of `target_type`."""
    if there == plain_type(target_type):
        return column
    # A cast to varchar(n) would cut; as a text that is put into the column it is refused.
    kind = "text" if target_type.startswith("varchar") else target_type
    return sql.SQL("{}::{}").format(column, sql.SQL(kind))


def is_empty(conn: psycopg.Connection, mapped: MappedTable) -> bool:
    name = sql.Identifier(mapped.target_schema, mapped.target_name)
    return conn.execute(sql.SQL("select 1 from {} limit 1").format(name)).fetchone() is None
