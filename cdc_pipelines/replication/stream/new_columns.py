"""The value that a new column has in the rows that are there: the server writes it, and sends no events for them."""

import re
from itertools import pairwise

from cdc_pipelines.replication.stream.columns import to_column, unquoted
from cdc_pipelines.replication.stream.ddl_tokens import Token
from cdc_pipelines.replication.stream.messages import ColumnChange
from cdc_pipelines.replication.stream.statement import Column

_MOMENT = re.compile(r"\d{4}-\d\d?-\d\d?( \d\d?:\d\d?(:\d\d?(\.\d+)?)?)?")
_CLOCK = re.compile(r"-?\d+:\d\d?(:\d\d?(\.\d+)?)?")
_BITS = re.compile(r"[01]+")
_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double"}
_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}


class NotToldError(Exception):
    """The log does not tell the value."""


def filler(change: ColumnChange, text: Column | None) -> str | None:
    """As the target's text input; None is null. `text` is what the statement says of the column.

    Raises NotToldError where the source computes the value, or writes it in a way that we can't be sure of.
    """
    if text is None:
        raise NotToldError("the statement's text does not tell its default")
    words = [token.text.lower() if token.kind == "word" else "" for token in text.definition]
    if change.autoIncremented or "auto_increment" in words or "serial" in words or _is_generated(text.definition):
        raise NotToldError("the source computes its values")
    default = _default(text.definition)
    if default is not None:
        return _literal(change, default)
    if change.optional:
        return None
    return _implicit(change)


def _is_generated(definition: tuple[Token, ...]) -> bool:
    return any(a.is_word("generated") or (a.is_word("as") and b.text == "(") for a, b in pairwise(definition))


def is_generated(text: Column | None) -> bool:
    """Whether the statement makes the column a generated one."""
    return text is not None and _is_generated(text.definition)


def _default(definition: tuple[Token, ...]) -> list[Token] | None:
    """The tokens of the default; None without one, or where it is NULL. Raises NotToldError for an expression."""
    places = [n for n, token in enumerate(definition) if token.is_word("default")]
    if not places:
        return None
    rest = list(definition[places[0] + 1 :])
    if rest and rest[0].text.startswith("_"):  # _utf8mb4'text'
        rest = rest[1:]
    sign = rest[:1] if rest and rest[0].text in "+-" else []
    value = rest[len(sign) : len(sign) + 1]
    if not value or value[0].is_word("null"):
        return None
    follows = rest[len(sign) + 1] if len(rest) > len(sign) + 1 else None
    number = value[0].kind == "word" and (value[0].text[0].isdigit() or value[0].is_word("true", "false"))
    if not (value[0].kind == "text" or number) or (follows is not None and follows.text == "("):
        raise NotToldError(f"its default {''.join(t.text for t in rest[:2])} is computed by the source")
    return [*sign, *value]


def _literal(change: ColumnChange, default: list[Token]) -> str:
    value = change.defaultValueExpression
    column = to_column(change)
    kind = column.type
    if value is None:
        raise NotToldError("the log does not tell its default")
    if kind == "bit" and _BITS.fullmatch(value):
        return value.zfill(column.length or 1)
    if kind in ("date", "datetime") and _MOMENT.fullmatch(value):
        if "0000" in value[:4] or re.search(r"-0?0(-|$| )", value):
            return _zero(change)
        return value
    if kind == "time" and _CLOCK.fullmatch(value):
        return value
    if kind == "year" and len(value) == 4:
        return value
    if kind in _INTEGERS and default[-1].kind == "word":
        word = {"true": "1", "false": "0"}.get(value.lower(), value)
        return word if column.full_type != "tinyint(1)" or word in "01" else value
    if kind in _INTEGERS and re.fullmatch(r"[-+]?\d+(\.\d+)?", value):
        return value
    if kind in _TEXTS:
        return value.rstrip(" ") if kind == "char" else value
    if kind in ("enum", "set"):
        return value
    # An instant in the time zone of a session unknown to us, bytes in a notation of their own
    raise NotToldError(f"its default {value} must be read from the source")


def _zero(change: ColumnChange) -> str:
    if change.optional:
        raise NotToldError("its default is a zero date")
    return "1970-01-01"


def _implicit(change: ColumnChange) -> str:
    """NOT NULL without a default: the type's implicit default."""
    column = to_column(change)
    if column.type == "enum" and change.enumValues:
        return unquoted(change.enumValues[0])
    if column.type in _TEXTS or column.type == "set":
        return ""
    if column.type in _INTEGERS:
        return "0"
    if column.type in ("date", "datetime"):
        return "1970-01-01"
    raise NotToldError("it is NOT NULL without a default")


