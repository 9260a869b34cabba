"""Text of statements for MySQL and MariaDB: names quoted, values as literals, placeholders filled in.

The bulk reader's client has no parameters of its own, and the drivers' `%` formatting breaks on names and
date formats that hold a percent sign. Here `%s` is a placeholder only outside quotes, and nothing else is special.
Sessions have sql_mode '' (backslash escapes in strings, backticks around names) and speak utf8mb4.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

_TOKEN = re.compile(
    r"""`(?:[^`]|``)*`            # a quoted name
      | '(?:[^'\\]|\\.|'')*'      # a string
      | "(?:[^"\\]|\\.|"")*"
      | %s""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"})


def quote(name: str) -> str:
    """The name as a quoted identifier."""
    return "`" + name.replace("`", "``") + "`"


def quote_table(schema: str, name: str) -> str:
    """`schema`.`name`, quoted."""
    return f"{quote(schema)}.{quote(name)}"


def literal(value: Any) -> str:
    """The value as a literal. Raises TypeError for a type that has none here, ValueError for NaN and infinities."""
    match value:
        case None:
            return "null"
        case bool():
            return "1" if value else "0"
        case int():
            return str(value)
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"{value} is no SQL number")
            return format(value, "f")
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                raise ValueError(f"{value} is no SQL number")
            text = repr(value)
            return text if "e" in text else text + "e0"  # with an exponent it is a double, not a decimal
        case bytes() | bytearray():
            return f"x'{value.hex()}'"
        case str():
            return f"'{value.translate(_ESCAPES)}'"
        case datetime():
            return f"'{value.isoformat(' ')}'"
        case date():
            return f"'{value.isoformat()}'"
        case timedelta():
            return f"'{_span(value)}'"
        case _:
            raise TypeError(f"no literal for {type(value).__name__}")


def bind(sql: str, params: Sequence[Any] = ()) -> str:
    """The statement with each `%s` outside quotes replaced by the next value's literal.

    Raises ValueError where placeholders and values differ in number.
    """
    values = iter(params)
    used = 0

    def fill(match: re.Match[str]) -> str:
        nonlocal used
        if match[0] != "%s":
            return match[0]
        used += 1
        try:
            return literal(next(values))
        except StopIteration:
            raise ValueError(f"more placeholders than the {len(params)} values in: {sql}") from None

    text = _TOKEN.sub(fill, sql)
    if used != len(params):
        raise ValueError(f"{len(params)} values for {used} placeholders in: {sql}")
    return text


def _span(value: timedelta) -> str:
    sign = "-" if value < timedelta(0) else ""
    seconds, micro = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{micro:06d}"
