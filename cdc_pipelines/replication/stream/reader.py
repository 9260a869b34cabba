"""Reads the change log and folds it into parts for the applier, in a thread of its own.

Decoding the next run overlaps with the database's work on the last one. The reader alone decides where a run ends:
always at the end of a source transaction; one that is larger than the memory bound goes out in several parts,
which the applier puts into one target transaction.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.changes import versions
from cdc_pipelines.replication.changes.batches import Batch, Failed, HistoryBatch, Item, KeyedBatch
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.pipeline import Apply
from cdc_pipelines.replication.stream.definitions import Definitions
from cdc_pipelines.replication.stream.intake import Intake
from cdc_pipelines.replication.stream.log_client import LogClient
from cdc_pipelines.replication.stream.overlap import Overlap
from cdc_pipelines.replication.stream.run import Run
from cdc_pipelines.replication.stream.schema_event import Rules, Statements

_PUBLISH_EVERY_S = 1.0


@dataclass
class ReaderFacts:
    """What the reader last saw; read by the heartbeat."""

    last_record_at: float = 0.0  # monotonic seconds
    next_offset: int = 0
    fetched: int = 0  # the offset behind all that was ever looked at
    read_to_end: bool = False  # at least once
    log_end: int | None = None
    error: str = ""


class LogReader(threading.Thread):
    """Turns the log from `offset` on into items on `queue`, until closed, failed, or at a barrier.

    That is the position `stop_at`, or the log's offset `end`, where another reader ended a run: no transaction lies
    across it. Of the tables in `detached` changes are counted, not handed over. Up to the offset `careful_until` each
    transaction is a run of its own, whose parts hold their events: for an applier that looks for what the target
    refuses.
    """

    def __init__(
        self,
        client: LogClient,
        *,
        database: str,
        pair: tuple[str, str],
        tables: list[MappedTable],
        known: dict[str, str],
        offset: int,
        position: MySqlPosition,
        overlap: Overlap,
        limits: Apply,
        stop_at: MySqlPosition | None = None,
        end: int | None = None,
        detached: Collection[str] = (),
        careful_until: int = 0,
        rules: Rules | None = None,
        statements: tuple[str, set[str]] = ("", set()),
    ) -> None:
        """`statements`: the place of the last schema change that was applied, and the digests of those there."""
        super().__init__(name="log-reader", daemon=True)
        self.queue: queue.Queue[Item] = queue.Queue(maxsize=3)
        self.facts = ReaderFacts(next_offset=offset)
        self._client = client
        self._tables = Definitions(database, pair, tables, known, overlap, rules or Rules(), detached)
        self._end = end
        self._closing = threading.Event()
        self.applied_offset = offset
        """How far the applier is; the reader publishes it as the group's, now and then."""
        self._published = (offset, time.monotonic())
        self._run = Run(self.queue, self._closing, limits, offset, position, self._pack, careful_until)
        self._intake = Intake(self._run, self._tables, overlap, position, stop_at, Statements(*statements))

    def close(self) -> None:
        self._closing.set()

    @property
    def gathering(self) -> bool:
        """Whether changes have been read that are not handed over yet."""
        return self._intake.gathering

    def run(self) -> None:
        intake = self._intake
        try:
            while not self._is_over():
                records = self._client.read(0.1)
                if records:
                    self.facts.fetched = records[-1].offset() + 1
                for record in records:
                    if self._ends_at(record.offset()):
                        break
                    intake.take(record)
                    if intake.reached:
                        break
                if records:
                    self.facts.last_record_at = time.monotonic()
                    self.facts.next_offset = record.offset() + 1
                self._ends_at(self._client.end or 0)
                self._reach(self._client.end)
                intake.pause()
                self._exchange()
        except Exception as error:  # noqa: BLE001 (handed to the applier, which raises it)
            with contextlib.suppress(Exception):  # where the error was in sending
                if self._run.whole:
                    self._run.send()  # what came before is right and need not wait
            self._run.put(Failed(error))

    def _reach(self, end: int | None) -> None:
        """The log was read to its end: between transactions, all before it is done with."""
        if end is not None and not self._is_over():
            self.facts.read_to_end = True
            self.facts.next_offset = max(self.facts.next_offset, end)
            self._intake.reach(end)

    def _ends_at(self, offset: int) -> bool:
        """Whether `offset` is the end that was asked for, or lies behind it; then everything before it is sent."""
        if self._end is None or self._intake.reached or offset < self._end:
            return False
        self._intake.end_at(self._end)
        return True

    def _is_over(self) -> bool:
        return self._intake.reached or self._closing.is_set()

    def _exchange(self) -> None:
        """What the applier's thread wants of the client, done by the only thread that may use it."""
        self.facts.log_end = self._client.end_offset()
        self.facts.error = self._client.last_error
        offset, at = self._published
        if self.applied_offset != offset and time.monotonic() - at > _PUBLISH_EVERY_S:
            self._published = (self.applied_offset, time.monotonic())
            self._client.publish(self.applied_offset)

    def _pack(self, table: str, batch: KeyedBatch | HistoryBatch) -> Batch:
        """In this thread, while the applier's waits for the database with the run before."""
        codec = self._tables.named(table)
        return codec.pack(batch) if isinstance(batch, KeyedBatch) else versions.pack(codec, batch)
