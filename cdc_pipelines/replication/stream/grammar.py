"""Transactions of the change log: where one begins, ends, repeats, or is torn.

BEGIN…END is not always there. A group closes at its END, or at the first record of another, unseen id;
END may be sent again after a restart; schema events and truncates may stand alone; heartbeats fall anywhere.

A connector that is made anew begins at what the target has applied, and that may lie before a transaction which its
predecessor had sent in part: that one then waits, while the ones before it come again, until it comes again itself.
"""

from dataclasses import dataclass

from cdc_pipelines.replication.errors import IntegrityError, ResyncRequiredError, TornLogError
from cdc_pipelines.replication.position import Place, log_file_number
from cdc_pipelines.replication.stream.messages import Message, SourceBlock, place_of


@dataclass(slots=True)
class Open:
    """The transaction that is being read."""

    id: str
    repeated: bool  # applied before: every row is dropped
    began: bool
    source: SourceBlock | None = None  # of its last row
    rows: int = 0  # delivered, dropped ones included
    op: str | None = None  # of its last row
    last_order: int = 0
    sent_again: tuple[int, int, str | None] | None = None  # (pos, row, op) of the last row before the log went back
    seen: tuple[str, int, int, str] | None = None  # (file, pos, row, op) of the last row
    commit_ms: int | None = None
    torn_key: bool = False  # a `d` of a key change still waits for its `c`

    @property
    def place(self) -> Place | None:
        """Of its last row."""
        return place_of(self.source) if self.source is not None else None


