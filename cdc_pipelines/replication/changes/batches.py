"""What the reader of the change log hands to the applier: folded changes, in the source's commit order."""

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.changes.conversions import Question
from cdc_pipelines.replication.position import Place

Key = tuple[Any, ...]
Row = msgspec.Struct

SMALL = 50
"""Rows of one table up to which statements are quicker than COPY into a stage (measured)."""


@dataclass(slots=True)
class Counts:
    """Events per kind, as they arrived (not as they were folded); `skipped` are those of a table that stands apart."""

    inserts: int = 0
    updates: int = 0
    deletes: int = 0
    truncates: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        return self.inserts + self.updates + self.deletes + self.truncates + self.skipped


@dataclass(slots=True)
class KeyedBatch:
    """The last image per key: a row to be there (one that is marked as deleted, maybe), or None for a key to be gone.

    `fresh` holds as long as every key was first seen as an insert: then all rows are likely new to the target.
    """

    images: dict[Key, Row | None] = field(default_factory=dict)
    fresh: bool = True


@dataclass(slots=True)
class CopyBatch:
    """A large KeyedBatch as PostgreSQL's COPY text: the keys to be gone, the rows to be there."""

    gone: bytes
    rows: bytes
    fresh: bool


@dataclass(slots=True)
class HistoryBatch:
    """The versions per key, in order: (number of the transaction, the row that it left there; None: it left none).

    A transaction has one version of a key at most: the last. `times` are those of the transactions, in milliseconds
    since 1970. `goes_on` is the transaction, if there is one, of which more changes come in a later part; `went_before`
    the one of which some came in an earlier part.
    """

    versions: dict[Key, list[tuple[int, Row | None]]] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    goes_on: int | None = None
    went_before: int | None = None

    def add(self, key: Key, transaction: int, row: Row | None) -> None:
        found = self.versions.setdefault(key, [])
        if found and found[-1][0] == transaction:
            found[-1] = transaction, row
        else:
            found.append((transaction, row))


@dataclass(slots=True)
class HistoryCopyBatch:
    """A large HistoryBatch as PostgreSQL's COPY text (see `versions.copy_batch`)."""

    lines: bytes
    goes_on: int | None
    went_before: int | None


@dataclass(slots=True)
class OrderedBatch:
    """The changes of a table without a key, in order: (row before or None, row after or None)."""

    changes: list[tuple[Row | None, Row | None]] = field(default_factory=list)


@dataclass(slots=True)
class Event:
    """One change as the log has it, kept only where a stretch that was refused is read once more.

    `op` is Debezium's, or `s` for a change of the schema; the images are JSON, `after` of the schema's the statement.
    """

    op: str
    key: Key | None
    before: msgspec.Raw | None
    after: msgspec.Raw | None
    place: Place
    offset: int
    commit_ms: int | None


Origins = dict[Key, Event] | list[Event]
"""The last event of each key of a KeyedBatch or HistoryBatch; of an OrderedBatch all, in order."""


Batch = KeyedBatch | CopyBatch | HistoryBatch | HistoryCopyBatch | OrderedBatch


@dataclass(slots=True)
class Part:
    """Changes to be applied together inside the open target transaction.

    `origins`, per table, is there where what is refused shall be found: the run is one source transaction then, and no
    batch of it is packed.
    """

    tables: dict[str, Batch] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)
    events: int = 0
    size: int = 0  # bytes of the records
    origins: dict[str, Origins] | None = None


@dataclass(slots=True)
class Truncate:
    """The source emptied a table, at `at_ms`. `ranges` are the key ranges (half-open) it reaches here; None: all."""

    table: str
    ranges: list[tuple[Key | None, Key | None]] | None = None
    origin: Event | None = None
    at_ms: int | None = None


class SchemaChange(msgspec.Struct, frozen=True):
    """A schema change as it is remembered. `kind` is a policy's name, or `metadata`; `done` what was done about it.

    `place` is the source's: GTID, else file and offset. `digest` tells statements of one place apart (the three renames
    of a swap). `at_ms` is when it was made there.
    """

    table: str
    kind: str
    done: Literal["applied", "nothing", "kept", "ignored", "detached", "stopped"]
    what: str
    statement: str
    place: str
    digest: str
    at_ms: int | None = None


@dataclass(slots=True)
class Note:
    """Changes to be remembered that ask for nothing else."""

    notes: list[SchemaChange]


@dataclass(slots=True)
class Redefine:
    """From here on a table has the columns and the key of `after`.

    `literals` fills the rows that are there, per new column; `origins` tells for the others what they were called
    before (both by the source's names). A column that is in neither is gone: `drops` says whether the target's goes as
    well. `questions` (with the source's names before): where a row answers yes, the source converted values that the
    log does not tell, and the table is detached instead (`stops`: the pipeline stops).
    """

    before: MappedTable
    after: MappedTable
    notes: list[SchemaChange] = field(default_factory=list)
    literals: dict[str, str | None] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    questions: list[tuple[str, Question]] = field(default_factory=list)
    drops: bool = False
    origin: Event | None = None


@dataclass(slots=True)
class AddTable:
    """A table was made on the source; all its rows come through the log. `columns` is how the log describes it."""

    table: MappedTable
    columns: str
    notes: list[SchemaChange]


@dataclass(slots=True)
class RemoveTable:
    """A table is gone from the source; with `drops` its copy goes as well."""

    table: MappedTable
    drops: bool
    notes: list[SchemaChange]


@dataclass(slots=True)
class RenameTable:
    """A table has another name on the source, and is to have it on the target."""

    before: MappedTable
    after: MappedTable
    notes: list[SchemaChange]


@dataclass(slots=True)
class Detach:
    """From here on the log can't keep the change's table equal: no event of it is handed over until it is copied anew.

    `relearn`: the connector holds wrong columns for it and must learn them from the source again. `stops`: the
    pipeline's file wants the whole pipeline to stop instead.
    """

    note: SchemaChange
    relearn: bool = False
    stops: bool = False

    @property
    def table(self) -> str:
        return self.note.table

    @property
    def reason(self) -> str:
        """`table t …: the statement`"""
        return f"table {self.note.table} {self.note.what}: {self.note.statement[:200]}"


@dataclass(slots=True)
class Learn:
    """Columns of a table as the log described them; kept to tell a later definition's difference."""

    table: str
    columns: str


@dataclass(slots=True)
class Commit:
    """The end of a run at the end of a source transaction. `commits_ms`: of those of its transactions that had rows."""

    next_offset: int
    position: str
    commit_ms: int | None
    transactions: int
    events: int
    commits_ms: list[int] = field(default_factory=list)


@dataclass(slots=True)
class AtBarrier:
    """Every transaction up to the wanted position has been handed over; the reader has stopped."""


@dataclass(slots=True)
class Failed:
    """The reader can't go on; nothing after the last Commit may be applied."""

    error: BaseException


TableItem = Redefine | AddTable | RemoveTable | RenameTable | Detach | Note
"""What a schema change hands over, between the parts before and after it."""

Item = Part | Truncate | TableItem | Learn | Commit | AtBarrier | Failed
