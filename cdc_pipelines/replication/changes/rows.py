"""Rows of one table: from an event's JSON to a typed tuple, and from there to the target's text input."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import msgspec

from cdc_pipelines.replication.added_columns import STAMPS
from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.changes.batches import SMALL, CopyBatch, HistoryBatch, Key, KeyedBatch, OrderedBatch, Row
from cdc_pipelines.replication.errors import UnsupportedChangeError
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.row_filter.binding import bound, form_asked
from cdc_pipelines.replication.row_filter.evaluate import comparable, compiled
from cdc_pipelines.replication.row_filter.language import Condition, columns_of
from cdc_pipelines.replication.values import forms_of

Text = Callable[[Any], str | None]


class RowCodec:
    """Decodes and renders the rows of one table as it stands at this place of the log.

    The decoder is strict: a column too many, one too few or a value of another type is an error, because each
    means that the table's definition is not the one that we know.
    """

    def __init__(self, table: MappedTable, source: str, target: str, *, disguised: bool = False) -> None:
        """`disguised`: for rows that `disguise` has made."""
        self.table, self.name, self._pair = table, table.name, (source, target)
        self.forms = forms_of(table.columns, source, target, table.name)
        hidden = {i for i, column in enumerate(table.columns) if column.shape.hides}
        if disguised:
            self.forms = [replace(f, json=str, text=None) if i in hidden else f for i, f in enumerate(self.forms)]
        self._hidden = {table.columns[i].source.name: self.forms[i] for i in hidden}
        self._names = [column.source.name for column in (*table.columns, *table.rows.beside)]
        self._read_forms = [*self.forms, *forms_of(table.rows.beside, source, target, table.name)]
        # msgspec can't rename a field to a name with a quote or a backslash: such rows go the slower way.
        plain = not any(re.search(r'["\\\x00-\x1f]', name) for name in self._names)
        self._type = self._row_type(plain=plain)
        self._decode = msgspec.json.Decoder(self._type).decode if plain else self._decode_odd_names
        self._stamps = [(f"a{i}", STAMPS[a.origin]) for i, a in enumerate(table.added) if a.origin in STAMPS]
        self.stamps = bool(self._stamps)
        """Whether rows are to be stamped with the change that they come from."""
        self.key_indexes = table.key_indexes
        # The connector takes the primary key's columns for the key. Without one it takes a unique index of its own
        # choice, and tells a change of ours as an update like any other.
        self.splits_key_changes = bool(table.key_indexes) and table.source.primary
        self.batch: type[KeyedBatch | HistoryBatch | OrderedBatch] = (
            OrderedBatch if not table.key_indexes else HistoryBatch if table.rows.history else KeyedBatch
        )
        """What the table's changes are gathered in."""
        self.key: Callable[[Row], Key] = _key_getter([f"c{i}" for i in table.key_indexes])
        # Columns that only the filter asks stand behind these, and go no further.
        self._texts: list[Text | None] = [form.text for form in self.forms] + [None] * len(table.added)
        self._columns = [_column_renderer(f.text, f.json) for f in self.forms] + [_fields] * len(table.added)
        if table.rows.soft:
            self._texts.append(moment)
            self._columns.append(_column_renderer(moment, int))
        condition = bound(table)
        self.may_repeat = table.rows.history and (
            len(table.columns) < len(table.source.columns) or any(column.shape.changes for column in table.columns)
        )
        """Whether a change of a row may be none to the target, which keeps each that is one."""
        self.is_shaped = condition is not None or table.rows.soft or self.may_repeat
        """Whether a change is not to be applied as it comes; see `shaping`."""
        self.accepts: Callable[[Row], bool] = lambda row: True
        """The table's filter: whether the target is to have a row."""
        if condition is not None:
            self.accepts = compiled(condition, self._getters(condition))

    def _row_type(self, *, plain: bool) -> type[Row]:
        """The replicated columns, those that we add, the time of a delete, and those that only the filter asks."""
        fields: list[Any] = [(f"c{i}", form.json | None) for i, form in enumerate(self._read_forms)]
        ours: list[Any] = [
            (f"a{i}", str | None, added.text if added.origin == "constant" else None)
            for i, added in enumerate(self.table.added)
        ]
        if self.table.rows.soft:
            ours.append((_DELETED, int | None, None))
        rename = {f"c{i}": name for i, name in enumerate(self._names)}
        # No column of an event can have such a name.
        rename |= {name: f"{name:_<{_TOO_LONG}}" for name, *_ in ours}
        own = len(self.forms)
        return msgspec.defstruct(
            "Row", [*fields[:own], *ours, *fields[own:]], rename=rename if plain else None, forbid_unknown_fields=True,
            gc=False, kw_only=True,
        )

    def row(self, raw: msgspec.Raw) -> Row:
        """Raises UnsupportedChangeError where the event has other columns or types than the table."""
        try:
            return self._decode(raw)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise UnsupportedChangeError(
                f"table {self.table.name}: an event does not fit the columns "
                f"{', '.join(c.source.name for c in self.table.columns)}: {error}",
                "the table's definition changed in a way that was not seen; run `cdc start NAME --force-resync`.",
            ) from error

    def stamp(self, row: Row, op: str, place: Place, commit_ms: int | None) -> None:
        """Write into the row's added columns what they tell of the change that made it so."""
        for name, value in self._stamps:
            setattr(row, name, value(op, place, commit_ms))

    def _decode_odd_names(self, raw: msgspec.Raw) -> Row:
        values = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        if values.keys() != set(self._names):
            raise msgspec.ValidationError(f"the event has the columns {', '.join(values)}")
        return self._type(
            **{
                f"c{i}": msgspec.json.decode(values[name], type=form.json | None)
                for i, (name, form) in enumerate(zip(self._names, self._read_forms, strict=True))
            }
        )

    def _getters(self, condition: Condition) -> dict[str, Callable[[Row], Any]]:
        columns = (*self.table.columns, *self.table.rows.beside)
        wanted = set(columns_of(condition))
        return {
            name: _getter(
                f"c{i}", comparable(columns[i].source, form_asked(columns[i], *self._pair, self.table.name))
            )
            for i, name in enumerate(self._names) if name in wanted
        }

    def gone(self, row: Row, at_ms: int | None) -> Row | None:
        """What is left of a deleted row: with soft deletes the row, and when that was; else nothing."""
        return msgspec.structs.replace(row, **{_DELETED: at_ms or 0}) if self.table.rows.soft else None

    def texts(self, row: Row) -> list[str | None]:
        """The row's values as the target's text input, without any escaping."""
        return [
            None if value is None else (value if text is None else text(value))
            for value, text in zip(msgspec.structs.astuple(row), self._texts, strict=False)
        ]

    def disguise(self, raw: msgspec.Raw) -> msgspec.Raw:
        """An event's image with the target's texts in place of the values that the target must not see."""
        if not self._hidden or bytes(raw) == b"null":
            return raw
        values = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        for name, form in self._hidden.items():
            if name in values:
                value = msgspec.json.decode(values[name], type=form.json | None)
                shown = None if value is None or form.text is None else form.text(value)
                values[name] = msgspec.Raw(msgspec.json.encode(shown))
        return msgspec.Raw(msgspec.json.encode(values))

    def shown_key(self, key: Key) -> Sequence[Any]:
        """The key's values, or the target's texts where it must not see them."""
        return self.key_texts(key) if self.table.hides_key else key

    def pack(self, batch: KeyedBatch) -> KeyedBatch | CopyBatch:
        """A large batch as COPY text; a small one as it is."""
        if len(batch.images) <= SMALL:
            return batch
        gone = [key for key, row in batch.images.items() if row is None]
        rows = [row for row in batch.images.values() if row is not None]
        return CopyBatch(_copy_lines(map(self.key_texts, gone)), self.copy_text(rows), batch.fresh)

    def copy_text(self, rows: Sequence[Row]) -> bytes:
        """Rows in PostgreSQL's COPY text format."""
        return b"".join(self._copy_blocks(rows))

    def _copy_blocks(self, rows: Sequence[Row]) -> Iterator[bytes]:
        """Made column by column: a loop per column, not a call per value; in blocks that fit the processor's cache."""
        for first in range(0, len(rows), _BLOCK):
            columns = zip(*map(msgspec.structs.astuple, rows[first : first + _BLOCK]), strict=True)
            texts = [render(values) for render, values in zip(self._columns, columns, strict=False)]
            yield _joined(map("\t".join, zip(*texts, strict=True)))

    def key_texts(self, key: Key) -> list[str]:
        """Like `texts`, for a key alone."""
        return [
            value if (text := self._texts[i]) is None else text(value) or ""
            for value, i in zip(key, self.key_indexes, strict=True)
        ]


