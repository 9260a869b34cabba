"""What a comparison of source and target found."""

from typing import Any, Literal

import msgspec

MALFORMED = (
    "table %s: %d version(s) of its history end before they begin, or after the next one of their key begins: "
    "something else changed them; mend them by hand (docs/shaping.md#history)"
)


class Difference(msgspec.Struct, frozen=True):
    """One row that is not equal on both sides.

    `missing`: on the source alone; `extra`: on the target alone; `differs`: on both, with other values in `columns`
    (the source's names). `key` holds the key's values; of a table without a key, all columns' (long texts as `#` and
    their SHA-256).
    """

    kind: Literal["missing", "extra", "differs"]
    key: dict[str, Any]
    columns: tuple[str, ...] = ()


class Repaired(msgspec.Struct, frozen=True):
    """What a repair did to a table of the target: rows taken away, and rows written as the source has them.

    `listed` holds the first differences that it mended, as the comparison before it named them.
    """

    differences: int
    rows_removed: int
    rows_written: int
    listed: tuple[Difference, ...] = ()


class TableVerified(msgspec.Struct, frozen=True):
    """One table compared. `differences` holds the first ones only, `difference_count` all of them.

    `complete` is False where there were so many that counting was given up: the count is then a lower bound.
    `chunks` says in how many parts the table was compared, `position` (JSON) at which state of the source; after a
    repair all of this is of the comparison that followed it. A table that stands apart from the stream is not compared:
    `left_out` says why, and it is not complete. `malformed`: versions of a history that end before they begin, or
    after the next one of their key begins; a repair leaves those to people.
    """

    table: str
    rows_source: int
    rows_target: int
    differences: tuple[Difference, ...]
    difference_count: int
    seconds: float
    chunks: int
    complete: bool = True
    position: str = ""
    repaired: Repaired | None = None
    left_out: str = ""
    malformed: int = 0

    @property
    def same_rows(self) -> bool:
        """Whether the target has the source's rows of now."""
        return self.complete and self.difference_count == 0 and self.rows_source == self.rows_target

    @property
    def equal(self) -> bool:
        return self.same_rows and not self.malformed

    @property
    def wrong(self) -> int:
        """Rows that are not what they should be."""
        return self.difference_count + self.malformed


def left_out(table: str, why: str) -> TableVerified:
    """The outcome for a table that is not compared."""
    return TableVerified(table, 0, 0, (), 0, 0.0, 0, complete=False, left_out=why)


class VerifyReport(msgspec.Struct, frozen=True):
    """The tables of one pipeline, compared at the source position `position` (JSON); repaired ones again, later."""

    pipeline: str
    position: str
    tables: tuple[TableVerified, ...]

    @property
    def equal(self) -> bool:
        return all(table.equal for table in self.tables)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `--json` and metadata; `equal` of the report and of each table included."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        document["equal"] = self.equal
        for built, table in zip(document["tables"], self.tables, strict=True):
            built["equal"] = table.equal
        return document
