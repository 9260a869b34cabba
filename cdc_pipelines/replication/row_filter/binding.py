"""A row filter meets the columns of its table: are they there, and can they be compared with their literals?"""

import re
from datetime import date, datetime
from decimal import Decimal

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable
from cdc_pipelines.replication.row_filter.language import All, AnyOf, Compare, Condition, IsNull, Not, Value, parse
from cdc_pipelines.replication.values import form_for
from cdc_pipelines.replication.values.form import Form

INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
NUMBERS = (*INTEGERS, "decimal", "numeric")
TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set")
MOMENTS = ("date", "datetime", "timestamp")

_MOST_DIGITS = 65  # of the servers' decimals, which compare exactly
_MOST_DECIMALS = 30
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?")


def form_asked(column: MappedColumn, source: str, target: str, table: str) -> Form:
    """The form by which a filter asks a column: that of the source's value, whatever becomes of it on the target."""
    return form_for(column.source, source, target, table, column.rules)


def bound(table: MappedTable) -> Condition | None:
    """The table's filter, ready to be asked; None where all rows are replicated."""
    if not table.rows.where:
        return None
    return bind(parse(table.rows.where), {c.source.name: c.source for c in (*table.columns, *table.rows.beside)})


def bind(condition: Condition, columns: dict[str, Column]) -> Condition:
    """The condition with each literal as its column's values are compared: numbers as Decimal, all else as the
    canonical text. Raises ValueError with the column, the literal and what is valid for it.
    """
    match condition:
        case Compare(column=name, value=value, place=place):
            column = _column(columns, name, place)
            try:
                return Compare(name, condition.operator, _comparable(column, value), place)
            except ValueError as reason:
                raise ValueError(
                    f"at character {place + 1}: {name} is {column.full_type}, and {_shown(value)} {reason}"
                ) from None
        case IsNull(column=name, place=place):
            _column(columns, name, place)
            return condition
        case Not(part):
            return Not(bind(part, columns))
        case All(parts):
            return All(tuple(bind(part, columns) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(bind(part, columns) for part in parts))


def _column(columns: dict[str, Column], name: str, place: int) -> Column:
    if name not in columns:
        raise ValueError(f"at character {place + 1}: no column {name}; the table has {', '.join(columns)}")
    return columns[name]


def _comparable(column: Column, value: Value) -> Decimal | str:
    if column.type in NUMBERS:
        return _number(value)
    if column.type in TEXTS:
        if not isinstance(value, str):
            raise ValueError("is no text; write it in single quotes")
        if column.type == "enum" and value and value not in column.labels:
            raise ValueError(f"is none of its labels: {', '.join(column.labels)}")
        return value
    if column.type in MOMENTS:
        return _moment(column, value)
    raise ValueError(
        "can't be compared with it exactly; only `is null` and `is not null` are valid for such a column. Compared are "
        "integers, decimals, texts, labels, dates and times of a day"
    )


def _number(value: Value) -> Decimal:
    if isinstance(value, bool):
        return Decimal(int(value))
    if isinstance(value, str):
        raise ValueError("is a text; write a number, without quotes")  # noqa: TRY004 (a mistake in the file)
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if max(len(digits), -exponent) > _MOST_DIGITS or -exponent > _MOST_DECIMALS:
        raise ValueError(f"has more than {_MOST_DIGITS} digits, or {_MOST_DECIMALS} of them behind the point")
    return value


def _moment(column: Column, value: Value) -> str:
    what = "'YYYY-MM-DD'" + ("" if column.type == "date" else " or 'YYYY-MM-DD HH:MM:SS', with a fraction or without")
    try:
        if not isinstance(value, str) or not _MOMENT.fullmatch(value):
            raise ValueError
        if column.type == "date":
            return date.fromisoformat(value).isoformat()
        return datetime.fromisoformat(value).strftime("%Y-%m-%d %H:%M:%S.%f").rjust(26, "0")
    except ValueError:
        raise ValueError(f"is none that it can be compared with; write {what}") from None


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}'" if isinstance(value, str) else str(value)
