"""The consumer: keeps a target equal to the change log of one pipeline, one committed run after the other."""

import logging
import os
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import closing

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from cdc_pipelines.replication import processes, secrets
from cdc_pipelines.replication.connect import ConnectClient
from cdc_pipelines.replication.control.store import ControlStore, Heartbeat, PipelineRecord
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.databases.postgres.connection import brief, connect, take_replica_role
from cdc_pipelines.replication.errors import (
    CdcError,
    ConfigurationError,
    FencedError,
    RetryableError,
    TornLogError,
)
from cdc_pipelines.replication.metrics.measures import Measures
from cdc_pipelines.replication.stream import parking
from cdc_pipelines.replication.stream.applying import Applier
from cdc_pipelines.replication.stream.batches import AtBarrier, Commit, Failed, Item
from cdc_pipelines.replication.stream.lead import session_purpose, take_lead
from cdc_pipelines.replication.stream.log_client import LogClient
from cdc_pipelines.replication.stream.log_topic import LogTopics
from cdc_pipelines.replication.stream.pulse import Pulse, moment
from cdc_pipelines.replication.stream.quarantine import Quarantine
from cdc_pipelines.replication.stream.reader import LogReader
from cdc_pipelines.replication.stream.refusal import RefusedError
from cdc_pipelines.replication.stream.rewind import rewind
from cdc_pipelines.replication.stream.schema_event import Rules
from cdc_pipelines.replication.stream.watch import Watch
from cdc_pipelines.replication.table_mapping import column_names, new_tables

_BARRIER_POLL_S = 0.25

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Consumer:
    """One process's life as the consumer of one pipeline. `run()` returns when `stop` is set, else raises."""

    def __init__(self, record: PipelineRecord, store: ControlStore, log: Log) -> None:
        if record.generation is None or record.consumer_group is None:
            raise ConfigurationError(f"pipeline {record.name} was never started", f"run `cdc start {record.name}`.")
        self._record, self._group, self._log = record, record.consumer_group, log
        self._store = store
        self._pipeline = record.spec
        self._pair = (self._pipeline.source.type, self._pipeline.target.type)
        self._reader: LogReader | None = None
        self._watch: Watch | None = None
        self._stop_at: MySqlPosition | None = None
        self._quarantine = Quarantine(self._pipeline.apply.quarantine)
        self._barrier_polled = 0.0
        self._caught_up = False
        self._measures = Measures.fresh()
        self.stop = threading.Event()
        self.pulse = Pulse(store, record.name, self._group, self._look)

    def run(self) -> None:
        """Raises CdcError in one of its kinds; nothing that was not committed is lost."""
        name = self._record.name
        self.pulse.start()
        with connect(self._pipeline.target, purpose=session_purpose(name, self.pulse.beat.host)) as conn:
            try:
                self._lead(conn)
                parking.clear(conn, name)  # of a consumer before this one: its requester must ask again
                self._applier = Applier(conn, name, self._pair, self._log)
                if self._applier.facts.generation != self._record.generation:
                    raise FencedError(
                        f"the target is at generation {self._applier.facts.generation} of {name}, this consumer "
                        f"belongs to {self._record.generation}"
                    )
                self._watch = Watch(self._pipeline, self._applier.facts, lambda: self._applier.position, self._log)
                self._watch.start()
                self._open_log()
                self._log.info("consumer of %s streams from offset %d", name, self._applier.offset)
                self.pulse.now("streaming")
                self._loop()
            except TornLogError as error:
                self._close_log()
                self._read_again(conn, error)
            finally:
                if self._watch is not None:
                    self._watch.close()
                self._close_log()
                if not conn.closed:
                    conn.rollback()

    def _lead(self, conn: psycopg.Connection) -> None:
        """One consumer at a time, on whatever host."""
        take_lead(conn, self._record.name, holds=lambda: self.pulse.holds, stop=self.stop, log=self._log)
        # Rows and offset commit together: what a crash of the target may lose is read from the log again.
        conn.execute("set synchronous_commit = off")
        conn.commit()
        take_replica_role(conn)
        conn.commit()

    # The log

    def _open_log(self, stop_at: MySqlPosition | None = None) -> None:
        applier, self._stop_at = self._applier, stop_at
        topic = applier.facts.log_topic or ""
        topics = LogTopics(self._pipeline)
        topics.require_same(topic, applier.facts.log_topic_id)
        topics.require_offset(topic, applier.offset)
        self._client = LogClient(self._pipeline.kafka, topic, applier.offset, self._group)
        self._reader = LogReader(
            self._client,
            database=self._pipeline.source.database,
            pair=self._pair,
            tables=list(applier.live.mapped.values()),
            known=applier.live.known,
            offset=applier.offset,
            position=applier.position,
            overlap=applier.overlap,
            limits=self._pipeline.apply,
            stop_at=stop_at,
            detached=applier.live.detached,
            careful_until=self._quarantine.careful_until,
            rules=Rules(self._pipeline.schema_changes, new_tables(self._pipeline), column_names(self._pipeline)),
            statements=applier.live.statements,
        )
        self._reader.start()

    def _close_log(self) -> None:
        """End the reader; what it had read ahead is read again by the next one."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
            reader.join(timeout=30)
            self._client.close()
            self._applier.abandon()

    # Running

    def _loop(self) -> None:
        assert self._watch is not None
        while not self.stop.is_set():
            self._watch.raise_alarm()
            self._give_way()
            item = self._next(0.1)
            if item is not None:
                self._handle(item)
            self._tell()
            if not self._applier.in_run and time.monotonic() - self._barrier_polled > _BARRIER_POLL_S:
                self._look_for_barrier()

    def _give_way(self) -> None:
        """To another host that has the pipeline now. One that can't be asked for changes nothing."""
        host = self.pulse.overtaken_by
        if host is not None:
            raise RetryableError(
                f"host {host} runs pipeline {self._record.name} now, as this one did not renew its hold in time",
                "nothing need be done; this consumer ends, and what it had not committed is read again there.",
            )

    def _next(self, wait_s: float) -> Item | None:
        assert self._reader is not None
        try:
            return self._reader.queue.get(timeout=wait_s)
        except queue.Empty:
            return None

    def _handle(self, item: Item) -> None:
        reader = self._reader
        try:
            self._take(item)
        except RefusedError as refusal:
            self._refused(refusal)
        finally:
            if reader is not None:
                reader.queue.task_done()

    def _refused(self, refusal: RefusedError) -> None:
        """Read the run's stretch of the log again, without the refused change's table once that is found."""
        assert self._reader is not None
        applier, fetched = self._applier, self._reader.facts.fetched
        live = len(applier.live.mapped) - len(applier.live.detached)
        pending: Sequence[RefusedError] = ()
        try:
            gave_way = applier.give_way(refusal)
        except psycopg.OperationalError as error:
            raise RetryableError(
                f"{refusal.message}, and what refused it can't be taken away now: {error}",
                "the consumer will be started again.",
            ) from error
        if not gave_way:
            pending = self._quarantine.judge(refusal, live=live, fetched=fetched)
            self._log.warning("%s; reading again from offset %d to set it apart", refusal.message, applier.offset)
        self._close_log()
        self._applier = applier.renewed(pending)
        self._open_log(self._stop_at)

    def _take(self, item: Item) -> None:
        if isinstance(item, Failed):
            self._applier.abandon()
            raise item.error
        if isinstance(item, AtBarrier) or not self._applier.handle(item):
            return
        assert self._reader is not None
        self._reader.applied_offset = self._applier.offset
        beat = self.pulse.beat
        beat.applied_position = self._applier.position.to_json()
        beat.commit_ms = self._applier.commit_ms
        if isinstance(item, Commit) and item.events:
            beat.last_event_at = moment(time.monotonic())
            self._measures.applied(item.events, item.commits_ms, self._watch.clock_ahead_ms if self._watch else None)
        if self._applier.live.remapped:
            self._tell_tables()
        self._tell()

    def _tell_tables(self) -> None:
        """What the target has now, for whoever lists the pipeline's tables. Should this fail, the target knows."""
        try:
            self._store.set_tables(self._record.name, list(self._applier.live.mapped.values()))
            self._applier.live.remapped = False
        except (CdcError, SQLAlchemyError) as error:
            self._log.warning("the tables could not be noted in the control store: %s", secrets.redact(str(error)))

    def _tell(self) -> None:
        """Whoever waits for the start need not wait for the next beat."""
        assert self._reader is not None
        if not self._caught_up and self._reader.facts.read_to_end and self._idle(self._reader):
            self._caught_up = True
            self.pulse.now()

    def _idle(self, reader: LogReader) -> bool:
        """Whether nothing that was read waits to be applied."""
        return not reader.queue.unfinished_tasks and not self._applier.in_run and not reader.gathering

    def _is_done_to(self, offset: int) -> bool:
        """Whether all changes before this offset of the log are applied."""
        reader = self._reader
        assert reader is not None
        read = reader.facts.next_offset  # looked at first: what is read after it may wait
        return self._applier.offset >= offset or (read >= offset and self._idle(reader))

    def _look(self, beat: Heartbeat) -> None:
        """Bring a beat up to date, in its own thread: the applier may be waiting, for a lock on the target."""
        reader = self._reader
        if reader is None:
            return
        # What was read and needs no applying (heartbeats) is no lag, though it is stored only now and then: a reader
        # that has just begun, behind a comparison, reads it once more.
        read = reader.facts.next_offset  # looked at first: what is read after it may wait
        beat.log_offset = max(self._applier.offset, read if self._idle(reader) else 0, beat.log_offset or 0)
        beat.log_end = reader.facts.log_end or beat.log_end
        beat.events_total, beat.transactions_total = self._applier.events, self._applier.transactions
        beat.last_heartbeat_event_at = moment(reader.facts.last_record_at) or beat.last_heartbeat_event_at
        beat.measures = self._measures.to_json()
        beat.message = f"Kafka: {reader.facts.error}" if reader.facts.error else ""

    def _read_again(self, conn: psycopg.Connection, error: TornLogError) -> None:
        """What the log misses is read from the source once more; raises RetryableError then, for a new beginning."""
        self._log.warning("%s; it is read from the source again", error.message)
        conn.rollback()
        name, pipeline = self._record.name, self._pipeline
        with self._store.lease(name, f"{processes.host()}:{os.getpid()}", "rewind"), \
                closing(MySqlSource(pipeline.source)) as source:
            end = rewind(
                pipeline, conn, self._applier.facts, client=ConnectClient(secrets.resolve(pipeline.connect.url)),
                topics=LogTopics(pipeline), source=source, log=self._log,
            )
        raise RetryableError(
            f"{error.message}; the connector went back to before it, and the consumer goes on at offset {end}",
            "nothing need be done.",
        ) from error

    # Barriers

    def _look_for_barrier(self) -> None:
        self._barrier_polled = time.monotonic()
        conn, name = self._applier.conn, self._record.name
        try:
            barrier = parking.current(conn, name)
            conn.commit()
            if barrier is None:
                return
            if barrier.expired:
                parking.clear(conn, name, barrier.id)
            elif barrier.state == "requested":
                self._park(conn, barrier.id)
        except psycopg.OperationalError as error:
            raise RetryableError(
                f"the target went away: {brief(error)}", "the consumer will be started again."
            ) from error

    def _park(self, conn: psycopg.Connection, barrier_id: str) -> None:
        """Stand still, go exactly to the wanted position, stand still again, go on."""
        name = self._record.name
        self._close_log()
        self.pulse.now("barrier")
        if parking.move(conn, name, barrier_id, "requested", "parked"):
            go = parking.wait_for(conn, name, barrier_id, "go", self.stop)
            if go is not None and go.position is not None:
                position = MySqlPosition.from_json(go.position)
                self._open_log(stop_at=position)
                arrived = self._go_to(conn, barrier_id, position)
                self._close_log()
                if arrived and parking.move(conn, name, barrier_id, "go", "reached"):
                    parking.wait_for(conn, name, barrier_id, "released", self.stop)
        parking.clear(conn, name, barrier_id)
        if self._applier.is_outdated():
            self._applier = self._applier.renewed()
        if not self.stop.is_set():
            self._open_log()
        self.pulse.now("streaming")

    def _go_to(self, conn: psycopg.Connection, barrier_id: str, position: MySqlPosition) -> bool:
        """Apply up to the barrier. False where its requester gave up, or this process is to stop.

        On an idle source all may be applied already; nothing that comes later will say so for most of a minute.
        """
        while not self.stop.is_set():
            if not self._applier.in_run and self._applier.position.includes(position):
                return True
            item = self._next(0.02)
            if isinstance(item, AtBarrier):
                return True
            if item is not None:
                self._handle(item)
            elif not self._applier.in_run:
                seen = parking.current(conn, self._record.name)
                conn.commit()
                if seen is None or seen.id != barrier_id or seen.expired:
                    return False
                if seen.end_offset is not None and self._is_done_to(seen.end_offset):
                    return True
        return False
