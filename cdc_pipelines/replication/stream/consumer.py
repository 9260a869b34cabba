"""The consumer: keeps a target equal to the change log of one pipeline, one committed run after the other."""

import logging
import os
import threading
import time
from contextlib import closing

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from cdc_pipelines.replication import processes, secrets
from cdc_pipelines.replication.changes.batches import Commit
from cdc_pipelines.replication.connect import ConnectClient
from cdc_pipelines.replication.control.store import ControlStore, Heartbeat, PipelineRecord
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.databases.postgres.connection import connect, take_replica_role
from cdc_pipelines.replication.errors import (
    CdcError,
    ConfigurationError,
    FencedError,
    RetryableError,
    TornLogError,
)
from cdc_pipelines.replication.stream import parking
from cdc_pipelines.replication.stream.applying import Applier
from cdc_pipelines.replication.stream.lead import session_purpose, take_lead
from cdc_pipelines.replication.stream.live_tables import LiveTables
from cdc_pipelines.replication.stream.log_topic import LogTopics
from cdc_pipelines.replication.stream.measures import Measures
from cdc_pipelines.replication.stream.pulse import Pulse, moment
from cdc_pipelines.replication.stream.rewind import rewind
from cdc_pipelines.replication.stream.streaming import Stream
from cdc_pipelines.replication.stream.watch import Reached, Watch

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Consumer:
    """One process's life as the consumer of one pipeline. `run()` returns when `stop` is set, else raises."""

    def __init__(self, record: PipelineRecord, store: ControlStore, log: Log) -> None:
        if record.generation is None or record.consumer_group is None:
            raise ConfigurationError(f"pipeline {record.name} was never started", f"run `cdc start {record.name}`.")
        self._record, self._group, self._log = record, record.consumer_group, log
        self._store = store
        self._pipeline = record.spec
        self._stream: Stream | None = None
        self._watch: Watch | None = None
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
                applier = Applier(conn, name, self._pipeline.pair, self._log)
                facts = applier.facts
                if facts.generation != self._record.generation:
                    raise FencedError(
                        f"the target is at generation {facts.generation} of {name}, this consumer belongs to "
                        f"{self._record.generation}"
                    )
                stream = self._stream = Stream(self._pipeline, applier, self._group, self._log, self._committed)
                reached = Reached(
                    position=lambda: stream.applier.position, tables=lambda: list(stream.applier.live.mapped),
                    is_at_end=lambda: stream.is_at_end, schema_changes=lambda: stream.applier.live.noted,
                )
                self._watch = Watch(self._pipeline, facts, reached, self._log)
                self._watch.start()
                stream.open()
                self._log.info(
                    "consumer of %s streams from offset %d", name, stream.applier.offset,
                    extra={"position": self.position},
                )
                self.pulse.now("streaming")
                self._loop(stream, self._watch, parking.Parking(conn, name, stream, self.stop, self.pulse.now))
            except TornLogError as error:
                self._close()
                self._read_again(conn, error)
            finally:
                if self._watch is not None:
                    self._watch.close()
                self._close()
                if not conn.closed:
                    conn.rollback()

    @property
    def position(self) -> str | None:
        """Up to where in the source's log the target has its changes, `file:pos`; None before that is known."""
        return None if self._stream is None else self._stream.applier.position.log_place

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _lead(self, conn: psycopg.Connection) -> None:
        """One consumer at a time, on whatever host."""
        take_lead(conn, self._record.name, holds=lambda: self.pulse.holds, stop=self.stop, log=self._log)
        # Rows and offset commit together: what a crash of the target may lose is read from the log again.
        conn.execute("set synchronous_commit = off")
        conn.commit()
        take_replica_role(conn)
        conn.commit()

    def _loop(self, stream: Stream, watch: Watch, barriers: parking.Parking) -> None:
        while not self.stop.is_set():
            watch.raise_alarm()
            self._give_way()
            item = stream.next(0.1)
            if item is not None:
                stream.handle(item)
            self._tell(stream)
            barriers.look()

    def _give_way(self) -> None:
        """To another host that has the pipeline now. One that can't be asked for changes nothing."""
        host = self.pulse.overtaken_by
        if host is not None:
            raise RetryableError(
                f"host {host} runs pipeline {self._record.name} now, as this one did not renew its hold in time",
                "nothing need be done; this consumer ends, and what it had not committed is read again there.",
            )

    # What others are told

    def _committed(self, run: Commit) -> None:
        stream, beat = self._stream, self.pulse.beat
        assert stream is not None
        beat.applied_position = stream.applier.position.to_json()
        beat.commit_ms = stream.applier.commit_ms
        if run.events:
            beat.last_event_at = moment(time.monotonic())
            self._measures.applied(run.events, run.commits_ms, self._watch.clock_ahead_ms if self._watch else None)
        if stream.applier.live.remapped:
            self._tell_tables(stream.applier.live)

    def _tell_tables(self, live: LiveTables) -> None:
        """What the target has now, for whoever lists the pipeline's tables. Should this fail, the target knows."""
        try:
            self._store.set_tables(self._record.name, list(live.mapped.values()))
            live.remapped = False
        except (CdcError, SQLAlchemyError) as error:
            self._log.warning("the tables could not be noted in the control store: %s", secrets.redact(str(error)))

    def _tell(self, stream: Stream) -> None:
        """Whoever waits for the start need not wait for the next beat."""
        if not self._caught_up and stream.has_caught_up:
            self._caught_up = True
            self.pulse.now()

    def _look(self, beat: Heartbeat) -> None:
        """Bring a beat up to date, in its own thread: the applier may be waiting, for a lock on the target."""
        stream = self._stream
        facts = stream.facts if stream is not None else None
        if stream is None or facts is None:
            return
        # A reader that has just begun, behind a comparison, reads once more what needs no applying.
        beat.log_offset = max(stream.done_to(), beat.log_offset or 0)
        beat.log_end = facts.log_end or beat.log_end
        beat.events_total, beat.transactions_total = stream.applier.events, stream.applier.transactions
        beat.last_heartbeat_event_at = moment(facts.last_record_at) or beat.last_heartbeat_event_at
        beat.measures = self._measures.to_json()
        beat.findings = self._watch.findings.to_json() if self._watch is not None else None
        beat.message = f"Kafka: {facts.error}" if facts.error else ""

    # A log that misses something

    def _read_again(self, conn: psycopg.Connection, error: TornLogError) -> None:
        """What the log misses is read from the source once more; raises RetryableError then, for a new beginning."""
        self._log.warning("%s; it is read from the source again", error.message, extra={"position": self.position})
        conn.rollback()
        assert self._stream is not None
        name, pipeline, facts = self._record.name, self._pipeline, self._stream.applier.facts
        with self._store.lease(name, f"{processes.host()}:{os.getpid()}", "rewind"), \
                closing(MySqlSource(pipeline.source)) as source:
            end = rewind(
                pipeline, conn, facts, client=ConnectClient(secrets.resolve(pipeline.connect.url)),
                topics=LogTopics(pipeline), source=source, log=self._log,
            )
        raise RetryableError(
            f"{error.message}; the connector went back to before it, and the consumer goes on at offset {end}",
            "nothing need be done.",
        ) from error
