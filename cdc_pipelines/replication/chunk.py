"""The unit of copying: a half-open key range of a table, and how its bounds are kept as text."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import msgspec

Key = tuple[Any, ...]


class Chunk(msgspec.Struct, frozen=True):
    """The rows of `table` whose key lies in [lower, upper); None is an open end, both None the whole table.

    `shard` is the fan-out step that copies it. `position` (JSON) of a done chunk is the source position at which its
    rows were read; on a planned one it reserves the table for the reader of that position, where all chunks of the
    table must be read under one. `fingerprint` is the table definition's. `bytes` counts what was sent to the target.
    """

    table: str
    ordinal: int
    lower: Key | None
    upper: Key | None
    rows_estimate: int
    shard: int = 0
    state: Literal["planned", "done"] = "planned"
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    position: str | None = None
    fingerprint: str | None = None
    copied_at: datetime | None = None

    @property
    def done(self) -> bool:
        return self.state == "done"

    def __str__(self) -> str:
        return f"{self.table}#{self.ordinal}"


def key_to_json(key: Key | None) -> str | None:
    """A key bound as text that gives the same Python values back."""
    return None if key is None else json.dumps([_encode(value) for value in key])


def key_from_json(text: str | None) -> Key | None:
    return None if text is None else tuple(_decode(value) for value in json.loads(text))


def _encode(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return {"decimal": str(value)}
        case bytes() | bytearray():
            return {"bytes": bytes(value).hex()}
        case datetime():
            return {"datetime": value.isoformat()}
        case date():
            return {"date": value.isoformat()}
        case timedelta():
            return {"microseconds": value // timedelta(microseconds=1)}
        case _:
            raise TypeError(f"a key value of type {type(value).__name__} can't be kept: {value!r}")


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, text)] = value.items()
    match kind:
        case "decimal":
            return Decimal(text)
        case "bytes":
            return bytes.fromhex(text)
        case "datetime":
            return datetime.fromisoformat(text)
        case "date":
            return date.fromisoformat(text)
        case "microseconds":
            return timedelta(microseconds=text)
        case _:
            raise ValueError(f"unknown kind of key value: {kind}")
