"""A schema event of the change log: what it says, where it stands, and what is remembered of it."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from cdc_pipelines.replication.catalog import MappedTable, Table
from cdc_pipelines.replication.changes.batches import SchemaChange
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.schema_policy import SchemaChanges
from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.replication.stream.messages import TableDefinition
from cdc_pipelines.replication.stream.statement import Statement

Done = Literal["applied", "nothing", "kept", "ignored", "detached", "stopped"]

STATEMENT_CHARS = 2000


@dataclass(frozen=True)
class Rules:
    """The file's policies, and which tables that are made on the source are wanted: their mapping, None for others.

    `column_name` gives the target's name of a source's column, or raises CdcError where it can't have one.
    `charsets_now`: the character sets that a table's text columns have on the source now, by name.
    """

    policies: SchemaChanges = field(default_factory=SchemaChanges)
    new_table: Callable[[Table], MappedTable | None] = lambda table: None
    column_name: Callable[[str], str] = lambda name: name
    charsets_now: Callable[[str], Mapping[str, str]] = lambda table: {}


class Statements:
    """Tells a statement that comes for the first time from one that comes again.

    What one statement of the source did may come as several, at one place: of three renames the place of the first is
    that of the others. So at the last place they are told by their texts as well. `place` and `digests` are what the
    target remembers of the last one that was applied.
    """

    def __init__(self, place: str = "", digests: Iterable[str] = ()) -> None:
        self._place, self._digests = place, set(digests)

    def is_new(self, place: Place, ddl: str, *, repeats: bool) -> bool:
        """`repeats`: what stands at this place was applied before."""
        at, text = place_text(place), digest(ddl)
        if at != self._place:
            if repeats:
                return False
            self._place, self._digests = at, set()
        if text in self._digests:
            return False
        self._digests.add(text)
        return True


@dataclass(frozen=True)
class Event:
    """One schema event: its text, read, and where and when it was made on the source."""

    statement: Statement
    ddl: str
    place: Place
    at_ms: int | None

    @property
    def digest(self) -> str:
        return digest(self.ddl)

    def note(self, table: str, kind: str, done: Done, what: str) -> SchemaChange:
        """What is remembered of it. `what` goes on a sentence that begins with the table's name."""
        statement = redact(" ".join(self.ddl.split()))[:STATEMENT_CHARS]
        return SchemaChange(table, kind, done, what, statement, place_text(self.place), self.digest, self.at_ms)


def place_text(place: Place) -> str:
    """The place for people, and to know it again."""
    return place.gtid or f"{place.file}:{place.pos}"


def digest(ddl: str) -> str:
    """By which a statement is known again at its place."""
    return hashlib.sha256(ddl.encode()).hexdigest()[:16]


def describe(definition: TableDefinition) -> str:
    """The definition as we keep it; equal texts are equal definitions."""
    return msgspec.json.encode(definition).decode()
