"""The run that is being gathered: folded rows, how far they reach, and when they go out to the applier."""

import queue
import threading
import time
from collections.abc import Callable

from cdc_pipelines.replication.changes.batches import (
    Batch,
    Commit,
    Counts,
    Event,
    HistoryBatch,
    Item,
    Key,
    KeyedBatch,
    OrderedBatch,
    Part,
    Row,
    TableItem,
    Truncate,
)
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import ResyncRequiredError
from cdc_pipelines.replication.pipeline import Apply
from cdc_pipelines.replication.position import Place, log_file_number
from cdc_pipelines.replication.stream.histories import Histories

OPS = frozenset("crud")


class Run:
    """Gathers parts and puts them on `queue`; knows the position up to which transactions are complete.

    `boundary` is the log offset after the last complete transaction (or record outside of any). Up to the offset
    `careful_until` something was refused when it was read first.
    """

    def __init__(
        self,
        items: "queue.Queue[Item]",
        closing: threading.Event,
        limits: Apply,
        offset: int,
        position: MySqlPosition,
        pack: Callable[[str, KeyedBatch | HistoryBatch], Batch],
        careful_until: int = 0,
    ) -> None:
        self._queue = items
        self._pack = pack
        self._closing = closing
        self._limits = limits
        self._most_events, self._most_bytes = limits.run_events, limits.run_mb << 20
        self._start = position
        self.applied = position.gtid_set.copy()
        self._place, self._begin = Place(None, position.file, position.pos), position.begin
        self._within = position.within
        self._careful_until = careful_until
        self.careful = offset < careful_until
        """Whether something in this stretch was refused: each transaction is a run of its own then, with its events."""
        self._part = self._new_part()
        self._table = ""
        self._batch: KeyedBatch | HistoryBatch | OrderedBatch = KeyedBatch()
        self._histories = Histories()
        self._counts = Counts()
        self.events = 0
        self.whole = True
        """Whether all that was gathered belongs to complete transactions."""
        self._moved = False
        self._transactions = 0
        self._commit_ms: int | None = None
        self._commits_ms: list[int] = []
        self._counted = 0  # events of transactions that are complete
        self.boundary = offset
        self._sent = offset
        self._sent_at = time.monotonic()
        self._handed = False  # whether the applier has a run open

    def repeats(self, place: Place) -> bool:
        """Level 1: whether the transaction at `place` was applied before."""
        if place.gtid:
            return place.gtid in self.applied
        return MySqlPosition(self._place.file, self._place.pos).covers(place)

    def require_reached(self, place: Place) -> None:
        """A connector has taken its schema's snapshot at `place`, from where it reads on: nothing may lie in between.

        A hand-over lets it begin where the target is, or before. One that has lost its offsets begins at "now".
        """
        furthest = max(
            (log_file_number(self._place.file), self._place.pos), (log_file_number(self._start.file), self._start.pos)
        )
        if (log_file_number(place.file), place.pos) > furthest:
            raise ResyncRequiredError(
                f"the connector began anew at {place.file}:{place.pos} of the source's log, and the change log before "
                f"that reaches to {self._place.file}:{self._place.pos} only: its offsets were lost or changed by hand, "
                "and what was written in between is missing",
                "run `cdc start NAME --force-resync`.",
            )

    def add(
        self, codec: RowCodec, op: str, key: Key | None, before: Row | None, after: Row | None, size: int,
        at_ms: int | None,
    ) -> None:
        """Fold one row event in, made at `at_ms`; `key` is None for a table without one."""
        part = self._part
        if codec.name != self._table:
            self._turn_to(codec)
        batch, counts = self._batch, self._counts
        if isinstance(batch, KeyedBatch):
            images = batch.images
            if batch.fresh and (op not in ("c", "r") or key in images):
                batch.fresh = False
            images[key] = after  # type: ignore[index]
        elif isinstance(batch, HistoryBatch):
            self._histories.add(batch, key or (), after, at_ms)
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

    def pass_by(self) -> None:
        """A change of rows that the target is not to have."""
        self.whole = False

    def skip(self, table: str) -> None:
        """A change of a table that stands apart: counted, and no more."""
        self._part.counts.setdefault(table, Counts()).skipped += 1
        self.whole = False

    def note(self, table: str, event: Event) -> None:
        """Keep the event that is folded in next; only where `careful`."""
        origins = self._part.origins
        assert origins is not None
        if event.key is None:
            origins.setdefault(table, []).append(event)  # type: ignore[union-attr]
        else:
            origins.setdefault(table, {})[event.key] = event  # type: ignore[call-overload]

    def _new_part(self) -> Part:
        return Part(origins={} if self.careful else None)

    def _turn_to(self, codec: RowCodec) -> None:
        """The next rows are of this table."""
        part = self._part
        batch = part.tables.setdefault(codec.name, codec.batch())
        assert isinstance(batch, KeyedBatch | HistoryBatch | OrderedBatch)
        self._table, self._batch = codec.name, batch
        self._counts = part.counts.setdefault(codec.name, Counts())

    def change(self, item: Truncate | TableItem) -> None:
        """A change that stands by itself between the parts before and after it."""
        self.whole = False
        self.flush_part()
        self.put(item)
        if isinstance(item, Truncate):
            self._part.counts[item.table] = Counts(truncates=1)
        self.events += 1

    def complete(
        self, gtid: str | None, place: Place | None, commit_ms: int | None, next_offset: int, *, repeated: bool,
        begin: int = 0, within: str = "",
    ) -> None:
        """A transaction is whole: the run may end here, and does where it is large enough.

        `place` is of its last row, `begin` the offset of its beginning in the same file, where that is known.
        `within`, in place of `gtid`: what was read is whole, but more of that transaction may follow.
        """
        self.boundary = next_offset
        self._histories.complete(commit_ms)
        self.whole = self._moved = True
        if gtid:
            self.applied.add(gtid)
        if not repeated:
            if place is not None and place.file:
                # Never back to that of a repeated one: the next ones would pass for new.
                self._place, self._begin, self._within = place, begin, within
            self._transactions += 1
            self._commit_ms = commit_ms or self._commit_ms
            if commit_ms and self.events > self._counted:  # of empty ones a run may hold any number
                self._commits_ms.append(commit_ms)
        self._counted = self.events
        if self.events >= self._most_events or self._part.size >= self._most_bytes or (self.careful and self.events):
            self.send()
        if self.careful and next_offset >= self._careful_until:
            self.careful = False
            self.flush_part()
            self._part, self._table = self._new_part(), ""

    def pause(self, *, eager: bool) -> None:
        """All records that were there have been read, and no transaction stands open.

        Send what is whole, unless the applier is busy anyway; mere progress is sent now and then, or when `eager`.
        What the applier was only to learn is no mere progress: it waits in a transaction on the target.
        """
        if self.boundary == self._sent:
            return
        idle = self._transactions == 0 and self.events == 0 and not self._handed
        due = eager or time.monotonic() - self._sent_at >= self._limits.idle_commit_seconds
        if due or (not idle and self._queue.empty()):
            self.send()

    def send_early(self) -> None:
        """What is whole need not wait for a transaction that begins and may be long, unless the applier is busy."""
        if self.events and self._queue.empty():
            self.send()

    def flush_part(self) -> None:
        part = self._part
        if part.events or part.counts:
            self._histories.hand_over()
            for table, batch in part.tables.items():
                if isinstance(batch, KeyedBatch | HistoryBatch) and part.origins is None:
                    part.tables[table] = self._pack(table, batch)
            self.put(part)
            self._part, self._table = self._new_part(), ""

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
            begin=0 if self._start.gtids else self._begin,
            within=self._within,
        )
        self.put(
            Commit(
                self.boundary, position.to_json(), self._commit_ms, self._transactions, self.events, self._commits_ms
            )
        )
        self.events = self._transactions = self._counted = 0
        self._commits_ms = []
        self._sent = self.boundary
        self._sent_at = time.monotonic()
        self._handed = False

    def put(self, item: Item) -> None:
        self._handed = True
        while not self._closing.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue
