"""The applier: turns the items of the log into committed target transactions, each with the offset it reaches."""

import contextlib
import logging
from collections.abc import Callable, Sequence

import psycopg

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.apply import TableApplier
from cdc_pipelines.replication.databases.postgres.refusals import is_refusal, reason
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import (
    CdcError,
    ConfigurationError,
    FencedError,
    IntegrityError,
    RetryableError,
)
from cdc_pipelines.replication.stream import poison
from cdc_pipelines.replication.stream.batches import (
    Commit,
    CopyBatch,
    Counts,
    Event,
    Item,
    KeyedBatch,
    Learn,
    OrderedBatch,
    Origins,
    Part,
    Redefine,
    Truncate,
)
from cdc_pipelines.replication.stream.overlap import Overlap, TableOverlap
from cdc_pipelines.replication.stream.refusal import RefusedError, letter
from cdc_pipelines.replication.stream.rows import RowCodec

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Applier:
    """One pipeline's state on one target connection. A run is open from its first item to its Commit.

    `quarantine` holds refusals whose tables stand apart from here on: with the next run that is committed, which does
    not touch them, their events become dead letters.

    Raises RetryableError where the target went away, FencedError where the epoch is no longer ours, RefusedError (an
    IntegrityError) where the target refuses a change; nothing of the open run is then committed.
    """

    def __init__(
        self, conn: psycopg.Connection, pipeline: str, pair: tuple[str, str], log: Log,
        quarantine: Sequence[RefusedError] = (),
    ) -> None:
        self.conn, self._log, self._pair, self._pipeline = conn, log, pair, pipeline
        self._quarantine = list(quarantine)
        self._state = TargetState(conn, pipeline)
        facts, offset = self._state.load(), self._state.offset()
        if facts is None or offset is None or facts.log_topic is None or offset.position is None:
            raise ConfigurationError(f"the target holds no started pipeline {pipeline}", f"run `cdc start {pipeline}`.")
        self.facts = facts
        self.offset = offset.next_offset
        self.position = MySqlPosition.from_json(offset.position)
        self.events, self.transactions = offset.events, offset.transactions
        self.commit_ms = offset.commit_ms
        self._marks = self._state.table_marks()
        self.tables: dict[str, MappedTable] = {t.name: t for t in self._state.mapped_tables()}
        self.known = self._state.log_columns()
        self.detached = {*self._state.detached(), *(refusal.table for refusal in quarantine)}
        """Tables that stand apart: nothing of them is applied."""
        self.overlap = self._load_overlap()
        self.in_run = False
        self._counts: dict[str, Counts] = {}
        self._appliers: dict[str, TableApplier] = {}
        conn.commit()

    def renewed(self, quarantine: Sequence[RefusedError] = ()) -> "Applier":
        """A fresh one in place of this one, whose run was abandoned: it may have changed what this one knows.

        What is to be quarantined and was not committed yet still is. Raises FencedError as `handle` would.
        """
        fresh = Applier(self.conn, self._pipeline, self._pair, self._log, [*self._quarantine, *quarantine])
        if fresh.facts.epoch != self.facts.epoch:
            self._state.require_epoch(self.facts.epoch)
        return fresh

    def is_outdated(self) -> bool:
        """Between runs: whether a lane or a removal changed the tables, while the consumer stood still."""
        outdated = self._state.table_marks() != self._marks
        self.conn.commit()
        return outdated

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

    def _table_applier(self, name: str) -> TableApplier:
        """Made when it is needed first. Raises ConfigurationError where the target table is gone."""
        found = self._appliers.get(name)
        if found is None:
            table, number = self.tables[name], list(self.tables).index(name)
            unique = bool(ddl.unique_indexes(self.conn, table))
            found = TableApplier(self.conn, RowCodec(table, *self._pair), number, unique=unique)
            self._appliers[name] = found
        return found

    def handle(self, item: Item) -> bool:
        """Apply one item. True where it was a Commit: the run is durable, `offset` and `position` have moved."""
        try:
            if not self.in_run:
                self._state.require_epoch(self.facts.epoch)
                self.in_run = True
                self._detach()
            match item:
                case Part():
                    self._part(item)
                case Truncate() if item.table not in self.detached:
                    self._guarded(item.table, lambda: self._truncate(item), item.origin)
                case Redefine() if item.after.name not in self.detached:
                    self._guarded(item.after.name, lambda: self._redefine(item), item.origin)
                case Learn():
                    self._state.learn_columns(item.table, item.columns)
                    self.known[item.table] = item.columns
                case Commit():
                    self._commit(item)
                    return True
        except psycopg.OperationalError as error:
            what = "went away" if self.conn.broken else "can't do it now"  # a full disk, for instance
            raise RetryableError(f"the target {what}: {error}", "the consumer will be started again.") from error
        except psycopg.IntegrityError as error:  # not any table's batch: the run as a whole
            raise IntegrityError(
                f"the target refused a run as it was to be committed: {reason(error)}",
                "a deferred constraint of a target table is violated: drop it, then `cdc start NAME`; the change log "
                "keeps what was not applied.",
            ) from error
        return False

    def abandon(self) -> None:
        """Forget an open run; its changes are read from the log again."""
        if self.in_run:
            with contextlib.suppress(psycopg.Error):  # a session that was lost has nothing to undo
                self.conn.rollback()
            for applier in self._appliers.values():
                applier.undone()
        self.in_run = False
        self._counts = {}

    def _part(self, part: Part) -> None:
        for name, batch in part.tables.items():
            if name in self.detached:  # since the reader handed it over
                continue
            origins = None if part.origins is None else part.origins[name]
            self._guarded(name, lambda n=name, b=batch, o=origins: self._apply(n, b, o), _first(origins))  # type: ignore[misc]
        for name, counts in part.counts.items():
            total = self._counts.setdefault(name, Counts())
            if name in self.detached:
                total.skipped += counts.total
                continue
            total.inserts += counts.inserts
            total.updates += counts.updates
            total.deletes += counts.deletes
            total.truncates += counts.truncates

    def _apply(self, table: str, batch: KeyedBatch | CopyBatch | OrderedBatch, origins: Origins | None) -> None:
        applier = self._table_applier(table)
        if origins is None:
            applier.apply(batch)
            return
        assert not isinstance(batch, CopyBatch)
        found = poison.apply_or_find(self.conn, applier, batch, origins)
        if found is not None:
            event, error = found
            self._guarded(table, lambda: _raise(error), event)

    def _guarded(self, table: str, action: Callable[[], None], origin: Event | None = None) -> None:
        """The target's refusals, told with the table, what to do, and the event if it is known."""
        try:
            action()
        except (FencedError, RetryableError, RefusedError):
            raise
        except CdcError as error:  # a row that is not there, a table that is gone
            raise RefusedError(table, error.message, event=origin, next_step=error.next_step) from error
        except psycopg.Error as error:
            if is_refusal(error):
                details = str(error).strip()
                raise RefusedError(
                    table, reason(error), details=details, sqlstate=error.sqlstate, event=origin
                ) from error
            if isinstance(error, psycopg.OperationalError):
                raise
            raise IntegrityError(
                f"table {table}: the target can't be written to: {reason(error)}",
                "mend that on the target, then `cdc start NAME`; the change log keeps what was not applied.",
            ) from error

    def _detach(self) -> None:
        """Tables that are in quarantine from this run on, with the events that were refused."""
        for refusal in self._quarantine:
            self._state.hold_letter(letter(refusal, self.tables[refusal.table]))
            self._state.detach(
                refusal.table, refusal.reason, "quarantined", position=self.position.to_json(), offset=self.offset
            )

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
        self.tables[item.after.name] = item.after
        self._appliers.pop(item.after.name, None)

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
        for refusal in self._quarantine:
            self._log.error(
                "table %s is in quarantine from here on, the other tables go on: %s; `cdc deadletters list %s` shows "
                "the change", refusal.table, refusal.reason, self._pipeline,
            )
        self.in_run = False
        self._counts, self._quarantine = {}, []
        self.offset = run.next_offset
        self.position = MySqlPosition.from_json(run.position)
        self.commit_ms = run.commit_ms or self.commit_ms
        self.events += run.events
        self.transactions += run.transactions


def _first(origins: Origins | None) -> Event | None:
    """Stands for all where none of them can be applied."""
    if not origins:
        return None
    return next(iter(origins.values() if isinstance(origins, dict) else origins))


def _raise(error: Exception) -> None:
    raise error
