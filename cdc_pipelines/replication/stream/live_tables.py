"""The tables of a pipeline as its applier knows them amid a run, and what schema changes make of them."""

import itertools
import logging
from collections.abc import Iterable, Sequence

import psycopg

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.changes.batches import (
    AddTable,
    Event,
    Learn,
    Redefine,
    RemoveTable,
    RenameTable,
    SchemaChange,
    Truncate,
)
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres import ddl, history, schema_log, soft_deletes
from cdc_pipelines.replication.databases.postgres.appliers import AnyApplier, applier_of
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.stream import restructure
from cdc_pipelines.replication.stream.overlap import Overlap, TableOverlap

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class LiveTables:
    """What the target has, with the changes of the open run; `load` takes it from the target again.

    `mapped`: the tables by name; `known`: the log's columns of each; `detached`: those that stand apart, nothing of
    them is applied; `statements`: see `schema_log.applied_at_last_place`. `remapped` says that tables were changed
    since whoever wants to know has set it back. `noted`: how many schema changes were met.
    """

    def __init__(self, conn: psycopg.Connection, pipeline: str, pair: tuple[str, str], log: Log) -> None:
        self._conn, self._pipeline, self._pair, self._log = conn, pipeline, pair, log
        self._state = TargetState(conn, pipeline)
        self._numbers = itertools.count()
        self.remapped = False
        self.noted = 0

    def load(self, quarantined: Iterable[str]) -> None:
        """Also of tables that the next run sets apart."""
        self._marks = self._state.table_marks()
        self.mapped: dict[str, MappedTable] = {t.name: t for t in self._state.mapped_tables()}
        self.known = self._state.log_columns()
        self.detached = {*self._state.detached(), *quarantined}
        self.statements = schema_log.applied_at_last_place(self._conn, self._pipeline)
        self._appliers: dict[str, AnyApplier] = {}
        self.unsettled = False

    def is_outdated(self) -> bool:
        """Whether a lane or a removal changed the tables on the target."""
        return self._state.table_marks() != self._marks

    def undone(self) -> None:
        """The open run was rolled back."""
        for applier in self._appliers.values():
            applier.undone()

    def overlap(self) -> Overlap:
        """Where the initial copy of each table ends. Raises ConfigurationError where one is not complete."""
        tables: dict[str, TableOverlap] = {}
        for name in self.mapped.keys() - self.detached:
            chunks = self._state.chunks(name)
            positions = [MySqlPosition.from_json(c.position) for c in chunks if c.state == "done" and c.position]
            if not chunks or len(positions) < len(chunks):
                raise ConfigurationError(
                    f"table {name}: {len(chunks) - len(positions)} chunk(s) of the initial copy are missing",
                    f"run `cdc start {self._pipeline}`, which copies them.",
                )
            tables[name] = TableOverlap([(c.lower, c.upper) for c in chunks], positions)
        return Overlap(tables)

    # Rows

    def applier(self, name: str) -> AnyApplier:
        """Made when it is needed first. Raises ConfigurationError where the target table is gone."""
        found = self._appliers.get(name)
        if found is None:
            unique = self._state.is_to_be_unique(name)
            found = applier_of(self._conn, self.codec(name), next(self._numbers), to_be_unique=unique)
            self._appliers[name] = found
        return found

    def codec(self, name: str) -> RowCodec:
        return RowCodec(self.mapped[name], *self._pair)

    def shown_key(self, name: str, event: Event | None) -> Sequence[object] | None:
        """The event's key as the target may see it; None where it may see it as it is."""
        if event is None or event.key is None or not self.mapped[name].hides_key:
            return None
        return self.codec(name).shown_key(event.key)

    def truncate(self, item: Truncate) -> None:
        """Not by TRUNCATE: a reader's older snapshot would see the table empty, a state that the source was not in."""
        table = self.mapped[item.table]
        for lower, upper in item.ranges or [(None, None)]:
            if table.rows.history:
                history.close_range(self._conn, table, item.at_ms, lower, upper)
            elif table.rows.soft:
                soft_deletes.mark_range(self._conn, table, item.at_ms, lower, upper)
            else:
                ddl.delete_range(self._conn, table, lower, upper)

    # Schema changes

    def redefine(self, item: Redefine) -> None:
        """Raises ValuesConvertedError where the table must be copied anew instead."""
        restructure.redefine(self._conn, self._state, self._pipeline, item)
        self._have(item.after)
        self.remember(item.notes)

    def come_or_go(self, item: AddTable | RemoveTable, position: str) -> None:
        """`position` lies before a new table's first row."""
        if isinstance(item, AddTable):
            restructure.add_table(self._conn, self._state, self._pipeline, item, position)
            self.known[item.table.name] = item.columns
            self._have(item.table)
        else:
            restructure.remove_table(self._conn, self._state, self._pipeline, item)
            self._forget(item.table.name)
        self.remember(item.notes)

    def rename(self, item: RenameTable) -> None:
        restructure.rename_table(self._conn, self._state, self._pipeline, item)
        known = self.known.get(item.before.name)
        self._forget(item.before.name)
        self._have(item.after)
        if known is not None:
            self.known[item.after.name] = known
        self.remember(item.notes)

    def learn(self, item: Learn) -> None:
        self._state.learn_columns(item.table, item.columns)
        self.known[item.table] = item.columns
        self.unsettled = True

    def set_apart(self, table: str) -> None:
        self.detached.add(table)
        self.unsettled = True

    def remember(self, notes: Sequence[SchemaChange]) -> None:
        """What was met, and what was done about it."""
        for note in notes:
            self.noted += 1
            schema_log.record(self._conn, self._pipeline, note)
            place, digests = self.statements
            self.statements = (note.place, {*digests, note.digest} if note.place == place else {note.digest})
            self._log.info(
                "table %s %s: %s (%s)", note.table, note.what, note.done, note.statement[:200],
                extra={"table": note.table, "position": note.place},
            )

    def _have(self, table: MappedTable) -> None:
        self.mapped[table.name] = table
        self._appliers.pop(table.name, None)
        self.remapped = self.unsettled = True

    def _forget(self, table: str) -> None:
        for each in (self.mapped, self._appliers, self.known):
            each.pop(table, None)
        self.remapped = self.unsettled = True
