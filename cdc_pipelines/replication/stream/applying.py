"""The applier: turns the items of the log into committed target transactions, each with the offset it reaches."""

import contextlib
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager

import msgspec
import psycopg

from cdc_pipelines.replication.changes.batches import (
    AddTable,
    Batch,
    Commit,
    CopyBatch,
    Detach,
    Event,
    HistoryCopyBatch,
    Item,
    Learn,
    Note,
    Origins,
    Part,
    Redefine,
    RemoveTable,
    RenameTable,
    Truncate,
)
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres import carried
from cdc_pipelines.replication.databases.postgres.alter import ValuesConvertedError
from cdc_pipelines.replication.databases.postgres.refusals import reason
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import (
    ConfigurationError,
    IntegrityError,
    ResyncRequiredError,
    RetryableError,
    UnsupportedChangeError,
)
from cdc_pipelines.replication.stream import poison
from cdc_pipelines.replication.stream.live_tables import LiveTables
from cdc_pipelines.replication.stream.refusal import RefusedError, letter, refusals_told
from cdc_pipelines.replication.stream.tally import Tally

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
        quarantine: Sequence[RefusedError] = (), *, alone: bool = False,
    ) -> None:
        self.conn, self._log, self._pair, self._pipeline = conn, log, pair, pipeline
        self._quarantine, self._alone = list(quarantine), alone
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
        self._tally = Tally()
        self.live = LiveTables(conn, pipeline, pair, log)
        self._load_tables()
        self.overlap = self.live.overlap()
        conn.commit()

    def _load_tables(self) -> None:
        self.live.load(refusal.table for refusal in self._quarantine)

    def renewed(self, quarantine: Sequence[RefusedError] = ()) -> "Applier":
        """A fresh one in place of this one, whose run was abandoned: it may have changed what this one knows.

        What is to be quarantined and was not committed yet still is. Raises FencedError as `handle` would.
        """
        fresh = Applier(
            self.conn, self._pipeline, self._pair, self._log, [*self._quarantine, *quarantine], alone=self._alone
        )
        if fresh.facts.epoch != self.facts.epoch:
            self._state.require_epoch(self.facts.epoch)
        return fresh

    def is_outdated(self) -> bool:
        """Between runs: whether a lane or a removal changed the tables, while the consumer stood still."""
        outdated = self.live.is_outdated()
        self.conn.commit()
        return outdated

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
                case Truncate() if item.table not in self.live.detached:
                    with self._guarded(item.table, item.origin):
                        self.live.truncate(item)
                case Redefine() if item.after.name not in self.live.detached:
                    with self._guarded(item.after.name, item.origin):
                        self._redefine(item)
                case AddTable() | RemoveTable():
                    with self._guarded(item.table.name):
                        self._come_or_go(item)
                case RenameTable():
                    with self._guarded(item.before.name):
                        self._rename(item)
                case Note():
                    self.live.remember(item.notes)
                case Detach():
                    self._leave_behind(item)
                case Learn():
                    self.live.learn(item)
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

    def give_way(self, refusal: RefusedError) -> bool:
        """Where a row was refused by an index or a constraint that we made after the source's: it goes, the row stays.

        The open run is abandoned. False where it is none of ours.
        """
        error = refusal.__cause__
        if not isinstance(error, psycopg.Error):
            return False
        self.abandon()
        with self.conn.transaction():
            self._state.require_epoch(self.facts.epoch)
            found = carried.give_way(self.conn, self._pipeline, error)
        if found is not None:
            self._log.warning(
                "table %s: %s %s of the target is given up, so that the stream goes on: %s", found.table,
                found.kind.replace("_", " "), found.target_name, found.why,
                extra={"table": found.table, "position": self.position.log_place},
            )
        return found is not None

    def abandon(self) -> None:
        """Forget an open run; its changes are read from the log again."""
        if self.in_run:
            with contextlib.suppress(psycopg.Error):  # a session that was lost has nothing to undo
                self.conn.rollback()
            self.live.undone()
            if self.live.unsettled and not self.conn.broken:
                self._load_tables()
                self.conn.commit()
        self.in_run = False
        self._tally = Tally()

    def _part(self, part: Part) -> None:
        for name, batch in part.tables.items():
            if name in self.live.detached:  # since the reader handed it over
                continue
            origins = None if part.origins is None else part.origins[name]
            with self._guarded(name, _first(origins)):
                self._apply(name, batch, origins)
        self._tally.add(part.counts, self.live.detached)

    def _apply(self, table: str, batch: Batch, origins: Origins | None) -> None:
        applier = self.live.applier(table)
        if origins is None:
            applier.apply(batch)
            return
        assert not isinstance(batch, CopyBatch | HistoryCopyBatch)
        found = poison.apply_or_find(self.conn, applier, batch, origins)
        if found is not None:
            event, error = found
            with self._guarded(table, event):
                raise error

    def _guarded(self, table: str, origin: Event | None = None) -> AbstractContextManager[None]:
        return refusals_told(table, origin, lambda: self.live.shown_key(table, origin))

    def _detach(self) -> None:
        """Tables that are in quarantine from this run on, with the events that were refused."""
        for refusal in self._quarantine:
            self._state.hold_letter(letter(refusal, self.live.codec(refusal.table)))
            self._state.detach(
                refusal.table, refusal.reason, "quarantined", position=self.position.to_json(), offset=self.offset
            )

    # Schema changes

    def _redefine(self, item: Redefine) -> None:
        try:
            self.live.redefine(item)
        except ValuesConvertedError as reason:
            note = item.notes[-1]
            self._leave_behind(Detach(msgspec.structs.replace(note, done="detached", what=f"{note.what}; {reason}")))

    def _come_or_go(self, item: AddTable | RemoveTable) -> None:
        self.live.come_or_go(item, self.position.to_json())
        if isinstance(item, RemoveTable):
            self._tally.forget(item.table.name)

    def _rename(self, item: RenameTable) -> None:
        self.live.rename(item)
        self._tally.rename(item.before.name, item.after.name)

    def _leave_behind(self, item: Detach) -> None:
        """The table stands apart from here on, as it was before the change; or the stream ends before it."""
        if not item.stops and not self._alone:
            self._state.detach(
                item.table, item.reason, "changed", position=self.position.to_json(), offset=self.offset,
                relearn=item.relearn,
            )
            self.live.remember([item.note])
            self.live.set_apart(item.table)
            self._log.warning(
                "%s: it is to be copied again; the other tables go on", item.reason,
                extra={"table": item.table, "position": item.note.place},
            )
            return
        self.abandon()
        if not self._alone:
            self._state.require_epoch(self.facts.epoch)
            self.live.remember([item.note])
            self.conn.commit()
        if item.stops:
            raise UnsupportedChangeError(
                item.reason,
                "nothing after this change was applied, as schema_changes in the pipeline's file wants it. Change the "
                "policy there, `cdc configure FILE`, and `cdc start NAME`; or copy all tables as they are now: "
                "`cdc start NAME --force-resync`.",
            )
        raise ResyncRequiredError(item.reason, f"run `cdc resync NAME --table {item.table}`.")

    def _commit(self, run: Commit) -> None:
        self._tally.write(self._state, run.commit_ms)
        self._state.advance_offset(
            self.offset, run.next_offset, run.position, run.commit_ms, run.transactions, run.events
        )
        self.conn.commit()
        for refusal in self._quarantine:
            self._log.error(
                "table %s is in quarantine from here on, the other tables go on: %s; `cdc deadletters list %s` shows "
                "the change", refusal.table, refusal.reason, self._pipeline,
                extra={"table": refusal.table, "position": refusal.log_place},
            )
        self.in_run = self.live.unsettled = False
        self._tally, self._quarantine = Tally(), []
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
