"""The applier: turns the items of the log into committed target transactions, each with the offset it reaches."""

import contextlib
import itertools
import logging
from collections.abc import Callable

import msgspec
import psycopg

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres import ddl, schema_log
from cdc_pipelines.replication.databases.postgres.alter import ValuesConvertedError
from cdc_pipelines.replication.databases.postgres.apply import TableApplier
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import (
    ConfigurationError,
    FencedError,
    IntegrityError,
    ResyncRequiredError,
    RetryableError,
    UnsupportedChangeError,
)
from cdc_pipelines.replication.stream import restructure
from cdc_pipelines.replication.stream.batches import (
    AddTable,
    Commit,
    Counts,
    Detach,
    Item,
    Learn,
    Note,
    Part,
    Redefine,
    RemoveTable,
    RenameTable,
    SchemaChange,
    Truncate,
)
from cdc_pipelines.replication.stream.overlap import Overlap, TableOverlap
from cdc_pipelines.replication.stream.rows import RowCodec

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Applier:
    """One pipeline's state on one target connection. A run is open from its first item to its Commit.

    Raises RetryableError where the target went away, FencedError where the epoch is no longer ours, IntegrityError
    where the target refuses a change; nothing of the open run is then committed.
    """

    def __init__(self, conn: psycopg.Connection, pipeline: str, pair: tuple[str, str], log: Log) -> None:
        self.conn, self._log, self._pair = conn, log, pair
        self._state = TargetState(conn, pipeline)
        facts, offset = self._state.load(), self._state.offset()
        if facts is None or offset is None or facts.log_topic is None or offset.position is None:
            raise ConfigurationError(f"the target holds no started pipeline {pipeline}", f"run `cdc start {pipeline}`.")
        self.facts = facts
        self.offset = offset.next_offset
        self.position = MySqlPosition.from_json(offset.position)
        self.events, self.transactions = offset.events, offset.transactions
        self.commit_ms = offset.commit_ms
        self._name, self._numbers = pipeline, itertools.count()
        self._load_tables()
        self.overlap = self._load_overlap(pipeline)
        self.in_run = False
        self._counts: dict[str, Counts] = {}
        self.remapped = False
        """Whether tables were changed since whoever wants to know has set it back."""
        conn.commit()

    def _load_tables(self) -> None:
        self.tables: dict[str, MappedTable] = {t.name: t for t in self._state.mapped_tables()}
        self.known = self._state.log_columns()
        self.statements = schema_log.applied_at_last_place(self.conn, self._name)
        self._appliers = {name: self._table_applier(table) for name, table in self.tables.items()}
        self._unsettled = False

    def _load_overlap(self, pipeline: str) -> Overlap:
        tables: dict[str, TableOverlap] = {}
        for name in self.tables:
            chunks = self._state.chunks(name)
            positions = [MySqlPosition.from_json(c.position) for c in chunks if c.state == "done" and c.position]
            if not chunks or len(positions) < len(chunks):
                raise ConfigurationError(
                    f"table {name}: {len(chunks) - len(positions)} chunk(s) of the initial copy are missing",
                    f"run `cdc start {pipeline}`, which copies them.",
                )
            tables[name] = TableOverlap([(c.lower, c.upper) for c in chunks], positions)
        return Overlap(tables)

    def _table_applier(self, table: MappedTable) -> TableApplier:
        unique = bool(ddl.unique_indexes(self.conn, table))
        return TableApplier(self.conn, RowCodec(table, *self._pair), next(self._numbers), unique=unique)

    def handle(self, item: Item) -> bool:
        """Apply one item. True where it was a Commit: the run is durable, `offset` and `position` have moved."""
        try:
            if not self.in_run:
                self._state.require_epoch(self.facts.epoch)
                self.in_run = True
            match item:
                case Part():
                    self._part(item)
                case Truncate():
                    self._guarded(item.table, lambda: self._truncate(item))
                case Redefine():
                    self._guarded(item.after.name, lambda: self._redefine(item))
                case AddTable() | RemoveTable():
                    self._guarded(item.table.name, lambda: self._come_or_go(item))
                case RenameTable():
                    self._guarded(item.before.name, lambda: self._rename(item))
                case Note():
                    self._remember(item.notes)
                case Detach():
                    self._detach(item)
                case Learn():
                    self._state.learn_columns(item.table, item.columns)
                    self.known[item.table] = item.columns
                    self._unsettled = True
                case Commit():
                    self._commit(item)
                    return True
        except psycopg.OperationalError as error:
            what = "went away" if self.conn.broken else "can't do it now"  # a full disk, for instance
            raise RetryableError(f"the target {what}: {error}", "the consumer will be started again.") from error
        return False

    def abandon(self) -> None:
        """Forget an open run; its changes are read from the log again."""
        if self.in_run:
            with contextlib.suppress(psycopg.Error):  # a session that was lost has nothing to undo
                self.conn.rollback()
                if self._unsettled:
                    self._load_tables()
                    self.conn.commit()
        self.in_run = False
        self._counts = {}

    def _part(self, part: Part) -> None:
        for name, batch in part.tables.items():
            self._guarded(name, lambda n=name, b=batch: self._appliers[n].apply(b))  # type: ignore[misc]
        for name, counts in part.counts.items():
            total = self._counts.setdefault(name, Counts())
            total.inserts += counts.inserts
            total.updates += counts.updates
            total.deletes += counts.deletes
            total.truncates += counts.truncates

    def _guarded(self, table: str, action: Callable[[], None]) -> None:
        """The database's refusals, told with the table and what to do."""
        try:
            action()
        except (FencedError, psycopg.OperationalError):
            raise
        except psycopg.Error as error:
            raise IntegrityError(
                f"table {table}: the target refused a change: {str(error).strip()}",
                "mend the target table (or the mapping), then `cdc start NAME`; the change log keeps what was not "
                "applied.",
            ) from error

    def _truncate(self, item: Truncate) -> None:
        # Not by TRUNCATE: a reader's older snapshot would see the table empty, a state that the source was not in.
        for lower, upper in item.ranges or [(None, None)]:
            ddl.delete_range(self.conn, self.tables[item.table], lower, upper)

    # Schema changes

    def _redefine(self, item: Redefine) -> None:
        try:
            restructure.redefine(self.conn, self._state, item)
        except ValuesConvertedError as reason:
            note = item.notes[-1]
            self._detach(Detach(msgspec.structs.replace(note, done="detached", what=f"{note.what}; {reason}")))
        self._have(item.after)
        self._remember(item.notes)

    def _come_or_go(self, item: AddTable | RemoveTable) -> None:
        if isinstance(item, AddTable):
            restructure.add_table(self.conn, self._state, self._name, item, self.position.to_json())
            self.known[item.table.name] = item.columns
            self._have(item.table)
        else:
            restructure.remove_table(self.conn, self._state, item)
            self._forget(item.table.name)
        self._remember(item.notes)

    def _rename(self, item: RenameTable) -> None:
        restructure.rename_table(self.conn, self._state, self._name, item)
        before, after = item.before.name, item.after.name
        if before in self._counts:
            self._counts[after] = self._counts.pop(before)
        known = self.known.get(before)
        self._forget(before)
        self._have(item.after)
        if known is not None:
            self.known[after] = known
        self._remember(item.notes)

    def _have(self, table: MappedTable) -> None:
        self.tables[table.name] = table
        self._appliers[table.name] = self._table_applier(table)
        self.remapped = self._unsettled = True

    def _forget(self, table: str) -> None:
        for each in (self.tables, self._appliers, self.known, self._counts):
            each.pop(table, None)
        self.remapped = self._unsettled = True

    def _remember(self, notes: list[SchemaChange]) -> None:
        for note in notes:
            schema_log.record(self.conn, self._name, note)
            place, digests = self.statements
            self.statements = (note.place, {*digests, note.digest} if note.place == place else {note.digest})
            self._log.info("table %s %s: %s (%s)", note.table, note.what, note.done, note.statement[:200])

    def _detach(self, item: Detach) -> None:
        """The stream ends before the change, which is remembered all the same."""
        self.abandon()
        self._state.require_epoch(self.facts.epoch)
        self._remember([item.note])
        self.conn.commit()
        if item.stops:
            raise UnsupportedChangeError(
                item.reason,
                "nothing after this change was applied, as schema_changes in the pipeline's file wants it. Change the "
                "policy there, `cdc configure FILE`, and `cdc start NAME`; or copy all tables as they are now: "
                "`cdc start NAME --force-resync`.",
            )
        raise ResyncRequiredError(
            item.reason,
            "nothing after this change was applied. Run `cdc configure FILE` and `cdc start NAME --force-resync` to "
            "copy the tables as they are now.",
        )

    def _commit(self, run: Commit) -> None:
        changed = {t: (c.inserts, c.updates, c.deletes, c.truncates) for t, c in self._counts.items()}
        if changed:
            self._state.count_changes(changed, run.commit_ms)
        self._state.advance_offset(
            self.offset, run.next_offset, run.position, run.commit_ms, run.transactions, run.events
        )
        self.conn.commit()
        self.in_run = self._unsettled = False
        self._counts = {}
        self.offset = run.next_offset
        self.position = MySqlPosition.from_json(run.position)
        self.commit_ms = run.commit_ms or self.commit_ms
        self.events += run.events
        self.transactions += run.transactions
