"""Asking a row filter of a change's row, as SQL would: what is unknown (null) stays unknown, and is not `true`."""

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from cdc_pipelines.replication.catalog import Column
from cdc_pipelines.replication.row_filter.binding import NUMBERS
from cdc_pipelines.replication.row_filter.language import All, AnyOf, Compare, Condition, IsNull, Not
from cdc_pipelines.replication.values.form import Form

Get = Callable[[Any], Any]
Answer = Callable[[Any], bool | None]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}


def compiled(condition: Condition, getters: Mapping[str, Get]) -> Callable[[Any], bool]:
    """A function that says whether a row is in. `getters`: a column's value, as `comparable` gives it, of a row."""
    answer = _answer(condition, getters)
    return lambda row: answer(row) is True


def comparable(column: Column, form: Form) -> Callable[[Any], Any]:
    """From a column's value in an event (not null) to what a literal is compared with; None is null.

    Texts compare by their characters, which is the order of their UTF-8 bytes.
    """
    kind, text = column.type, form.text
    if kind in NUMBERS:
        return (lambda value: int(text(value) or 0)) if text is not None else Decimal
    if kind == "timestamp":
        return lambda value: None if text is not None and text(value) is None else _utc(value)
    return text if text is not None else lambda value: value


def _utc(value: str) -> str:
    """`2024-01-31T12:00:00.5Z` as the canonical text."""
    return f"{value[:10]} {value[11:19]}.{value[20:-1] if value[19] == '.' else '':0<6}"


def _answer(condition: Condition, getters: Mapping[str, Get]) -> Answer:
    match condition:
        case Compare(column=column, operator=sign, value=literal):
            return _comparison(getters[column], _OPERATORS[sign], literal)
        case IsNull(column=column):
            get = getters[column]
            return lambda row: get(row) is None
        case Not(part):
            inner = _answer(part, getters)

            def negated(row: Any) -> bool | None:
                found = inner(row)
                return None if found is None else not found

            return negated
        case All(parts):
            return _joined([_answer(part, getters) for part in parts], decisive=False)
        case AnyOf(parts):
            return _joined([_answer(part, getters) for part in parts], decisive=True)


def _comparison(get: Get, compare: Callable[[Any, Any], bool], literal: Any) -> Answer:
    def answer(row: Any) -> bool | None:
        value = get(row)
        return None if value is None else compare(value, literal)

    return answer


def _joined(parts: list[Answer], *, decisive: bool) -> Answer:
    """`or` where true decides, `and` where false does."""
    def answer(row: Any) -> bool | None:
        unknown = False
        for part in parts:
            found = part(row)
            if found is decisive:
                return decisive
            unknown = unknown or found is None
        return None if unknown else not decisive

    return answer
