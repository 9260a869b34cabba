"""What one canonical form consists of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Form:
    """How one column's values travel and are compared.

    The SQL templates hold `{c}` where the quoted column stands; they are ours, never a user's text.

    target_type: the column's type in the target's DDL.
    read: SQL on the source that renders the value as the target's text input (connection: UTF-8, UTC).
    json: the Python type that `msgspec` decodes the event's JSON value to (without null).
    text: turns such a value into the target's text input; None where it is that already (`str`).
    source_canonical, target_canonical: SQL that renders the same text on both sides for equal values.
    compare: how two texts that differ are judged at last: `exact`, or as `json` documents.
    """

    target_type: str
    read: str
    json: Any
    text: Callable[[Any], str] | None
    source_canonical: str
    target_canonical: str
    compare: Literal["exact", "json"] = "exact"
