"""What a schema event of the log means for a replicated table: nothing, added columns, or a stop.

The text of a DDL is never executed. The difference between the columns as the log described them before and after is.
"""

import re

import msgspec

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable
from cdc_pipelines.replication.errors import CdcError, UnsupportedChangeError
from cdc_pipelines.replication.stream.messages import ColumnChange, TableChange
from cdc_pipelines.replication.values import form_for

_ZERO = {
    "smallint": "0",
    "integer": "0",
    "bigint": "0",
    "real": "0",
    "double precision": "0",
    "text": "",
    "boolean": "0",
}


def describe(columns: list[ColumnChange]) -> str:
    """The columns as we keep them; equal texts are equal definitions."""
    return msgspec.json.encode(columns).decode()


def parse(text: str) -> list[ColumnChange]:
    return msgspec.json.decode(text, type=list[ColumnChange])


def added_columns(table: MappedTable, known: str, change: TableChange, ddl: str) -> list[ColumnChange]:
    """The columns that a change adds; empty where rows and their meaning stay as they are.

    Raises UnsupportedChangeError for every other change, naming it.
    """
    if change.type == "DROP" or change.table is None:
        raise _stop(table, "was dropped or renamed", ddl)
    before = {c.name: c for c in parse(known)}
    after = {c.name: c for c in change.table.columns}
    dropped = [name for name in before if name not in after]
    if dropped:
        raise _stop(table, f"lost column(s) {', '.join(dropped)} (dropped or renamed)", ddl)
    changed = [n for n, c in before.items() if _shape(after[n]) != _shape(c)]
    if changed:
        raise _stop(table, f"has column(s) {', '.join(changed)} with another type", ddl)
    if [n for n in after if n in before] != list(before):
        # Rows are sent by name, so that the order alone changes nothing for us.
        pass
    if (change.table.primaryKeyColumnNames or []) != list(table.source.key) and table.source.key:
        raise _stop(table, f"has the key ({', '.join(change.table.primaryKeyColumnNames or [])}) now", ddl)
    return [c for name, c in after.items() if name not in before]


def _shape(column: ColumnChange) -> tuple[object, ...]:
    """What decoding depends on. Defaults and nullability do not; widening nullability is checked by the target."""
    return (column.typeName, column.length, column.scale, column.charsetName, column.enumValues)


def with_columns(
    table: MappedTable, added: list[ColumnChange], source: str, target: str, ddl: str
) -> tuple[MappedTable, dict[str, str | None]]:
    """The mapping with the new columns, and per column the value that the existing rows have in it on the source."""
    columns = list(table.columns)
    sources = list(table.source.columns)
    literals: dict[str, str | None] = {}
    for change in added:
        column = to_column(change)
        try:
            form = form_for(column, source, target, table.name)
        except CdcError as error:
            raise _stop(table, f"gained column {change.name}: {error.message}", ddl) from error
        literals[change.name] = _filler(table, change, form.target_type, ddl)
        columns.append(MappedColumn(column, column.name, form.target_type))
        sources.append(column)
    return (
        msgspec.structs.replace(
            table, columns=tuple(columns), source=msgspec.structs.replace(table.source, columns=tuple(sources))
        ),
        literals,
    )


def _filler(table: MappedTable, change: ColumnChange, target_type: str, ddl: str) -> str | None:
    if change.generated:
        raise _stop(table, f"gained generated column {change.name}, whose values only the source can compute", ddl)
    value = change.defaultValueExpression
    if change.hasDefaultValue and value is not None:
        if re.search(r"\(|current_timestamp|now|localtime", value, re.IGNORECASE):
            raise _stop(table, f"gained column {change.name} with a computed default ({value})", ddl)
        return value.strip("'") if not value.startswith("b'") else value[2:].strip("'")
    if change.optional:
        return None
    # NOT NULL without a default: the server fills the type's implicit default in.
    base = target_type.split("(")[0]
    if base in ("varchar", "text"):
        if change.enumValues and change.typeName.upper().startswith("ENUM"):
            return change.enumValues[0].strip("'")
        return ""
    if base == "numeric":
        return "0"
    if base in _ZERO:
        return _ZERO[base]
    raise _stop(table, f"gained column {change.name} ({change.typeName}), NOT NULL without a default", ddl)


def to_column(change: ColumnChange) -> Column:
    """A column as introspection would describe it, from Debezium's description."""
    words = change.typeName.lower().split()
    kind = {"integer": "int", "numeric": "decimal", "dec": "decimal", "bool": "tinyint", "boolean": "tinyint"}.get(
        words[0], words[0]
    )
    unsigned = "unsigned" in words
    boolean = words[0] in ("bool", "boolean") or (kind == "tinyint" and change.length == 1 and not unsigned)
    labels = tuple(label.strip("'") for label in change.enumValues or ())
    is_time = kind in ("time", "datetime", "timestamp")
    full = "tinyint(1)" if boolean else kind + (f"({change.length})" if change.length and not is_time else "")
    return Column(
        name=change.name,
        type=kind,
        full_type=full + (" unsigned" if unsigned else ""),
        nullable=change.optional,
        length=change.length if not is_time else None,
        precision=(change.length or 10) if kind == "decimal" else None,
        scale=(change.scale or 0) if kind == "decimal" else None,
        fraction=(change.length or 0) if is_time else None,
        unsigned=unsigned,
        charset=change.charsetName,
        labels=labels,
        default=change.defaultValueExpression if change.hasDefaultValue else None,
        generated=change.generated,
    )


def _stop(table: MappedTable, what: str, ddl: str) -> UnsupportedChangeError:
    statement = " ".join(ddl.split())
    return UnsupportedChangeError(
        f"table {table.name} {what}: {statement[:200]}",
        "nothing after this change was applied. Run `cdc configure FILE` and `cdc start NAME --force-resync` to copy "
        "the tables as they are now.",
    )
