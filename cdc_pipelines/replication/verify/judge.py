"""The last judge: rows of both sides compared by key and column, in Python.

Checksums only say where to look. Two texts that differ may still be the same value: in JSON, `1e2` is `100`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.checksum import Key, Row
from cdc_pipelines.replication.values.form import Form
from cdc_pipelines.replication.verify.documents import normal_document, same_document
from cdc_pipelines.replication.verify.report import Difference

_MAX_CANDIDATES = 100  # rows of a table without a key that are alike but for documents, and tried one by one


class Found(NamedTuple):
    """A difference, and what finds the row again on both sides (`TableChecksum.picked`)."""

    difference: Difference
    pick: Key


class Judge:
    """Compares rows (canonical texts in the columns' order, then the pick) of one table."""

    def __init__(self, table: MappedTable, forms: Sequence[Form]) -> None:
        self._names = [column.source.name for column in table.columns]
        self._key = table.key_indexes
        self._integer = [
            column.source.type.endswith("int") and not column.shape.changes for column in table.columns
        ]
        self._documents = {i for i, form in enumerate(forms) if form.compare == "json"}
        # Rows with the same values here may be the same row: the key's, without a key all that are told by their texts.
        self._telling = self._key or tuple(i for i in range(len(forms)) if i not in self._documents)

    def compare(self, source: Sequence[Row], target: Sequence[Row]) -> list[Found]:
        """The differences between two sets of rows, which must hold all rows of the keys they hold.

        Keys may come more than once (tables without a key, or a target whose key lost its index): each source row
        takes one equal target row away; what is left over is paired by key, and then missing or extra.
        """
        # Equal texts are the rule: take them away wholesale before looking at values.
        ours, theirs = _without_equals(source, target)
        if self._documents:
            ours, theirs = _without_equals(ours, theirs, self._normalised)
        candidates: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in theirs:
            candidates[self._told(row)].append(row)
        left = []
        for row in ours:
            near = candidates[self._told(row)][:_MAX_CANDIDATES]
            same = next((other for other in near if not self._differing(row, other)), None)
            if same is None:
                left.append(row)
            else:
                candidates[self._told(row)].remove(same)
        found = []
        for row in left:
            others = candidates[self._told(row)] if self._key else []
            if others:
                names = tuple(self._names[i] for i in self._differing(row, others.pop(0)))
                found.append(self._found("differs", row, names))
            else:
                found.append(self._found("missing", row))
        return found + [self._found("extra", row) for rows in candidates.values() for row in rows]

    def pick(self, row: Row) -> Key:
        """What finds the row again."""
        return (int(row[-1]),) if row[-1] else tuple(int(row[i] or 0) for i in self._key)

    def _found(self, kind: Literal["missing", "extra", "differs"], row: Row, columns: tuple[str, ...] = ()) -> Found:
        return Found(Difference(kind, self._shown_key(row), columns), self.pick(row))

    def _normalised(self, row: Row) -> Row:
        return tuple(
            normal_document(text) if i in self._documents and text is not None else text for i, text in enumerate(row)
        )

    def _told(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[i] for i in self._telling)

    def _differing(self, source: Row, target: Row) -> list[int]:
        """The places of the columns that differ."""
        return [i for i, (a, b) in enumerate(zip(source, target, strict=True)) if a != b and not self._same(i, a, b)]

    def _same(self, index: int, source: str | None, target: str | None) -> bool:
        return index in self._documents and source is not None and target is not None and same_document(source, target)

    def _shown_key(self, row: Row) -> dict[str, Any]:
        places = self._key or range(len(self._names))
        return {self._names[i]: self._value(i, row[i]) for i in places}

    def _value(self, index: int, text: str | None) -> Any:
        return int(text) if text is not None and self._integer[index] else text


def _without_equals(
    source: Iterable[Row], target: Sequence[Row], value: Callable[[Row], Row] = lambda row: row
) -> tuple[list[Row], list[Row]]:
    """What is left of both when every row of one has taken away one of the other that has the same `value`."""
    spare = Counter(map(value, target))
    taken: Counter[Row] = Counter()
    ours, theirs = [], []
    for row in source:
        told = value(row)
        if spare[told]:
            spare[told] -= 1
            taken[told] += 1
        else:
            ours.append(row)
    for row in target:
        told = value(row)
        if taken[told]:
            taken[told] -= 1
        else:
            theirs.append(row)
    return ours, theirs