def _key_getter(names: list[str]) -> Callable[[Row], Key]:
    """A row's values of these fields as a tuple; called for every event, so made once."""
    if len(names) != 1:
        return attrgetter(*names) if names else lambda row: ()
    value = attrgetter(names[0])
    return lambda row: (value(row),)


def _getter(name: str, turn: Callable[[Any], Any]) -> Callable[[Row], Any]:
    value = attrgetter(name)
    return lambda row: None if (found := value(row)) is None else turn(found)


def moment(ms: int) -> str:
    """Milliseconds since 1970 as a timestamptz."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")


_DELETED = "deleted"
_BLOCK = 250  # rows
_TOO_LONG = 100  # characters of a column's name
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_TRANSLATE = str.maketrans(_ESCAPES)


def _column_renderer(text: Text | None, kind: Any) -> Callable[[Sequence[Any]], Sequence[str]]:
    """From a column's values to their fields in COPY's text format."""
    if text is None:
        return _fields
    if kind is int:  # digits and punctuation: nothing to escape
        return lambda values: [r"\N" if v is None else text(v) or r"\N" for v in values]
    return lambda values: _fields([None if v is None else text(v) for v in values])


def _fields(texts: Sequence[str | None]) -> Sequence[str]:
    """A whole column is searched and escaped as one text, which is several times as quick as one by one."""
    has_nulls = None in texts
    whole: Sequence[str] = ["" if v is None else v for v in texts] if has_nulls else texts  # type: ignore[assignment]
    joined = "\0".join(whole)
    found = [special for special in _ESCAPES if special in joined]
    if found:
        if joined.count("\0") != len(whole) - 1:  # one holds a NUL itself; PostgreSQL will refuse it
            whole = list(map(escaped, whole))
        else:
            for special in found:  # the backslash comes first
                joined = joined.replace(special, _ESCAPES[special])
            whole = joined.split("\0")
    return [r"\N" if v is None else field for v, field in zip(texts, whole, strict=True)] if has_nulls else whole


def escaped(text: str) -> str:
    """A text as a field of COPY's text format."""
    return text.translate(_TRANSLATE)


def _copy_lines(rows: Iterable[Iterable[str]]) -> bytes:
    """PostgreSQL's COPY text format of rows of texts, none of them NULL."""
    return _joined("\t".join(map(escaped, row)) for row in rows)


def _joined(lines: Iterable[str]) -> bytes:
    return "\n".join((*lines, "")).encode()
