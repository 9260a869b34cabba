"""The applier: turns the items of the log into committed target transactions, each with the offset it reaches."""

import contextlib
import logging
from collections.abc import Callable

import psycopg

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.apply import TableApplier
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError, FencedError, IntegrityError, RetryableError
from cdc_pipelines.replication.stream.batches import Commit, Counts, Item, Learn, Part, Redefine, Truncate
from cdc_pipelines.replication.stream.overlap import Overlap, TableOverlap
from cdc_pipelines.replication.stream.rows import RowCodec

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Applier:
    """One pipeline's state on one target connection. A run is open from its first item to its Commit.

    Raises RetryableError where the target went away, FencedError where the epoch is no longer ours, IntegrityError
    where the target refuses a change; nothing of the open run is then committed.
    """

    def __init__(self, conn: psycopg.Connection, pipeline: str, pair: tuple[str, str], log: Log) -> None:
        self.conn, self._log, self._pair, self._pipeline = conn, log, pair, pipeline
        self._state = TargetState(conn, pipeline)
        facts, offset = self._state.load(), self._state.offset()
        if facts is None or offset is None or facts.log_topic is None or offset.position is None:
            raise ConfigurationError(f"the target holds no started pipeline {pipeline}", f"run `cdc start {pipeline}`.")
        self.facts = facts
        self.offset = offset.next_offset
        self.position = MySqlPosition.from_json(offset.position)
        self.events, self.transactions = offset.events, offset.transactions
        self.commit_ms = offset.commit_ms
        self.in_run = False
        self._counts: dict[str, Counts] = {}
        self._load_tables()
        conn.commit()

    def _load_tables(self) -> None:
        self._marks = self._state.table_marks()
        self.tables: dict[str, MappedTable] = {t.name: t for t in self._state.mapped_tables()}
        self.known = self._state.log_columns()
        self.detached = set(self._state.detached())
        """Tables that stand apart: nothing of them is applied."""
        self.overlap = self._load_overlap()
        self._appliers = {
            name: self._table_applier(table, n)
            for n, (name, table) in enumerate(self.tables.items())
            if name not in self.detached
        }

    def look_at_tables(self) -> None:
        """Between runs: take over what a lane changed, or a removal, while the consumer stood still."""
        if self._state.table_marks() != self._marks:
            self._load_tables()
        self.conn.commit()

    def _load_overlap(self) -> Overlap:
        tables: dict[str, TableOverlap] = {}
        for name in self.tables.keys() - self.detached:
            chunks = self._state.chunks(name)
            positions = [MySqlPosition.from_json(c.position) for c in chunks if c.state == "done" and c.position]
            if not chunks or len(positions) < len(chunks):
                raise ConfigurationError(
                    f"table {name}: {len(chunks) - len(positions)} chunk(s) of the initial copy are missing",
                    f"run `cdc start {self._pipeline}`, which copies them.",
                )
            tables[name] = TableOverlap([(c.lower, c.upper) for c in chunks], positions)
        return Overlap(tables)

    def _table_applier(self, table: MappedTable, number: int) -> TableApplier:
        unique = bool(ddl.unique_indexes(self.conn, table))
        return TableApplier(self.conn, RowCodec(table, *self._pair), number, unique=unique)

    def handle(self, item: Item) -> bool:
        """Apply one item. True where it was a Commit: the run is durable, `offset` and `position` have moved."""
        try:
            if not self.in_run:
                self._state.require_epoch(self.facts.epoch)
                self.in_run = True
            match item:
                case Part():
                    self._part(item)
                case Truncate() if item.table not in self.detached:
                    self._guarded(item.table, lambda: self._truncate(item))
                case Redefine() if item.after.name not in self.detached:
                    self._guarded(item.after.name, lambda: self._redefine(item))
                case Learn():
                    self._state.learn_columns(item.table, item.columns)
                    self.known[item.table] = item.columns
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
        self.in_run = False
        self._counts = {}

    def _part(self, part: Part) -> None:
        for name, batch in part.tables.items():
            if name in self.detached:  # since the reader handed it over
                continue
            self._guarded(name, lambda n=name, b=batch: self._appliers[n].apply(b))  # type: ignore[misc]
        for name, counts in part.counts.items():
            total = self._counts.setdefault(name, Counts())
            if name in self.detached:
                total.skipped += counts.total
                continue
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

    def _redefine(self, item: Redefine) -> None:
        known = {c.source.name for c in item.before.columns}
        for column in item.after.columns:
            if column.source.name not in known:
                ddl.add_column(self.conn, item.before, column, item.literals[column.source.name])
                self._log.info("table %s: added column %s %s", item.after.name, column.target_name, column.target_type)
        self._state.save_mapping(item.after)
        number = list(self.tables).index(item.after.name)
        self.tables[item.after.name] = item.after
        self._appliers[item.after.name] = self._table_applier(item.after, number)

    def _commit(self, run: Commit) -> None:
        changed = {
            t: (c.inserts, c.updates, c.deletes, c.truncates) for t, c in self._counts.items() if c.total > c.skipped
        }
        if changed:
            self._state.count_changes(changed, run.commit_ms)
        skipped = {t: c.skipped for t, c in self._counts.items() if c.skipped}
        if skipped:
            self._state.count_skipped(skipped)
        self._state.advance_offset(
            self.offset, run.next_offset, run.position, run.commit_ms, run.transactions, run.events
        )
        self.conn.commit()
        self.in_run = False
        self._counts = {}
        self.offset = run.next_offset
        self.position = MySqlPosition.from_json(run.position)
        self.commit_ms = run.commit_ms or self.commit_ms
        self.events += run.events
        self.transactions += run.transactions
