"""What the target is to have of a source's indexes, foreign keys, checks, comments and counters, in its own SQL."""

import hashlib
from collections.abc import Collection, Iterator, Mapping

import msgspec

from cdc_pipelines.replication.carry.expressions import (
    UntranslatableError,
    column_of,
    condition,
    index_expression,
    quoted,
)
from cdc_pipelines.replication.carry.settings import Kind
from cdc_pipelines.replication.carry.source import (
    IndexPart,
    SourceForeignKey,
    SourceIndex,
    TableExtras,
)
from cdc_pipelines.replication.catalog import MappedTable

_MAX_NAME_BYTES = 63
_COUNTERS = ("smallint", "integer", "bigint")
_BEGINNINGS = {"bytea": "substring({} from 1 for {})"}


class Wanted(msgspec.Struct, frozen=True):
    """One thing. `name` is the source's; of comments and counters the column's, empty for the table's comment.

    `definition` is what stands behind its name in the SQL that makes it (of a comment the text): equal definitions,
    equal things. `plain` is that of an index that holds where the unique one does not. `why_not` says why there is
    none; `parent` is the source table that a foreign key leads to.
    """

    kind: Kind
    table: str
    name: str
    definition: str = ""
    plain: str = ""
    why_not: str = ""
    parent: str = ""

    @property
    def unique(self) -> bool:
        return bool(self.plain)


def wanted(
    table: MappedTable, extras: TableExtras, others: Mapping[str, MappedTable], kinds: Collection[str],
    schema: str,
) -> list[Wanted]:
    """All of one table, in the order of KINDS. `others` are the pipeline's tables, `schema` the source's database."""
    found: list[Wanted] = []
    if "index" in kinds:
        found += _indexes(table, extras)
    if "check" in kinds:
        found += _checks(table, extras)
    if "foreign_key" in kinds:
        found += [_foreign_key(table, key, others, schema) for key in extras.foreign_keys]
    if "identity" in kinds and extras.counter is not None:
        found.append(_counter(table, extras.counter))
    if "comment" in kinds:
        replicated = {column.source.name: column.target_name for column in table.columns}
        found += [
            Wanted("comment", table.name, name, text) for name, text in extras.comments.items()
            if not name or name in replicated
        ]
    return found


def target_name(table: MappedTable, name: str, number: int = 0) -> str:
    """A name for an index or a constraint: the same at every look, no longer than PostgreSQL's names are.

    Indexes share one schema, so the table's name is in it. `number` gives others, where it is taken.
    """
    whole = f"{table.target_name}_{name}"
    if not number and len(whole.encode()) <= _MAX_NAME_BYTES:
        return whole
    digest = hashlib.sha256(f"{table.source.name}\0{name}\0{number or ''}".encode()).hexdigest()[:8]
    return f"{whole.encode()[: _MAX_NAME_BYTES - 9].decode(errors='ignore')}_{digest}"


# Indexes


def _indexes(table: MappedTable, extras: TableExtras) -> Iterator[Wanted]:
    for index in extras.indexes:
        if index.name == table.source.key_index:
            continue  # it is what the target's primary key is made of
        try:
            yield _index(table, index)
        except UntranslatableError as error:
            yield Wanted("index", table.name, index.name, why_not=str(error))


def _index(table: MappedTable, index: SourceIndex) -> Wanted:
    if index.hidden:
        raise UntranslatableError("the source does not use it (INVISIBLE, IGNORED)")
    if index.method not in ("BTREE", "HASH"):
        raise UntranslatableError(f"it is {index.method}, which PostgreSQL has no equal of")
    unique = index.unique and not table.rows.history  # versions of a row share its values
    parts = ", ".join(_part(table, part, unique=unique) for part in index.parts)
    plain = f"({parts})"
    return Wanted("index", table.name, index.name, f"unique {plain}" if unique else plain, plain if unique else "")


def _part(table: MappedTable, part: IndexPart, *, unique: bool) -> str:
    order = " desc" if part.descending else ""
    if part.column is None:
        return f"({index_expression(table, part.expression or '')}){order}"
    column = column_of(table, part.column)
    name = quoted(column.target_name)
    if part.length is None:
        return f"{name}{order}"
    if not unique:
        raise UntranslatableError(
            f"it is over the first {part.length} characters of {part.column}, where PostgreSQL would find nothing by "
            "the whole value"
        )
    beginning = _BEGINNINGS.get(column.target_type, "left({}, {})").format(name, part.length)
    return f"({beginning}){order}"


def is_the_key(table: MappedTable, definition: str) -> bool:
    """Whether a unique index of this definition may be all that makes the target's key unique."""
    return definition == f"unique ({', '.join(quoted(column.target_name) for column in table.key)})"


# Constraints and counters


def _checks(table: MappedTable, extras: TableExtras) -> Iterator[Wanted]:
    for check in extras.checks:
        if check.condition.lower().startswith("json_valid("):
            continue  # MariaDB's way of saying JSON
        try:
            if not check.enforced:
                raise UntranslatableError("the source does not enforce it")
            yield Wanted("check", table.name, check.name, condition(table, check.condition))
        except UntranslatableError as error:
            yield Wanted("check", table.name, check.name, why_not=str(error))


def _foreign_key(
    table: MappedTable, key: SourceForeignKey, others: Mapping[str, MappedTable], schema: str
) -> Wanted:
    try:
        parent = others.get(key.table) if key.schema == schema else None
        if parent is None:
            raise UntranslatableError(f"its parent {key.table} is not replicated by this pipeline")
        if table.rows.history:
            raise UntranslatableError("the target keeps the table's history, and a closed version's parent may be gone")
        if parent.rows.history:
            raise UntranslatableError(f"the target keeps the history of its parent {parent.name}: no row to refer to")
        columns = ", ".join(quoted(column_of(table, name).target_name) for name in key.columns)
        theirs = ", ".join(quoted(column_of(parent, name).target_name) for name in key.parent_columns)
    except UntranslatableError as error:
        return Wanted("foreign_key", table.name, key.name, why_not=str(error))
    rules = "".join(
        f" on {event} {rule.lower()}" for event, rule in (("delete", key.on_delete), ("update", key.on_update))
        if rule not in ("NO ACTION", "RESTRICT")
    )
    target = f"{quoted(parent.target_schema)}.{quoted(parent.target_name)}"
    return Wanted(
        "foreign_key", table.name, key.name, f"foreign key ({columns}) references {target} ({theirs}){rules}",
        parent=parent.name,
    )


def _counter(table: MappedTable, name: str) -> Wanted:
    try:
        column = column_of(table, name)
    except UntranslatableError as error:
        return Wanted("identity", table.name, name, why_not=str(error))
    if column.target_type not in _COUNTERS:
        return Wanted("identity", table.name, name, why_not=f"the target's column is {column.target_type}, which can't "
                      "be an identity; for `bigint unsigned`, values.bigint_unsigned: bigint makes it one that can")
    return Wanted("identity", table.name, name, "generated by default as identity")
