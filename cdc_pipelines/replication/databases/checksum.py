"""Checksums of a table's rows that come out equal on both sides, whatever the two servers are.

A row's text is the canonical text of each column (`values.Form`), its checksum the first 60 bits of the text's SHA-256;
a set of rows is told by their number and the sum of their checksums, so neither order nor collation matters. The
dialects (`databases/*/checksum.py`) say how their SQL spells the pieces; this module puts them together.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable
from cdc_pipelines.replication.values.form import Form

Key = tuple[Any, ...]
Row = tuple[str | None, ...]

_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}
_SHOWN = 64  # characters of a value that `rows` gives in full
_ARGUMENTS = 90  # PostgreSQL's functions take at most 100


class Span(NamedTuple):
    """The rows whose key tuple is ≥ `lower` and < `upper`; None is no bound. Only for keys of integers."""

    lower: Key | None = None
    upper: Key | None = None


EVERYTHING = Span()


class Totals(NamedTuple):
    """A set of rows: how many, and the sum of their checksums."""

    rows: int = 0
    checksum: int = 0

    def plus(self, other: "Totals") -> "Totals":
        return Totals(self.rows + other.rows, self.checksum + other.checksum)


@dataclass(frozen=True)
class Salt:
    """Texts between columns and in place of nulls. Random for each comparison, so that no row can imitate them.

    With a fixed separator, two rows whose values hold it in shifted places would have the same text.
    """

    separator: str
    null: str


class TableChecksum(ABC):
    """One table on one server, within the snapshot of one session. One thread at a time.

    `by` says how rows fall into buckets: `modulo` of a key of integers (cheap), else `digest` of the key's canonical
    text, or of the whole row's for a table without a key.
    """

    INTEGER: ClassVar[str]  # the type that CAST calls a signed 64-bit integer

    def __init__(self, table: MappedTable, forms: Sequence[Form], salt: Salt, by: Literal["modulo", "digest"]) -> None:
        self.table = table
        self.forms = tuple(forms)
        self._salt = salt
        self._by = by
        fields = [self._field(column, form) for column, form in zip(table.columns, forms, strict=True)]
        self._row_number = self._number(self._joined(fields))
        # Equal values must fall into the same bucket: those whose texts may differ nevertheless have no say in it.
        places = table.key_indexes or range(len(fields))
        told = [fields[i] for i in places if self.forms[i].compare == "exact"]
        self._key_number = self._number(self._joined(told)) if told else "0"

    # What a dialect spells

    @abstractmethod
    def _run(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run a query, where `%s` stands for a value."""

    @abstractmethod
    def _name(self, column: MappedColumn) -> str:
        """The column's quoted name on this side."""

    @property
    @abstractmethod
    def _from(self) -> str:
        """The table's quoted name on this side."""

    @property
    @abstractmethod
    def _only(self) -> str:
        """What is true of the rows that this side is to have, of all that are in the table; empty for all of them."""

    @abstractmethod
    def _canonical(self, form: Form) -> str:
        """The template of this side."""

    @abstractmethod
    def _where(self, span: Span) -> tuple[str, Sequence[Any]]:
        """A condition for the key range, and its values."""

    @abstractmethod
    def _sha256(self, text: str) -> str:
        """The text's SHA-256 over UTF-8, in lower-case hex digits."""

    @abstractmethod
    def _number(self, text: str) -> str:
        """The first 60 bits of the text's SHA-256, as an integer."""

    @abstractmethod
    def _literal(self, text: str) -> str:
        """A text of printable ASCII and control characters as a literal."""

    @abstractmethod
    def _as_text(self, value: str) -> str:
        """The value as a text, as it is joined into a row's text; null stays null."""

    # What is asked

    def totals(self, span: Span = EVERYTHING) -> Totals:
        """The rows of a key range."""
        where, params = self._within(span)
        found = self._run(
            f"select count(*), coalesce(sum({self._row_number}), 0) from {self._from} where {where}",  # noqa: S608
            params,
        )
        return Totals(int(found[0][0]), int(found[0][1]))

    def buckets(self, count: int, span: Span = EVERYTHING) -> dict[int, Totals]:
        """The rows of a key range, spread over about `count` buckets by their keys; empty buckets are left out."""
        where, params = self._within(span)
        found = self._run(
            f"select {self._bucket(count)}, count(*), sum({self._row_number}) "  # noqa: S608
            f"from {self._from} where {where} group by 1",
            params,
        )
        return {int(bucket): Totals(int(rows), int(checksum)) for bucket, rows, checksum in found}

    def rows(self, count: int = 0, chosen: Collection[int] | None = None, span: Span = EVERYTHING) -> list[Row]:
        """The rows of the `chosen` ones of `count` buckets (None: all), as canonical texts in the columns' order.

        Long texts are given as `#` and their SHA-256, except those of keys and of values that are compared otherwise
        than by their texts. One more text stands at the end: the row's pick (see `picked`).
        """
        where, params = self._within(span)
        if chosen is not None:
            # Buckets are our own small integers.
            where = f"({where}) and {self._bucket(count)} in ({', '.join(str(int(b)) for b in sorted(chosen))})"
        return self._texts(where, params)

    def picked_rows(self, picks: Collection[Key]) -> list[Row]:
        """The rows that were picked, as `rows` gives them."""
        where, params = self.picked(picks)
        return self._texts(self._narrowed(where), params)

    def _texts(self, where: str, params: Sequence[Any]) -> list[Row]:
        pick = self._literal("") if self._by == "modulo" else self._as_text(self._key_number)
        shown = ", ".join([*(self._shown(i) for i in range(len(self.table.columns))), pick])
        found = self._run(f"select {shown} from {self._from} where {where}", params)  # noqa: S608
        return [tuple(_plain(value) for value in row) for row in found]

    def picked(self, picks: Collection[Key]) -> tuple[str, Sequence[Any]]:
        """A condition that is true of the rows that were picked, and its values. It may be true of more of the table.

        A pick is the key's integers or, by digest, the one number that stands for a key (without a key: for a row).
        """
        if self._by == "digest":
            return f"{self._key_number} in ({', '.join(str(int(n)) for (n,) in sorted(picks))})", ()
        names = ", ".join(self._name(column) for column in self.table.key)
        keys = ", ".join("(" + ", ".join(str(int(n)) for n in key) + ")" for key in sorted(picks))
        return f"({names}) in ({keys})", ()

    def next_bound(self, span: Span, step: int) -> Key | None:
        """The key that stands `step` rows behind the start of the range; None where the range ends before."""
        where, params = self._within(span)
        names = ", ".join(self._name(column) for column in self.table.key)
        found = self._run(
            f"select {names} from {self._from} where {where} order by {names} limit 1 offset {int(step)}",  # noqa: S608
            params,
        )
        return tuple(int(value) for value in found[0]) if found else None

    # How it is put together

    def _within(self, span: Span) -> tuple[str, Sequence[Any]]:
        where, params = self._where(span)
        return self._narrowed(where), params

    def _narrowed(self, where: str) -> str:
        return f"({where}) and {self._only}" if self._only else where

    def _field(self, column: MappedColumn, form: Form) -> str:
        # A text that grows beyond what the server allows becomes null: then the checksums differ, and the rows are
        # fetched and judged by themselves.
        text = self._canonical(form).format(c=self._name(column))
        return f"coalesce({text}, {self._literal(self._salt.null)})" if column.source.nullable else text

    def _shortened(self, text: str) -> str:
        """A long text as `#` and its digest. None of the short ones looks like that."""
        return f"case when char_length({text}) > {_SHOWN} then concat('#', {self._sha256(text)}) else {text} end"

    def _joined(self, fields: Sequence[str]) -> str:
        separator = self._literal(self._salt.separator)
        while len(fields) > _ARGUMENTS:
            fields = [f"concat_ws({separator}, {', '.join(fields[i : i + _ARGUMENTS])})"
                      for i in range(0, len(fields), _ARGUMENTS)]
        return f"concat_ws({separator}, {', '.join(fields)})"

    def _bucket(self, count: int) -> str:
        if self._by == "modulo":
            parts = " + ".join(
                f"cast(mod({self._name(column)}, {int(count)}) as {self.INTEGER})" for column in self.table.key
            )
            return f"mod({parts}, {int(count)})"
        return f"mod({self._key_number}, {int(count)})"

    def _shown(self, index: int) -> str:
        column, form = self.table.columns[index], self.forms[index]
        text = self._as_text(self._canonical(form).format(c=self._name(column)))
        whole = index in self.table.key_indexes or form.compare != "exact" or not self._may_be_long(column)
        return text if whole else self._shortened(text)

    @staticmethod
    def _may_be_long(column: MappedColumn) -> bool:
        source = column.source
        if source.type in _TEXTS:
            return source.length is None or source.length > _SHOWN
        return source.type in ("binary", "varbinary") and (source.length or 0) * 2 > _SHOWN


def _plain(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode() if isinstance(value, bytes) else str(value)