class Grammar:
    """Follows the log record by record and says what each row is: to be applied, or a repetition.

    `restarts_count` says that the connector numbers the rows of a transaction anew after a restart in its middle
    (Debezium MariaDB 3.5.0 does, MySQL 3.6.1 does not): rows are then told by their place instead.
    """

    def __init__(self, *, restarts_count: bool) -> None:
        self.open: Open | None = None
        self.waiting: Open | None = None
        """A transaction that broke off and will come again, after repeated ones."""
        self._restarts_count = restarts_count

    @property
    def between(self) -> bool:
        """Whether no transaction is read in part."""
        return self.open is None and self.waiting is None

    @property
    def half_read(self) -> Open | None:
        """The transaction of which some rows, and not all, were read."""
        return self.waiting or (self.open if self.open is not None and self.open.rows else None)

    def goes_back_to(self, place: Place) -> bool:
        """Whether `place`, by file and offset, lies before what was read last of a transaction that is not complete."""
        half = self.half_read
        if half is None or half.source is None:
            return False
        return (log_file_number(place.file), place.pos) <= (log_file_number(half.source.file), half.source.pos)

    def begin(self, message: Message, repeated: bool) -> Open | None:
        """A BEGIN record. Returns the transaction that it closes, if one stood open without an END."""
        assert message.id is not None
        if self.open is not None and self.open.id == message.id:
            self.open.last_order = 0 if self._restarts_count else self.open.last_order
            return None
        return self._turn_to(message.id, repeated, began=True)

    def enter(self, group: str, repeated: bool) -> Open | None:
        """The first row of transaction `group` comes. Returns the one that it closes, if it stood open without an END.

        `repeated` says that the transaction was applied before.
        """
        current = self.open
        if current is not None and current.id == group:
            current.repeated = current.repeated or repeated
            return None
        return self._turn_to(group, repeated, began=False)

    def _turn_to(self, group: str, repeated: bool, *, began: bool) -> Open | None:
        """Another transaction than the open one begins. Returns the one that this closes."""
        current, waiting = self.open, self.waiting
        if repeated and current is not None and current.began and not current.repeated:
            if current.rows:
                self.waiting = current
            self.open = Open(group, repeated, began)
            return None
        closed = self._close()
        self.open = Open(group, repeated, began)
        if waiting is None:
            return closed
        if waiting.id == group:
            waiting.last_order = 0 if self._restarts_count else waiting.last_order
            self.open, self.waiting = waiting, None
        elif not repeated:
            raise self._broken_off(waiting)
        return None

    def row(self, message: Message) -> bool:
        """A row event of the open transaction: whether it is to be applied."""
        current = self.open
        assert current is not None
        current.rows += 1
        last, current.source = current.source, message.source
        last_op, current.op = current.op, message.op
        if current.repeated or self._seen_before(current, message):
            return False
        return self._restarts_count or last is None or not self._went_back(current, last, last_op)

    def key_change(self, op: str, *, first_half: bool) -> None:
        """A key change is a `d` and a `c` right behind it; a restart of the connector's task may lose the second.

        Told of every new `d` (`first_half` says that it is one of a key change) and of the new row after such a one.
        """
        current = self.open
        assert current is not None
        if current.torn_key and op != "c":
            self._close()  # raises
        current.torn_key = first_half and op == "d"

    def _seen_before(self, current: Open, message: Message) -> bool:
        """Level 2: a stretch that the connector sent twice inside this transaction."""
        source, transaction = message.source, message.transaction
        assert source is not None
        order = transaction.total_order if transaction else 0
        if order and not self._restarts_count:
            if order != current.last_order + 1:
                if order <= current.last_order:
                    return True
                raise ResyncRequiredError(
                    f"transaction {current.id}: row {current.last_order + 1} is missing from the change log "
                    f"(row {order} follows row {current.last_order})",
                    "run `cdc start NAME --force-resync`.",
                )
            current.last_order = order
            return False
        # The halves of a key change share their place: only `c` after `d` may stand at the same one.
        seen = (source.file, source.pos, source.row or 0, message.op or "")
        last = current.seen
        if last is not None and (seen[:3] < last[:3] or (seen[:3] == last[:3] and not (last[3] == "d" != seen[3]))):
            return True
        current.seen = seen
        return False

    def _went_back(self, current: Open, last: SourceBlock, last_op: str | None) -> bool:
        """Whether the row was sent before, though it is numbered anew.

        After a minute without an event (a broker that stands still is enough) Debezium's client of the log connects
        again by itself, and the rows of the open transaction come once more. Inside a transaction places only grow. In
        a compressed one all are the same (tried on MySQL 9.7): there, and within a transaction's first event of rows,
        this can't be seen.
        """
        source = current.source
        assert source is not None
        if current.sent_again is None:
            if source.pos >= last.pos:
                return False
            current.sent_again = (last.pos, last.row or 0, last_op)
        *furthest, furthest_op = current.sent_again
        place = [source.pos, source.row or 0]
        # The halves of a key change share their place.
        if place < furthest or (place == furthest and not (furthest_op == "d" != current.op)):
            return True
        current.sent_again = None
        return False

    def end(self, message: Message, repeated: bool) -> Open | None:
        """An END record. Returns the transaction it closes; None where it only repeats an earlier END.

        `repeated` says that the transaction was applied: its END may be sent again alone, when the connector was
        restarted right behind it, and be the first record that a new reader sees.
        """
        current = self.open
        if current is None or current.id != message.id:
            if message.event_count and not repeated:
                # Rows were announced that never came and whose transaction never began here.
                raise self._missing(str(message.id), 0, message.event_count)
            return None
        if message.event_count is not None and current.rows < message.event_count:
            raise self._missing(current.id, current.rows, message.event_count)
        current.commit_ms = message.ts_ms or current.commit_ms
        return self._close(ended=True)

    def close_open(self) -> Open | None:
        """Take the open transaction as complete. Raises where it, or one that waits, can't be."""
        if self.waiting is not None:
            raise self._broken_off(self.waiting)
        return self._close()

    def _close(self, *, ended: bool = False) -> Open | None:
        current, self.open = self.open, None
        if current is None:
            return None
        if current.commit_ms is None and current.source is not None:
            current.commit_ms = current.source.ts_ms
        if current.torn_key and not current.repeated:
            raise TornLogError(
                f"transaction {current.id} changes a key, but only the first half of the change is in the log "
                "(the connector was restarted between the two)",
                "run `cdc start NAME --force-resync`; avoid restarting the connector's tasks by hand.",
            )
        if current.began and current.rows and not ended and not current.repeated:
            raise self._broken_off(current)
        return current

    @staticmethod
    def _broken_off(transaction: Open) -> IntegrityError:
        return IntegrityError(
            f"transaction {transaction.id}: {transaction.rows} rows came without the END that belongs to them; "
            "those of an XA transaction on MariaDB do, and the change log does not tell whether it was committed",
            "let the application change replicated tables without XA, or leave the table out of the pipeline; if none "
            "is used, look at the connector's log; then `cdc start NAME --force-resync`.",
        )

    @staticmethod
    def _missing(transaction: str, rows: int, announced: int) -> ResyncRequiredError:
        return ResyncRequiredError(
            f"transaction {transaction}: {announced} rows were announced and {rows} are in the change log "
            "(a record may be larger than the topic's max.message.bytes)",
            "look at the connector's log, raise kafka.max_message_bytes if a record was too large, then "
            "`cdc start NAME --force-resync`.",
        )
