"""When two JSON texts are the same document: whatever the order of names, and numbers by value."""

import json
from decimal import Decimal
from typing import Any

_DOUBLE_DIGITS = 17  # as many as it takes to tell all doubles apart


class _Number(str):
    """A JSON number as it was written; told from strings by its type."""

    __slots__ = ()


_decode = json.JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_Number).decode


def same_document(source: str, target: str) -> bool:
    """Whether the target's document is the source's.

    A number with a point or an exponent on the source is a double there. It is the same if the target's is the same
    double: the change log's writer may spell it with other digits than the servers do (2e23 as 1.9999999999999998E23).
    """
    try:
        return _same(_decode(source), _decode(target))
    except (ValueError, RecursionError):
        return source == target


def normal_document(text: str) -> str:
    """Equal texts for documents that are equal by names and exact numbers. What is no JSON comes back unchanged."""
    try:
        return json.dumps(_plain(_decode(text)), sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _same(source: Any, target: Any) -> bool:
    if type(source) is not type(target):
        return False
    match source:
        case _Number():
            return _same_number(source, target)
        case dict():
            return source.keys() == target.keys() and all(_same(value, target[name]) for name, value in source.items())
        case list():
            return len(source) == len(target) and all(_same(a, b) for a, b in zip(source, target, strict=True))
        case _:
            return bool(source == target)


def _same_number(source: str, target: str) -> bool:
    if _digits(source) == _digits(target):
        return True
    is_double = any(c in source for c in ".eE") and len(Decimal(source).as_tuple().digits) <= _DOUBLE_DIGITS
    return is_double and float(source) == float(target)


def _plain(value: Any) -> Any:
    match value:
        case _Number():
            return {"number": _digits(value)}
        case dict():
            # Wrapped, so that no object looks like a number.
            return {"object": {name: _plain(item) for name, item in value.items()}}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


def _digits(text: str) -> str:
    """The number's sign, digits and exponent, of any size and exactly; 1.50, 1.5 and 15e-1 give the same."""
    if text.isdigit():
        short = text.rstrip("0")
        return f"{short}e{len(text) - len(short)}" if short else "0"
    number = Decimal(text)
    if not number.is_finite():
        return text
    sign, digits, exponent = number.as_tuple()
    significant = "".join(map(str, digits)).lstrip("0")
    short = significant.rstrip("0")
    if not short:
        return "0"  # also -0: jsonb knows no negative zero
    return f"{'-' if sign else ''}{short}e{int(exponent) + len(significant) - len(short)}"
