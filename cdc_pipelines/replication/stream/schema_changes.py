"""What a schema event of the log means for a replicated table: nothing, added columns, or a stop.

The text of a DDL is never executed: the difference between the columns as the log described them before and after is.
The text is only searched for what no difference shows: renames, and statements that move rows without row events.
"""

import re
from collections.abc import Iterable

import msgspec

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable
from cdc_pipelines.replication.errors import CdcError, ResyncRequiredError, UnsupportedChangeError
from cdc_pipelines.replication.stream.messages import ColumnChange, TableChange, TableDefinition
from cdc_pipelines.replication.values import form_for, heeded

_RENAME = re.compile(r"\brename\b(?!\s+(column|index|key)\b)", re.IGNORECASE)
_MOVES_ROWS = re.compile(
    r"\b(drop|truncate|exchange|discard|import)\s+(partition|tablespace)\b|\bcreate\s+or\s+replace\s+table\b|"
    r"\balter\s+(online\s+)?ignore\s+table\b",
    re.IGNORECASE,
)
_DROPS_DATABASE = re.compile(r"\bdrop\s+(database|schema)\b", re.IGNORECASE)
_NAME = r"(`(?:[^`]|``)+`|[\w$]+)"
_DROPS = re.compile(rf"\bdrop\s+(?:column\s+)?(?:if\s+exists\s+)?{_NAME}", re.IGNORECASE)
_RENAMES = re.compile(
    rf"\b(?:rename\s+column\s+(?:if\s+exists\s+)?{_NAME}\s+to|change\s+(?:column\s+)?(?:if\s+exists\s+)?{_NAME})"
    rf"\s+{_NAME}",
    re.IGNORECASE,
)
# What DROP is followed by without being a column's name; a column of such a name stands in backticks.
_DROPPABLE = {"index", "key", "primary", "foreign", "constraint", "check", "partition", "default"}
_GENERATED = re.compile(r"\bgenerated\s+always\b|\bas\s*\(", re.IGNORECASE)
_COMMENT = re.compile(r"/\*(?!!).*?\*/|--\s[^\n]*|#[^\n]*", re.DOTALL)
_TEXT = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)


def require_harmless(tables: Iterable[MappedTable], ddl: str) -> None:
    """Raises UnsupportedChangeError for a DDL that renames a replicated table or moves its rows out of the log's sight.

    Debezium names the new table only, so that a rename away from a replicated name shows in the text alone; of a
    database that is dropped it names no table at all.
    """
    text = _COMMENT.sub(" ", ddl)
    if _DROPS_DATABASE.search(text):
        for table in tables:
            if _is_named(table.source.schema, text):
                raise _stop(table, "was dropped with its database", ddl)
        return
    renames, moves = _RENAME.search(text), _MOVES_ROWS.search(text)
    if not renames and not moves:
        return
    for table in tables:
        if _is_named(table.name, text):
            raise _stop(table, "was renamed, or another table took its name" if renames else "had rows moved", ddl)


def _is_named(name: str, text: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.IGNORECASE) is not None


def describe(definition: TableDefinition) -> str:
    """The definition as we keep it; equal texts are equal definitions."""
    return msgspec.json.encode(definition).decode()


def added_columns(table: MappedTable, known: str | None, change: TableChange, ddl: str) -> list[ColumnChange]:
    """The columns that a change adds; empty where rows and their meaning stay as they are.

    Columns may change places and defaults: rows are sent by name and whole. Raises UnsupportedChangeError for every
    other change, naming it; ResyncRequiredError where the columns before it are not known.
    """
    if known is None:
        raise ResyncRequiredError(
            f"table {table.name}: the change log never described its columns, so that this change can't be judged: "
            f"{' '.join(ddl.split())[:200]}",
            "run `cdc start NAME --force-resync`.",
        )
    if change.type == "DROP" or change.table is None:
        raise _stop(table, "was dropped", ddl)
    old = msgspec.json.decode(known, type=TableDefinition)
    before = {c.name: c for c in old.columns}
    after = {c.name: c for c in change.table.columns}
    lost = [name for name in before if name not in after]
    if lost:
        raise _stop(table, f"lost column(s) {', '.join(lost)} (dropped or renamed)", ddl)
    new = _made_anew(ddl, after)
    if new:
        raise _stop(table, f"has column(s) {', '.join(new)} made anew", ddl)
    changed = [name for name, column in before.items() if _shape(after[name]) != _shape(column)]
    if changed:
        raise _stop(table, f"has column(s) {', '.join(changed)} with another type", ddl)
    if (change.table.primaryKeyColumnNames or []) != (old.primaryKeyColumnNames or []):
        raise _stop(table, f"has the key ({', '.join(change.table.primaryKeyColumnNames or [])}) now", ddl)
    return [column for name, column in after.items() if name not in before]


