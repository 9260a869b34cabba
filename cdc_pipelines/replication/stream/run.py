"""The run that is being gathered: folded rows, how far they reach, and when they go out to the applier."""

import queue
import threading
import time
from collections.abc import Callable

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.pipeline import Apply
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.stream.batches import (
    Commit,
    CopyBatch,
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
        self,
        items: "queue.Queue[Item]",
        closing: threading.Event,
        limits: Apply,
        offset: int,
        position: MySqlPosition,
        pack: Callable[[str, KeyedBatch], KeyedBatch | CopyBatch],
    ) -> None:
        self._queue = items
        self._pack = pack
        self._closing = closing
        self._limits = limits
        self._most_events, self._most_bytes = limits.run_events, limits.run_mb << 20
        self._start = position
        self.applied = position.gtid_set.copy()
        self._place = Place(None, position.file, position.pos)
        self._part = Part()
        self._table = ""
        self._batch: KeyedBatch | OrderedBatch = KeyedBatch()
        self._counts = Counts()
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
        part = self._part
        if table != self._table:
            self._turn_to(table, keyed=key is not None)
        batch, counts = self._batch, self._counts
        if isinstance(batch, KeyedBatch):
            images = batch.images
            if batch.fresh and (op not in ("c", "r") or key in images):
                batch.fresh = False
            images[key] = after  # type: ignore[index]
        else:
            batch.changes.append((before, after))
        if op == "u":
            counts.updates += 1
        elif op == "d":
            counts.deletes += 1
        else:
            counts.inserts += 1
        self.whole = False
        self.events += 1
        part.events += 1
        part.size += size
        if part.events >= self._most_events or part.size >= self._most_bytes:
            self.flush_part()

    def _turn_to(self, table: str, *, keyed: bool) -> None:
        """The next rows are of this table."""
        part = self._part
        batch = part.tables.setdefault(table, KeyedBatch() if keyed else OrderedBatch())
        assert not isinstance(batch, CopyBatch)
        self._table, self._batch = table, batch
        self._counts = part.counts.setdefault(table, Counts())

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
        if place is not None and place.file and (place.gtid or not repeated):
            # Without GTIDs it alone tells what was applied: it must not go back with a log that does.
            self._place = place
        if not repeated:
            self._transactions += 1
            self._commit_ms = commit_ms or self._commit_ms
        if self.events >= self._most_events or self._part.size >= self._most_bytes:
            self.send()

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
        part = self._part
        if part.events or part.counts:
            for table, batch in part.tables.items():
                if isinstance(batch, KeyedBatch):
                    part.tables[table] = self._pack(table, batch)
            self.put(part)
            self._part, self._table = Part(), ""

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
