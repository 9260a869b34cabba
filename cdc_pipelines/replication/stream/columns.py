"""How the columns of a table differ before and after a schema change, as the change log describes them."""

import re
from dataclasses import dataclass, field

from cdc_pipelines.replication.catalog import Column
from cdc_pipelines.replication.stream.messages import ColumnChange, TableDefinition
from cdc_pipelines.replication.stream.statement import Statement

_ALIASES = {
    "integer": "int", "int1": "tinyint", "int2": "smallint", "int3": "mediumint", "middleint": "mediumint",
    "int4": "int", "int8": "bigint", "numeric": "decimal", "dec": "decimal", "fixed": "decimal", "bool": "tinyint",
    "boolean": "tinyint", "real": "double", "double precision": "double", "float4": "float", "float8": "double",
    "character": "char", "nchar": "char", "national char": "char", "national character": "char",
    "character varying": "varchar", "char varying": "varchar", "nvarchar": "varchar", "national varchar": "varchar",
    "national character varying": "varchar", "nchar varchar": "varchar", "nchar varying": "varchar",
    "varcharacter": "varchar", "long varchar": "mediumtext", "long": "mediumtext", "long varbinary": "mediumblob",
}  # fmt: skip
_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}
_SIGNS = {"signed", "unsigned", "zerofill"}
_WITH_LENGTH = {"char", "varchar", "binary", "varbinary", "bit"}
_ESCAPED = re.compile(r"\\(.)|''|\"\"", re.DOTALL)


@dataclass
class Difference:
    """`origins`: a column's name now → its name before, for every column that is still there.

    `doubt`: why that can't be told. Then the log's own idea of the columns may be wrong, too.
    """

    origins: dict[str, str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    key_changes: bool = False
    doubt: str | None = None

    @property
    def renamed(self) -> dict[str, str]:
        return {new: old for new, old in self.origins.items() if new != old}


def renumbers(before: ColumnChange, after: ColumnChange) -> bool:
    """Whether AUTO_INCREMENT came to a column of integers: then a zero in it was given a number."""
    is_new = after.autoIncremented and not before.autoIncremented
    return is_new and after.typeName.split()[0].lower().replace("integer", "int") in _INTEGERS


def difference(before: TableDefinition, after: TableDefinition, statement: Statement) -> Difference:
    """What became of each column. Names are the log's; the text tells which of them are one column."""
    old = [column.name for column in before.columns]
    new = [column.name for column in after.columns]
    found = Difference()
    if statement.verb == "alter" and statement.unknown is None:
        origins = _followed(old, statement)
        if origins is not None and {name.lower() for name in origins} == {name.lower() for name in new}:
            found.origins = {name: origin for name in new if (origin := origins[name.lower()]) is not None}
        else:
            found.doubt = "has other columns than the statement's text leads to"
    else:  # an index that was made, another name: the columns stay
        found.origins = {name: name for name in new if name in old}
        if set(old) != set(new) or statement.verb not in ("index", "rename"):
            found.doubt = "changed by a statement that is not understood"
    gone = {(column.old or "").lower() for column in statement.columns}
    again = [c.new for c in statement.columns if c.old is None and c.if_exists and (c.new or "").lower() not in gone]
    if any(_is_made_over(before, after, name) for name in again):
        found.doubt = "has a column that was there already, and the log has it as the statement would have made it"
    kept = set(found.origins.values())
    found.added = [name for name in new if name not in found.origins]
    found.dropped = [name for name in old if name not in kept]
    origins_of_key = [found.origins.get(name, name) for name in after.primaryKeyColumnNames or []]
    found.key_changes = origins_of_key != list(before.primaryKeyColumnNames or [])
    return found


def _is_made_over(before: TableDefinition, after: TableDefinition, name: str | None) -> bool:
    """After ADD COLUMN IF NOT EXISTS of one that exists Debezium takes the new definition for the column's."""
    old, new = ([c for c in table.columns if c.name.lower() == (name or "").lower()] for table in (before, after))
    return bool(old) and bool(new) and old != new


def _followed(old: list[str], statement: Statement) -> dict[str, str | None] | None:
    """Name now, in lower case → name before (None: new) after the statement's actions; None where they do not fit.

    Every action speaks of the names before the statement.
    """
    by_lower = {name.lower(): name for name in old}
    left: dict[str, str | None] = {name.lower(): name for name in old}
    moved: dict[str, str | None] = {}
    for column in statement.columns:
        if column.old is not None:
            name = column.old.lower()
            if name not in left:
                if column.if_exists:
                    continue
                return None
            del left[name]
            if column.new is not None:
                moved[column.new.lower()] = by_lower[name]
    for column in statement.columns:
        if column.old is None and column.new is not None:
            name = column.new.lower()
            if name in left or name in moved:
                if column.if_exists:
                    continue
                return None
            moved[name] = None
    if left.keys() & moved.keys():
        return None
    return left | moved


def to_column(change: ColumnChange, key: list[str] | None = None, source: str = "mysql") -> Column:
    """A column as introspection would describe it, from Debezium's description.

    `key`: the columns of the key, which are never null, whatever the description says. `source`: the kind of server.
    """
    words = change.typeName.lower().split()
    bare = " ".join(word for word in words if word not in _SIGNS)
    kind = _ALIASES.get(bare, bare)
    is_alias = kind == "json" and source == "mariadb"  # for LONGTEXT CHARACTER SET utf8mb4
    if is_alias:
        kind = "longtext"
    unsigned = "unsigned" in words or "zerofill" in words
    if kind == "float" and (change.length or 0) > 24 and change.scale is None:
        kind = "double"
    boolean = bare in ("bool", "boolean") or (kind == "tinyint" and change.length == 1 and not unsigned)
    is_time = kind in ("time", "datetime", "timestamp")
    full = "tinyint(1)" if boolean else kind
    if kind in _WITH_LENGTH and change.length is not None:
        full += f"({change.length})"
    if kind in ("float", "double") and change.scale is not None:
        full += f"({change.length},{change.scale})"
    full += (" unsigned" if unsigned else "") + (" zerofill" if "zerofill" in words else "")
    length = change.length if kind in _WITH_LENGTH else None
    return Column(
        name=change.name,
        type=kind,
        full_type=full,
        nullable=change.optional and change.name not in (key or ()),
        length=1 if length is None and kind in ("char", "binary", "bit") else length,
        precision=(change.length or 10) if kind == "decimal" else None,
        scale=(change.scale or 0) if kind == "decimal" else None,
        fraction=(change.length or 0) if is_time else None,
        unsigned=unsigned,
        charset="utf8mb4" if is_alias else {"utf8": "utf8mb3"}.get(change.charsetName or "", change.charsetName),
        labels=tuple(unquoted(label) for label in change.enumValues or ()),
        default=change.defaultValueExpression,
    )


def unquoted(literal: str) -> str:
    """The text of a quoted SQL literal."""
    if len(literal) < 2 or literal[0] not in "'\"" or literal[0] != literal[-1]:
        return literal
    special = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "Z": "\x1a", "b": "\b"}
    return _ESCAPED.sub(lambda m: special.get(m[1], m[1]) if m[1] is not None else m[0][0], literal[1:-1])
