"""The run that is being gathered: folded rows, how far they reach, and when they go out to the applier."""

import queue
import threading
import time

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.pipeline import Apply
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.stream.batches import (
    Commit,
    Counts,
    Item,
    Key,
    KeyedBatch,
    OrderedBatch,
    Part,
    Redefine,
    Row,
    Truncate,
)

OPS = frozenset("crud")


class Run:
    """Gathers parts and puts them on `queue`; knows the position up to which transactions are complete.

    `boundary` is the log offset after the last complete transaction (or record outside of any).
    """

    def __init__(
        self, items: "queue.Queue[Item]", closing: threading.Event, limits: Apply, offset: int, position: MySqlPosition
    ) -> None:
        self._queue = items
        self._closing = closing
        self._limits = limits
        self._start = position
        self.applied = position.gtid_set.copy()
        self._place = Place(None, position.file, position.pos)
        self._part = Part()
        self.events = 0
        self.whole = True
        """Whether all that was gathered belongs to complete transactions."""
        self._moved = False
        self._transactions = 0
        self._commit_ms: int | None = None
        self.boundary = offset
        self._sent = offset
        self._sent_at = time.monotonic()

    def repeats(self, place: Place) -> bool:
        """Level 1: whether the transaction at `place` was applied before."""
        if place.gtid:
            return place.gtid in self.applied
        return MySqlPosition(self._place.file, self._place.pos).covers(place)

    def add(self, table: str, op: str, key: Key | None, before: Row | None, after: Row | None, size: int) -> None:
        """Fold one row event in; `key` is None for a table without one."""
        self.whole = False
        part = self._part
        batch = part.tables.get(table)
        if batch is None:
            batch = part.tables[table] = KeyedBatch() if key is not None else OrderedBatch()
        if isinstance(batch, KeyedBatch):
            assert key is not None
            if op not in ("c", "r") or key in batch.images:
                batch.fresh = False
            batch.images[key] = after
        else:
            batch.changes.append((before, after))
        counts = part.counts.get(table)
        if counts is None:
            counts = part.counts[table] = Counts()
        if op == "u":
            counts.updates += 1
        elif op == "d":
            counts.deletes += 1
        else:
            counts.inserts += 1
        part.events += 1
        part.size += size
        self.events += 1
        if self._full():
            self.flush_part()

    def change(self, item: Truncate | Redefine) -> None:
        """A change that stands by itself between the parts before and after it."""
        self.whole = False
        self.flush_part()
        self.put(item)
        if isinstance(item, Truncate):
            self._part.counts[item.table] = Counts(truncates=1)
        self.events += 1

    def complete(
        self, gtid: str | None, place: Place | None, commit_ms: int | None, next_offset: int, *, repeated: bool
    ) -> None:
        """A transaction is whole: the run may end here, and does where it is large enough."""
        self.boundary = next_offset
        self.whole = self._moved = True
        if gtid:
            self.applied.add(gtid)
        if place is not None and place.file:
            self._place = place
        if not repeated:
            self._transactions += 1
            self._commit_ms = commit_ms or self._commit_ms
        if self.events >= self._limits.run_events or self._full():
            self.send()

    def _full(self) -> bool:
        return self._part.events >= self._limits.run_events or self._part.size >= self._limits.run_mb << 20

    def pause(self, *, eager: bool) -> None:
        """All records that were there have been read, and no transaction stands open.

        Send what is whole, unless the applier is busy anyway; mere progress is sent now and then, or when `eager`.
        """
        if self.boundary == self._sent:
            return
        idle = self._transactions == 0 and self.events == 0
        due = eager or time.monotonic() - self._sent_at >= self._limits.idle_commit_seconds
        if due or (not idle and self._queue.empty()):
            self.send()

    def flush_part(self) -> None:
        if self._part.events or self._part.counts:
            self.put(self._part)
            self._part = Part()

    def send(self, *, force: bool = False) -> None:
        """End the run at the boundary."""
        if self.boundary == self._sent and not force:
            return
        self.flush_part()
        position = MySqlPosition(
            self._place.file,
            self._place.pos,
            str(self.applied) if self._start.gtids else "",
            self._start.server,
            self._start.flavor,
            exact=self._start.exact and not self._moved,
        )
        self.put(Commit(self.boundary, position.to_json(), self._commit_ms, self._transactions, self.events))
        self.events = self._transactions = 0
        self._sent = self.boundary
        self._sent_at = time.monotonic()

    def put(self, item: Item) -> None:
        while not self._closing.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue
