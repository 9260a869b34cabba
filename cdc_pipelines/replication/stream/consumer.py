"""The consumer: keeps a target equal to the change log of one pipeline, one committed run after the other."""

import logging
import queue
import threading
import time
from collections.abc import Callable

import psycopg

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.apply import TableApplier
from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.state import PipelineState, TargetState
from cdc_pipelines.replication.errors import (
    ConfigurationError,
    FencedError,
    IntegrityError,
    ResyncRequiredError,
    RetryableError,
)
from cdc_pipelines.replication.stream import parking
from cdc_pipelines.replication.stream.batches import AtBarrier, Commit, Counts, Failed, Item, Learn, Part, Redefine, Truncate
from cdc_pipelines.replication.stream.log_client import LogClient
from cdc_pipelines.replication.stream.log_topic import LogTopics
from cdc_pipelines.replication.stream.overlap import Overlap, TableOverlap
from cdc_pipelines.replication.stream.pulse import Pulse, moment
from cdc_pipelines.replication.stream.reader import LogReader
from cdc_pipelines.replication.stream.rows import RowCodec

_LEADER_WAIT_S = 30
_BARRIER_POLL_S = 0.25


class Consumer:
    """One process's life as the consumer of one pipeline. `run()` returns when `stop` is set, else raises."""

    def __init__(self, record: PipelineRecord, store: ControlStore, log: logging.Logger) -> None:
        if record.generation is None or record.consumer_group is None:
            raise ConfigurationError(
                f"pipeline {record.name} was never started", f"run `cdc start {record.name}`."
            )
        self.record, self.log = record, log
        self.pipeline = record.spec
        self.stop = threading.Event()
        self.pulse = Pulse(store, record.name, record.consumer_group)
        self._pair = (self.pipeline.source.type, self.pipeline.target.type)
        self._counts: dict[str, Counts] = {}
        self._in_run = False
        self._barrier_polled = 0.0

    def run(self) -> None:
        name = self.record.name
        self.pulse.start()
        self.conn = connect(self.pipeline.target, purpose=f"{name}:consumer")
        try:
            self._lead()
            self._load()
            self._open_log()
            self.log.info("consumer of %s streams from offset %d", name, self._offset)
            self.pulse.now("streaming")
            self._loop()
        finally:
            self._close_log()
            self.conn.close()

    # Beginning

    def _lead(self) -> None:
        """One consumer at a time: an advisory lock on the target, held by this connection."""
        deadline = time.monotonic() + _LEADER_WAIT_S
        key = f"cdc:{self.record.name}"
        while not self.stop.is_set():
            row = self.conn.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", [key]).fetchone()
            self.conn.commit()
            if row is not None and row[0]:
                break
            if time.monotonic() > deadline:
                raise RetryableError(
                    f"another consumer of pipeline {self.record.name} holds the lead on the target",
                    "it will be tried again; `cdc status` shows who beats.",
                )
            time.sleep(0.5)
        # Rows and offset commit together: what a crash of the target may lose is read from the log again.
        self.conn.execute("set synchronous_commit = off")
        try:
            with self.conn.transaction():
                self.conn.execute("set session_replication_role = replica")
        except psycopg.errors.InsufficientPrivilege:
            pass  # preflight refuses targets on which triggers or foreign keys would need it
        self.conn.commit()

    def _load(self) -> None:
        self.state = TargetState(self.conn, self.record.name)
        facts = self.state.load()
        offset = self.state.offset()
        if facts is None or offset is None or facts.log_topic is None:
            raise ConfigurationError(
                f"the target holds no started pipeline {self.record.name}", f"run `cdc start {self.record.name}`."
            )
        if facts.generation != self.record.generation:
            raise FencedError(
                f"the target is at generation {facts.generation} of {self.record.name}, "
                f"this consumer belongs to {self.record.generation}"
            )
        self.facts: PipelineState = facts
        self._offset = offset.next_offset
        self._position = MySqlPosition.from_json(offset.position)
        self._events = offset.events
        self._transactions = offset.transactions
        self._tables: dict[str, MappedTable] = {t.name: t for t in self.state.mapped_tables()}
        self._known = self.state.log_columns()
        self._overlap = self._load_overlap()
        self.conn.commit()
        self._make_appliers()

    def _load_overlap(self) -> Overlap:
        tables: dict[str, TableOverlap] = {}
        for name in self._tables:
            chunks = self.state.chunks(name)
            unfinished = [c.ordinal for c in chunks if c.state != "done" or c.position is None]
            if unfinished or not chunks:
                raise ConfigurationError(
                    f"table {name}: {len(unfinished)} chunk(s) of the initial copy are missing",
                    f"run `cdc start {self.record.name}`, which copies them.",
                )
            tables[name] = TableOverlap(
                [(c.lower, c.upper) for c in chunks],
                [MySqlPosition.from_json(c.position or "") for c in chunks],
            )
        overlap = Overlap(tables)
        # Where the stream stands beyond every chunk already, the question need not be asked again.
        overlap.passed = all(
            self._position.includes(p) and self._position != p for t in tables.values() for p in t.positions
        )
        return overlap

    def _make_appliers(self) -> None:
        self._appliers = {
            table.name: TableApplier(
                self.conn, RowCodec(table, *self._pair), number, unique=bool(ddl.unique_indexes(self.conn, table))
            )
            for number, table in enumerate(self._tables.values())
        }
        self.conn.commit()

    def _open_log(self, stop_at: MySqlPosition | None = None) -> None:
        topic = self.facts.log_topic or ""
        topics = LogTopics(self.pipeline)
        topic_id = topics.topic_id(topic)
        if topic_id is None or (self.facts.log_topic_id and topic_id != self.facts.log_topic_id):
            raise ResyncRequiredError(
                f"change log {topic} was {'deleted' if topic_id is None else 'deleted and made again'}",
                f"run `cdc start {self.record.name} --force-resync`.",
            )
        begin, end = topics.offsets(topic)
        if not begin <= self._offset <= end:
            raise ResyncRequiredError(
                f"change log {topic} holds offsets {begin} to {end}, the target needs {self._offset}",
                f"run `cdc start {self.record.name} --force-resync`.",
            )
        self._client = LogClient(self.pipeline.kafka, topic, self._offset, self.record.consumer_group or "")
        self._reader = LogReader(
            self._client,
            database=self.pipeline.source.database,
            pair=self._pair,
            tables=list(self._tables.values()),
            known=self._known,
            offset=self._offset,
            position=self._position,
            overlap=self._overlap,
            limits=self.pipeline.apply,
            stop_at=stop_at,
        )
        self._reader.start()

    def _close_log(self) -> None:
        reader = getattr(self, "_reader", None)
        if reader is not None:
            reader.close()
            reader.join(timeout=30)
            self._client.close()
            self._in_run = False
            self._counts = {}

    # Running

    def _loop(self) -> None:
        while not self.stop.is_set():
            item = self._next(0.1)
            if item is not None:
                self._handle(item)
            self._tell()
            if not self._in_run and time.monotonic() - self._barrier_polled > _BARRIER_POLL_S:
                self._look_for_barrier()
        if self._in_run:
            self.conn.rollback()

    def _next(self, wait_s: float) -> Item | None:
        try:
            return self._reader.queue.get(timeout=wait_s)
        except queue.Empty:
            return None

    def _handle(self, item: Item) -> None:
        if isinstance(item, Failed):
            self.conn.rollback()
            raise item.error
        if isinstance(item, AtBarrier):
            return
        if not self._in_run:
            self.state.require_epoch(self.facts.epoch)
            self._in_run = True
        match item:
            case Part():
                for name, batch in item.tables.items():
                    self._guarded(name, lambda n=name, b=batch: self._appliers[n].apply(b))
                for name, counts in item.counts.items():
                    total = self._counts.setdefault(name, Counts())
                    for kind in ("inserts", "updates", "deletes", "truncates"):
                        setattr(total, kind, getattr(total, kind) + getattr(counts, kind))
            case Truncate():
                self._guarded(item.table, lambda: self._truncate(item))
            case Redefine():
                self._guarded(item.after.name, lambda: self._redefine(item))
            case Learn():
                self.state.learn_columns(item.table, item.columns)
                self._known[item.table] = item.columns
            case Commit():
                self._commit(item)

    def _guarded(self, table: str, action: Callable[[], None]) -> None:
        """Errors of the database, told with the table and what to do."""
        try:
            action()
        except (psycopg.OperationalError, psycopg.errors.DeadlockDetected) as error:
            raise RetryableError(f"table {table}: {error}", "the consumer will be started again.") from error
        except psycopg.Error as error:
            raise IntegrityError(
                f"table {table}: the target refused a change: {str(error).strip()}",
                "mend the target (or the mapping), then `cdc restart NAME`; nothing was lost, the change log keeps it.",
            ) from error

    def _truncate(self, item: Truncate) -> None:
        table = self._tables[item.table]
        if item.ranges is None:
            ddl.truncate(self.conn, table)
        else:
            for lower, upper in item.ranges:
                ddl.delete_range(self.conn, table, lower, upper)

    def _redefine(self, item: Redefine) -> None:
        known = {c.source.name for c in item.before.columns}
        for column in item.after.columns:
            if column.source.name not in known:
                ddl.add_column(self.conn, item.before, column, item.literals[column.source.name])
                self.log.info("table %s: added column %s %s", item.after.name, column.target_name, column.target_type)
        self.state.save_mapping(item.after)
        self._tables[item.after.name] = item.after
        number = list(self._tables).index(item.after.name)
        unique = bool(ddl.unique_indexes(self.conn, item.after))
        self._appliers[item.after.name] = TableApplier(
            self.conn, RowCodec(item.after, *self._pair), number, unique=unique
        )

    def _commit(self, run: Commit) -> None:
        changed = {
            table: (c.inserts, c.updates, c.deletes, c.truncates) for table, c in self._counts.items()
        }
        if changed:
            self.state.count_changes(changed, run.commit_ms)
        self.state.advance_offset(
            self._offset, run.next_offset, run.position, run.commit_ms, run.transactions, run.events
        )
        try:
            self.conn.commit()
        except psycopg.OperationalError as error:
            raise RetryableError(f"the target did not confirm a commit: {error}", "it will be looked at again.") from error
        self._in_run = False
        self._counts = {}
        self._offset = run.next_offset
        self._position = MySqlPosition.from_json(run.position)
        self._events += run.events
        self._transactions += run.transactions
        self._client.publish(run.next_offset)
        beat = self.pulse.beat
        beat.commit_ms = run.commit_ms or beat.commit_ms
        first = beat.applied_position is None
        beat.applied_position = run.position
        if run.events:
            beat.last_event_at = moment(time.monotonic())
        self._tell()
        if first:
            self.pulse.now()

    def _tell(self) -> None:
        beat, facts = self.pulse.beat, self._reader.facts
        beat.log_offset, beat.log_end = self._offset, self._client.end_offset()
        beat.events_total, beat.transactions_total = self._events, self._transactions
        if facts.last_record_at:
            beat.last_heartbeat_event_at = moment(facts.last_record_at)
        if self._client.last_error:
            beat.message = f"Kafka: {self._client.last_error}"

    # Barriers

    def _look_for_barrier(self) -> None:
        self._barrier_polled = time.monotonic()
        try:
            barrier = parking.current(self.conn, self.record.name)
            self.conn.commit()
        except psycopg.OperationalError as error:
            raise RetryableError(f"the target went away: {error}", "the consumer will be started again.") from error
        if barrier is None:
            return
        if barrier.expired:
            parking.clear(self.conn, self.record.name, barrier.id)
        elif barrier.state == "requested":
            self._park(barrier)

    def _park(self, barrier: parking.Barrier) -> None:
        """Stand still, go exactly to the wanted position, stand still again, go on."""
        name = self.record.name
        self._close_log()
        self.pulse.now("barrier")
        if parking.move(self.conn, name, barrier.id, "requested", "parked"):
            go = parking.wait_for(self.conn, name, barrier.id, "go", self.stop)
            if go is not None and go.position is not None:
                self._open_log(stop_at=MySqlPosition.from_json(go.position))
                arrived = self._go_to(barrier.id)
                self._close_log()
                if arrived and parking.move(self.conn, name, barrier.id, "go", "reached"):
                    parking.wait_for(self.conn, name, barrier.id, "released", self.stop)
        parking.clear(self.conn, name, barrier.id)
        if not self.stop.is_set():
            self._open_log()
        self.pulse.now("streaming")

    def _go_to(self, barrier_id: str) -> bool:
        """Apply up to the barrier. False where its requester gave up, or this process is to stop."""
        while not self.stop.is_set():
            item = self._next(0.02)
            if isinstance(item, AtBarrier):
                return True
            if item is not None:
                self._handle(item)
            elif not self._in_run:
                seen = parking.current(self.conn, self.record.name)
                self.conn.commit()
                if seen is None or seen.id != barrier_id or seen.expired:
                    return False
                if seen.end_offset is not None and self._offset >= seen.end_offset:
                    return True
        if self._in_run:
            self.conn.rollback()
        return False
