"""What a column's new definition does to the values that are there.

A change of type moves no row through the log. Where it leaves every value as it is (a longer text, a wider integer) it
can be followed at once. Where it may convert some (a shorter text, fewer decimals, other labels) that depends on the
rows; and the target holds them, as they were on the source at this place of the log. So what comes out of here are
questions to the target: a row for which one is true would have been converted, and the table must be copied anew.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from cdc_pipelines.replication.catalog import Column

_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_TEXT_BYTES = {"tinytext": 255, "text": 65_535, "mediumtext": 16_777_215, "longtext": 4_294_967_295}
_BLOB_BYTES = {"tinyblob": 255, "blob": 65_535, "mediumblob": 16_777_215, "longblob": 4_294_967_295}
_WIDE_CHARSETS = {"utf8mb4", "utf16", "utf16le", "utf32", "gb18030"}
_TEMPORAL = {"date", "datetime", "timestamp"}
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class Outside:
    """A number below `low`, above `high`, or with more than `scale` decimals."""

    low: Decimal
    high: Decimal
    scale: int


@dataclass(frozen=True)
class LongerThan:
    """More characters than that."""

    characters: int


@dataclass(frozen=True)
class LargerThan:
    """More bytes than that (texts: in UTF-8); with `exactly`, also fewer."""

    bytes: int
    exactly: bool = False


@dataclass(frozen=True)
class Beyond:
    """Characters that are not in the character set: beyond `ascii`, or beyond the `basic` plane."""

    repertoire: str


@dataclass(frozen=True)
class EndsInSpace:
    """A trailing space."""


@dataclass(frozen=True)
class NotOneOf:
    """None of the labels of an ENUM; of a SET, a member that is none of them."""

    labels: tuple[str, ...]
    is_set: bool


@dataclass(frozen=True)
class FinerThan:
    """More digits of a second than that; None: a time of day at all."""

    digits: int | None


@dataclass(frozen=True)
class NotSingle:
    """A double that is no float."""


@dataclass(frozen=True)
class IsNull:
    """No value."""


@dataclass(frozen=True)
class Equals:
    """This value."""

    text: str


Question = (
    Outside | LongerThan | LargerThan | Beyond | EndsInSpace | NotOneOf | FinerThan | NotSingle | IsNull | Equals
)


def questions(before: Column, after: Column) -> list[Question] | None:
    """Which values the change converts. Empty: none, ever. None: that can't be told."""
    found = _of_types(before, after)
    if found is None:
        return None
    if before.nullable and not after.nullable:
        found.append(IsNull())
    if after.type in _TEMPORAL:
        # What stands for a zero date on the target follows from the definition.
        stands_for_zero = _zero(before)
        if stands_for_zero is not None and stands_for_zero != _zero(after):
            found.append(Equals(stands_for_zero))
    return found


def _of_types(before: Column, after: Column) -> list[Question] | None:
    ours, theirs = _family(before), _family(after)
    if ours == theirs == "number":
        return _numbers(before, after)
    if theirs == "text" and ours in ("text", "label"):
        return _texts(before, after)
    if after.type in ("enum", "set"):
        return _labels(before, after)
    if ours == theirs == "bytes":
        return _bytes(before, after)
    if before.type in ("float", "double") and after.type in ("float", "double"):
        if "(" in before.full_type + after.full_type:
            return [] if before.full_type == after.full_type else None
        return [NotSingle()] if (before.type, after.type) == ("double", "float") else []
    if before.type == after.type and after.type in ("date", "datetime", "timestamp", "time"):
        return [] if (after.fraction or 0) >= (before.fraction or 0) else [FinerThan(after.fraction or 0)]
    if (before.type, after.type) == ("date", "datetime"):
        return []
    if (before.type, after.type) == ("datetime", "date"):
        return [FinerThan(None)]
    return [] if (before.type, before.length) == (after.type, after.length) else None


def _family(column: Column) -> str:
    kind = column.type
    if kind in _BITS or kind == "decimal":
        return "number"
    if kind in ("char", "varchar") or kind in _TEXT_BYTES:
        return "text"
    if kind in ("enum", "set"):
        return "label"
    return "bytes" if kind in ("binary", "varbinary") or kind in _BLOB_BYTES else kind


def _numbers(before: Column, after: Column) -> list[Question]:
    inner, outer = _range(before), _range(after)
    if outer.low <= inner.low and inner.high <= outer.high and inner.scale <= outer.scale:
        return []
    return [outer]


def _range(column: Column) -> Outside:
    if column.type == "decimal":
        precision, scale = column.precision or 10, column.scale or 0
        most = (Decimal(10) ** precision - 1).scaleb(-scale)
        return Outside(Decimal(0) if column.unsigned else -most, most, scale)
    if column.full_type == "tinyint(1)":  # a boolean on the target
        return Outside(Decimal(0), Decimal(1), 0)
    half = Decimal(2) ** (_BITS[column.type] - 1)
    return Outside(Decimal(0), 2 * half - 1, 0) if column.unsigned else Outside(-half, half - 1, 0)


def _texts(before: Column, after: Column) -> list[Question] | None:
    found: list[Question] = []
    if after.length is not None:
        if before.length is None or before.length > after.length:
            found.append(LongerThan(after.length))
    else:
        limit = _TEXT_BYTES[after.type]
        most = before.length * 4 if before.length is not None else _TEXT_BYTES.get(before.type, 1020)
        if most > limit or (before.charset != after.charset and most * 4 > limit < _TEXT_BYTES["longtext"]):
            found.append(LargerThan(limit))
    if after.type == "char" and before.type != "char":
        found.append(EndsInSpace())
    return _with_charset(found, before, after)


def _with_charset(found: list[Question], before: Column, after: Column) -> list[Question] | None:
    if before.charset == after.charset or after.charset in _WIDE_CHARSETS or before.charset == "ascii":
        return found
    if "binary" in (before.charset, after.charset):
        return None
    if after.charset == "utf8mb3":
        return [*found, Beyond("basic")] if before.charset in _WIDE_CHARSETS else found
    return [*found, Beyond("ascii")]


def _labels(before: Column, after: Column) -> list[Question] | None:
    if before.type != after.type:
        if after.type == "set" or _family(before) != "text":
            return None
        return _with_charset([NotOneOf(after.labels, is_set=False)], before, after)
    common = [label for label in before.labels if label in after.labels]
    if after.type == "set" and common != [label for label in after.labels if label in before.labels]:
        return None  # the order of a value's members is that of the labels
    found: list[Question] = []
    if len(common) < len(before.labels):
        found.append(NotOneOf(after.labels, is_set=after.type == "set"))
    return _with_charset(found, before, after)


def _bytes(before: Column, after: Column) -> list[Question] | None:
    if after.type == "binary":
        if before.type == "binary":
            return [] if before.length == after.length else None
        return [LargerThan(after.length or 1, exactly=True)]
    limit, most = (c.length or _BLOB_BYTES.get(c.type, 0) for c in (after, before))
    return [LargerThan(limit)] if most > limit else []


def _zero(column: Column) -> str | None:
    """What a zero date of this column is on the target: see `values.mysql_postgres._dated`. None is null."""
    if column.nullable or column.type not in _TEMPORAL:
        return None
    default = column.default or ""
    if _DAY.match(default) and "00" not in (default[5:7], default[8:10]) and default[:4] != "0000":
        return default
    return "1970-01-01"