def _made_anew(ddl: str, after: Iterable[str]) -> list[str]:
    """Columns that are there, but not the ones of that name before: dropped and added, or renamed, in one statement.

    Their values changed without a row event, and the columns before and after tell nothing of it.
    """
    text = _TEXT.sub("''", _COMMENT.sub(" ", ddl))
    gone = {m[1] for m in _DROPS.finditer(text) if m[1].lower() not in _DROPPABLE}
    for match in _RENAMES.finditer(text):
        old = match[1] or match[2]
        if _bare(old) != _bare(match[3]):
            gone |= {old, match[3]}
    names = {_bare(name) for name in gone}
    return [name for name in after if name.lower() in names]


def _bare(name: str) -> str:
    return (name[1:-1].replace("``", "`") if name.startswith("`") else name).lower()


def _shape(column: ColumnChange) -> tuple[object, ...]:
    """What stored values depend on: a change of it may convert rows without a row event."""
    labels = tuple(column.enumValues or ())
    return (column.typeName, column.length, column.scale, column.charsetName, column.optional, labels)


def with_columns(
    table: MappedTable, added: list[ColumnChange], source: str, target: str, ddl: str
) -> tuple[MappedTable, dict[str, str | None]]:
    """The mapping with the new columns, and per column the text of the value that existing rows have in it."""
    columns = list(table.columns)
    sources = list(table.source.columns)
    literals: dict[str, str | None] = {}
    for change in added:
        column = to_column(change)
        try:
            rules = heeded(column, table.rules)
            form = form_for(column, source, target, table.name, rules)
        except CdcError as error:
            raise _stop(table, f"gained column {change.name}: {error.message}", ddl) from error
        literals[change.name] = _filler(table, change, form.target_type, ddl)
        columns.append(MappedColumn(column, column.name, form.target_type, rules))
        sources.append(column)
    grown = msgspec.structs.replace(table.source, columns=tuple(sources))
    return msgspec.structs.replace(table, columns=tuple(columns), source=grown), literals


def _filler(table: MappedTable, change: ColumnChange, target_type: str, ddl: str) -> str | None:
    """What the server wrote into the new column of the rows that were there; it sends no events for them."""
    if change.autoIncremented or change.generated or _GENERATED.search(_COMMENT.sub(" ", ddl)):
        raise _stop(table, f"gained column {change.name}, whose values the source computes", ddl)
    kind = change.typeName.split()[0].upper()
    value = change.defaultValueExpression
    if value is not None:
        # An expression, an instant in the time zone of a session unknown to us, or bytes in a notation of their own
        if "(" in value or kind in ("TIMESTAMP", "BINARY", "VARBINARY", "BIT") or value.upper().startswith("CURRENT_"):
            raise _stop(table, f"gained column {change.name} with the default {value}, which must be copied", ddl)
        return value
    if change.optional:
        return None
    # NOT NULL without a default: the type's implicit default
    if kind == "ENUM" and change.enumValues:
        return change.enumValues[0].strip("'")
    base = target_type.split("(")[0]
    if base in ("varchar", "text"):
        return ""
    if base in ("smallint", "integer", "bigint", "numeric", "real", "double precision", "boolean"):
        return "0"
    raise _stop(table, f"gained column {change.name} ({change.typeName}), NOT NULL without a default", ddl)


_ALIASES = {"integer": "int", "numeric": "decimal", "dec": "decimal", "fixed": "decimal", "bool": "tinyint",
            "boolean": "tinyint", "real": "double"}  # fmt: skip


def to_column(change: ColumnChange) -> Column:
    """A column as introspection would describe it, from Debezium's description."""
    words = change.typeName.lower().split()
    kind = _ALIASES.get(words[0], words[0])
    unsigned = "unsigned" in words
    boolean = words[0] in ("bool", "boolean") or (kind == "tinyint" and change.length == 1 and not unsigned)
    is_time = kind in ("time", "datetime", "timestamp")
    with_length = (
        change.length is not None and not is_time and kind in ("char", "varchar", "binary", "varbinary", "bit")
    )
    full = "tinyint(1)" if boolean else kind + (f"({change.length})" if with_length else "")
    return Column(
        name=change.name,
        type=kind,
        full_type=full + (" unsigned" if unsigned else ""),
        nullable=change.optional,
        length=None if is_time else change.length,
        precision=(change.length or 10) if kind == "decimal" else None,
        scale=(change.scale or 0) if kind == "decimal" else None,
        fraction=(change.length or 0) if is_time else None,
        unsigned=unsigned,
        charset=change.charsetName,
        labels=tuple(label.strip("'") for label in change.enumValues or ()),
        default=change.defaultValueExpression,
    )


def _stop(table: MappedTable, what: str, ddl: str) -> UnsupportedChangeError:
    statement = " ".join(ddl.split())
    return UnsupportedChangeError(
        f"table {table.name} {what}: {statement[:200]}",
        "nothing after this change was applied. Run `cdc configure FILE` and `cdc start NAME --force-resync` to copy "
        "the tables as they are now.",
    )
