"""Another type on the target than the usual one: only where it holds every value of the source's type.

Both sides then agree on the text of the wider type, as its form renders it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from cdc_pipelines.replication.catalog import Column
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.values.form import Case, Form

_TYPE = re.compile(r"([a-z0-9 ]+?) ?(?:\( ?(\d+) ?(?:, ?(\d+) ?)?\))?")
_ALIASES = {
    "int": "integer", "int2": "smallint", "int4": "integer", "int8": "bigint", "decimal": "numeric", "bool": "boolean",
    "character varying": "varchar",
}
_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64, "year": 16}
_INTEGERS = {"smallint": 16, "integer": 32, "bigint": 64}
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
_MOST_DIGITS, _MOST_DECIMALS = 65, 30  # of the source's DECIMAL, to which verify casts


class Wanted(NamedTuple):
    """A type as the file asks for it: its name and its arguments."""

    name: str
    size: int | None = None
    scale: int | None = None


class Choice(NamedTuple):
    """Types that hold a column's every value: in words, and the form for what fits, None for what does not."""

    words: str
    form: Callable[[Wanted], Form | None]


def retyped(base: Form, case: Case, text: str) -> Form:
    """The form under another type. Raises ConfigurationError, with the types that are valid, for one that is not."""
    wanted = _parsed(text)
    choices = list(_choices(base, case))
    if wanted is not None:
        for choice in choices:
            found = choice.form(wanted)
            if found is not None:
                return found
        if _written(wanted) == base.target_type:
            return base
    raise ConfigurationError(
        f"column {case.where} is {case.column.full_type}, which can't become {text}",
        f"valid: {', '.join(dict.fromkeys([base.target_type, *(choice.words for choice in choices)]))}.",
    )


def _parsed(text: str) -> Wanted | None:
    match = _TYPE.fullmatch(" ".join(text.lower().split()))
    if match is None:
        return None
    name = _ALIASES.get(match[1], match[1])
    size, scale = (int(part) if part else None for part in match.group(2, 3))
    if name == "numeric" and size is not None and scale is None:
        scale = 0
    return Wanted(name, size, scale)


def _written(wanted: Wanted) -> str:
    name, size, scale = wanted
    if size is None:
        return name
    return f"{name}({size})" if scale is None else f"{name}({size},{scale})"


def _choices(base: Form, case: Case) -> Iterator[Choice]:
    column = case.column
    kind = column.type
    if kind in _BITS:
        yield from _of_integers(base, column)
    elif kind in ("decimal", "numeric"):
        yield _numeric(base, (column.precision or 10) - (column.scale or 0), column.scale or 0)
    elif kind == "bit" and (column.length or 1) == 1:
        yield _plain("boolean", replace(base, target_type="boolean", target_canonical="{c}::int::text"))
    elif kind in _TEXTS:
        yield from _of_texts(base, case)
    elif kind == "json":
        yield _plain("json", replace(base, target_type="json"))
        yield _plain("text", replace(base, target_type="text"))
    elif kind in ("date", "datetime"):
        written = replace(base, target_type="text", read=base.source_canonical, target_canonical="{c}")
        yield from _text_types(written, 10 if kind == "date" else 26)
    elif kind == "binary" and column.length == 16:
        yield _plain(
            "uuid", replace(base, target_type="uuid", read="hex({c})", text=_without_mark(base),
                            target_canonical="upper(replace({c}::text,'-',''))"),
        )


def _without_mark(base: Form) -> Callable[[str], str]:
    own = base.text
    assert own is not None
    return lambda value: (own(value) or "")[2:]  # \x…


def _of_integers(base: Form, column: Column) -> Iterator[Choice]:
    bits = _BITS[column.type]
    for name, width in _INTEGERS.items():
        if width >= bits + (1 if column.unsigned and column.type != "year" else 0):
            yield _plain(name, replace(base, target_type=name, target_canonical="{c}::text"))
    digits = len(str(2**bits if column.unsigned else 2 ** (bits - 1)))
    yield _numeric(base, digits, 0)
    yield from _text_types(replace(base, target_type="text", target_canonical="{c}"), digits + 1)


def _of_texts(base: Form, case: Case) -> Iterator[Choice]:
    most = 255 if case.column.type == "tinytext" else case.column.length
    yield from _text_types(replace(base, target_type="text"), most)
    if case.mariadb and case.column.type == "longtext":  # what JSON is to it
        for name in ("json", "jsonb"):
            yield _plain(name, replace(base, target_type=name, target_canonical="{c}::text", compare="json"))


def _plain(name: str, form: Form) -> Choice:
    return Choice(name, lambda wanted: form if wanted == Wanted(name) else None)


def _numeric(base: Form, digits: int, scale: int) -> Choice:
    """`digits` before the point and `scale` behind it are needed."""
    def form(wanted: Wanted) -> Form | None:
        name, size, decimals = wanted
        if name != "numeric" or size is None or decimals is None or decimals < scale or size - decimals < digits:
            return None
        if size > _MOST_DIGITS or decimals > _MOST_DECIMALS:
            return None
        number = base.source_canonical if base.source_canonical.startswith("{c}") else "{c}"
        canonical = f"cast(cast({number} as decimal({size},{decimals})) as char(80))"
        return replace(
            base, target_type=f"numeric({size},{decimals})", source_canonical=canonical, target_canonical="{c}::text"
        )

    behind = f", at least {scale} behind it" if scale else ""
    return Choice(
        f"numeric(p,s) with at least {digits} digits before the point{behind} (at most p {_MOST_DIGITS}, "
        f"s {_MOST_DECIMALS})", form,
    )


def _text_types(form: Form, most: int | None) -> Iterator[Choice]:
    """`text`, and `varchar(n)` where no value is longer than `most` characters."""
    yield _plain("text", form)
    if most is None:
        return

    def sized(wanted: Wanted) -> Form | None:
        fits = wanted.name == "varchar" and wanted.scale is None and most <= (wanted.size or 0) <= 10_485_760
        return replace(form, target_type=f"varchar({wanted.size})") if fits else None

    yield Choice(f"varchar(n) from {most} on", sized)
