"""From a column's own form to that of its shape: hashed, masked, cut, or of another type.

What is hashed or masked is the value's canonical text in UTF-8 (of byte strings: the bytes), which both sides have by
the column's own form, whatever its character set. So a shape needs no knowledge of how a value travels.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cdc_pipelines.replication.column_shape import ColumnShape
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.values import hashing
from cdc_pipelines.replication.values.form import Case, Form
from cdc_pipelines.replication.values.mysql_numbers import INTEGERS
from cdc_pipelines.replication.values.retyping import retyped

_SHORT_TEXTS = ("char", "varchar", "tinytext", "text")
_LONG_TEXTS = ("mediumtext", "longtext")
_LABELS = ("enum", "set")
_SHORT_BYTES = ("binary", "varbinary", "tinyblob", "blob")
_LONG_BYTES = ("mediumblob", "longblob")
_BYTES = (*_SHORT_BYTES, *_LONG_BYTES)
# What is joined with a key, or made character by character, must not grow beyond what the server allows a value.
_SMALL = (*INTEGERS, *_SHORT_TEXTS, *_LABELS)
HASHABLE = (*_SMALL, *_LONG_TEXTS, *_BYTES)
KEYED_HASHABLE = (*_SMALL, *_SHORT_BYTES)
MASKABLE = _SMALL
CUTTABLE = (*_SHORT_TEXTS, *_LONG_TEXTS)
_INTEGER_DIGITS = 20


def shaped(base: Form, case: Case, shape: ColumnShape) -> Form:
    """The form of a column whose own form is `base`. Raises ConfigurationError where the shape does not fit its type.

    A key that is needed and can't be had, or is not the one of before, is a ConfigurationError as well.
    """
    if shape.hash is not None:
        return _hashed(base, case, shape)
    if shape.mask is not None:
        return _masked(base, case, shape)
    if shape.truncate is not None:
        return _cut(base, case, shape.truncate)
    return retyped(base, case, shape.type) if shape.type is not None else base


def _require(case: Case, what: str, types: tuple[str, ...]) -> None:
    if case.column.type not in types:
        raise ConfigurationError(
            f"column {case.where} is {case.column.full_type}, which {what} does not apply to",
            f"it applies to {', '.join(types)}.",
        )


def _canonical(base: Form, case: Case) -> str:
    """SQL for the value as UTF-8 text, or as its bytes."""
    if case.column.type in _BYTES:
        return "{c}"
    return f"concat({base.source_canonical})" if case.column.type in INTEGERS else base.source_canonical


def _texts(base: Form) -> Callable[[Any], str]:
    """From an event's value to its canonical text."""
    own = base.text
    return (lambda value: str(value)) if own is None else (lambda value: own(value) or "")


def _hashed(base: Form, case: Case, shape: ColumnShape) -> Form:
    value = _canonical(base, case)
    session: tuple[str, ...] = ()
    if shape.hash == "hmac_sha256":
        _require(case, "hash: hmac_sha256", KEYED_HASHABLE)
        key, where = shape.key or "", case.where
        check = shape.key_check or hashing.key_check(key, where)
        sql, digest = hashing.sql_hmac(value, check), hashing.keyed_hash(key, check, where)
        session = (hashing.session_keys(key, check, where),)
    else:
        _require(case, "hash: sha256", HASHABLE)
        sql, digest = hashing.sql_hash(value), hashing.plain_hash
    texts = _texts(base)
    if case.column.type in _BYTES:
        def text(value: Any) -> str:
            return digest(bytes.fromhex(texts(value)[2:]))  # \x…
    else:
        def text(value: Any) -> str:
            return digest(texts(value).encode())
    return Form("varchar(64)", sql, base.json, text, sql, "{c}", session=session)


def _masked(base: Form, case: Case, shape: ColumnShape) -> Form:
    _require(case, "mask", MASKABLE)
    value, first, last, mark = _canonical(base, case), shape.keep_first, shape.keep_last, shape.mask or "*"
    literal = f"_utf8mb4 x'{mark.encode().hex()}'"
    length = f"char_length({value})"
    sql = f"repeat({literal},{length})"
    if first + last:
        middle = f"repeat({literal},{length}-{first + last})"
        sql = f"if({length}>{first + last},concat(left({value},{first}),{middle},right({value},{last})),{sql})"
    texts = _texts(base)

    def text(value: Any) -> str:
        whole = texts(value)
        hidden = len(whole) - first - last
        if hidden <= 0:
            return mark * len(whole)
        return whole[:first] + mark * hidden + whole[len(whole) - last :]

    target_type = f"varchar({_INTEGER_DIGITS})" if case.column.type in INTEGERS else base.target_type
    return Form(target_type, sql, base.json, text, sql, "{c}")


def _cut(base: Form, case: Case, characters: int) -> Form:
    _require(case, "truncate", CUTTABLE)
    sql = f"left({base.source_canonical},{characters})"
    texts = _texts(base)
    length = case.column.length
    return replace(
        base, target_type=f"varchar({min(characters, max(1, length)) if length is not None else characters})",
        read=sql, text=lambda value: texts(value)[:characters], source_canonical=sql,
    )
