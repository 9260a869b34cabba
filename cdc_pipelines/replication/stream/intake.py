"""What each record of the change log means: which run it belongs to, and what of it goes to the applier."""

from collections.abc import Iterable
from typing import Any

from cdc_pipelines.replication.changes.batches import AtBarrier, Detach, Key, Learn, Redefine, Row, TableItem, Truncate
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.stream import messages
from cdc_pipelines.replication.stream.definitions import Definitions
from cdc_pipelines.replication.stream.grammar import Grammar, Open
from cdc_pipelines.replication.stream.messages import Message
from cdc_pipelines.replication.stream.overlap import Overlap
from cdc_pipelines.replication.stream.refusal import event_of
from cdc_pipelines.replication.stream.run import OPS, Run
from cdc_pipelines.replication.stream.schema_event import Statements
from cdc_pipelines.replication.stream.shaping import deleted, shaped


class Intake:
    """Takes the records one by one and folds them into `run`, up to the barrier at `stop_at`, if there is one.

    It asks the grammar where a transaction ends and what repeats, the overlap what the copy holds already, and the
    definitions how a table's rows are read.
    """

    def __init__(
        self,
        run: Run,
        tables: Definitions,
        overlap: Overlap,
        position: MySqlPosition,
        stop_at: MySqlPosition | None,
        statements: Statements,
    ) -> None:
        """`position`: all before it is applied. `statements`: the schema changes of the last place that were."""
        self._run, self._tables, self._overlap = run, tables, overlap
        self._stop_at, self._statements = stop_at, statements
        self._gtids, self._restarts_count = position.gtids, position.flavor == "mariadb"
        self._grammar = Grammar(restarts_count=self._restarts_count)
        self.reached = False
        """Whether the barrier, or the end that was asked for, is reached: nothing more is taken."""

    @property
    def gathering(self) -> bool:
        """Whether changes have been read that are not handed over yet.

        A transaction of which nothing but its begin has been read holds none, and may stay so: MariaDB's connector
        begins one for each statement that it tells nothing of.
        """
        return self._run.events > 0 or self._grammar.half_read is not None

    def take(self, record: Any) -> None:
        """The next record. Raises what the log's grammar, its definitions and its rows raise where it is not right."""
        offset, value = record.offset(), record.value()
        message = messages.decode(value, offset)
        if message.op is not None:
            if message.op in OPS:
                self._row(message, record, offset, len(value))
            elif message.op == "t":
                self._truncate(message, offset)
        elif message.status is not None:
            self._bound(message, offset)
        elif message.tableChanges is not None:
            self._schema(message, offset)
        if self._grammar.between and not self.reached:
            self._run.boundary = offset + 1

    def end_at(self, offset: int) -> None:
        """The log's `offset` is the end that was asked for: everything before it is sent."""
        self._complete(self._grammar.close_open(), offset)
        self._run.boundary = offset
        self._arrive()

    def reach(self, end: int) -> None:
        """The log was read to its end: between transactions, all before it is done with."""
        if self._grammar.between:
            self._run.boundary = max(self._run.boundary, end)

    def pause(self) -> None:
        """All records that were there have been read: send what is whole, unless the applier is busy anyway."""
        if self.reached or self._grammar.half_read:
            return
        self._run.pause(eager=self._stop_at is not None)

    def _arrive(self) -> None:
        self._run.send(force=True)
        self._run.put(AtBarrier())
        self.reached = True

    # Transactions

    def _bound(self, message: Message, offset: int) -> None:
        place = messages.transaction_place(message.id or "")
        if message.status == "BEGIN":
            if place.gtid and self._beyond(place, offset):
                return
            # Without GTIDs only its rows tell for sure; but a log that goes back does, too.
            repeated = self._run.repeats(place) if place.gtid else self._grammar.goes_back_to(place)
            self._complete(self._grammar.begin(message, repeated), offset)
            if not self._grammar.waiting:
                self._run.send_early()
        else:
            self._complete(self._grammar.end(message, self._run.repeats(place)), offset + 1)

    def _beyond(self, place: Place, offset: int) -> bool:
        """Whether the barrier lies before the transaction at `place`; then everything before it is sent."""
        if self._stop_at is None or self._stop_at.covers(place):
            return False
        self._complete(self._grammar.close_open(), offset)
        self._arrive()
        return True

    def _complete(self, done: Open | None, next_offset: int) -> None:
        """A transaction is whole: the run may end here."""
        if done is None or self._grammar.waiting:
            return
        gtid = done.place.gtid if done.place else (done.id if self._gtids else None)
        begin = messages.transaction_place(done.id).pos
        self._run.complete(gtid, done.place, done.commit_ms, next_offset, repeated=done.repeated, begin=begin)

    # Rows

    def _row(self, message: Message, record: Any, offset: int, size: int) -> None:
        """Every event of a row comes through here: what can be done once per transaction is."""
        source, transaction, grammar = message.source, message.transaction, self._grammar
        assert source is not None
        group = transaction.id if transaction else (source.gtid or f"{source.file}:{source.pos}")
        current = grammar.open
        if current is None or current.id != group or not current.rows:
            place = messages.place_of(source)
            repeated = self._run.repeats(place)
            if self._beyond(place, offset):
                return
            self._overlap.enter(place)
            self._complete(grammar.enter(group, repeated), offset)
            current = grammar.open
            assert current is not None
        wanted = grammar.row(message)
        if wanted and (current.torn_key or message.op == "d"):
            grammar.key_change(message.op or "", first_half="__debezium.newkey" in messages.headers(record))
        codec = self._tables.codec(source.db, source.table) if wanted else None
        if codec is not None:
            if transaction is None:
                raise messages.xa_row(source)
            self._fold(codec, message, offset, size)
        elif wanted and self._tables.stands_apart(source.db, source.table):
            self._run.skip(source.table or "")
        if transaction is None:  # nothing will say that it ends
            self._complete(grammar.close_open(), offset + 1)

    def _fold(self, codec: RowCodec, message: Message, offset: int, size: int) -> None:
        op, table = message.op, codec.name
        # It may have other columns: those that were captured before the table was copied.
        if not self._overlap.passed and self._overlap.covers_all(table, message.place()):
            return
        before = after = None
        at_ms = message.source.ts_ms if message.source else None
        if op == "d" or (op == "u" and (codec.is_shaped or not codec.splits_key_changes)):
            before = codec.row(message.before)
        if op != "d":
            after = codec.row(message.after)
        if codec.is_shaped:
            change = shaped(codec, op or "", before, after)
            if change is None:
                self._run.pass_by()
                return
            op, before, after = change
        if codec.stamps and after is not None:
            codec.stamp(after, op or "", message.place(), at_ms)
        key = codec.key(after if after is not None else before) if codec.key_indexes else None  # type: ignore[arg-type]
        if key is not None and before is not None and after is not None and codec.key(before) != key:
            self._add(codec, "d", codec.key(before), before, deleted(codec, before, message), message, offset, 0)
        if op == "d" and before is not None:
            after = deleted(codec, before, message)
        self._add(codec, op, key, before, after, message, offset, size)  # type: ignore[arg-type]

    def _add(
        self, codec: RowCodec, op: str, key: Key | None, before: Row | None, after: Row | None, message: Message,
        offset: int, size: int,
    ) -> None:
        if not self._overlap.passed and self._overlap.covers(codec.name, key, message.place()):
            return
        if self._run.careful:
            self._run.note(codec.name, event_of(message, offset, key))
        at_ms = message.source.ts_ms if message.source else None
        self._run.add(codec, op, key, before, after, size, at_ms)

    def _truncate(self, message: Message, offset: int) -> None:
        place, source = message.place(), message.source
        assert source is not None
        if self._run.repeats(place) or not self._standalone(place, offset):
            return
        if self._tables.stands_apart(source.db, source.table):
            self._run.skip(source.table or "")
        self._hand_over(self._tables.truncated(message, place), message, offset)
        self._stand(place, source.ts_ms, offset)

    # Schema

    def _schema(self, message: Message, offset: int) -> None:
        place, source = message.place(), message.source
        assert source is not None
        if source.snapshot not in (None, False, "false"):
            self._run.require_reached(place)
            self._hand_over(self._tables.learnt(message), message, offset)
            return
        new = self._statements.is_new(place, message.ddl or "", repeats=self._run.repeats(place))
        if not new or not self._standalone(place, offset):
            return
        self._hand_over(self._tables.changes(message, place), message, offset)
        made = any(change.type == "CREATE" for change in message.tableChanges or ())
        self._stand(place, source.ts_ms, offset, rows_follow=made)

    def _hand_over(self, items: Iterable[Truncate | Learn | TableItem], message: Message, offset: int) -> None:
        """What comes before a change that may not be followed is right, and is sent first."""
        for item in items:
            if isinstance(item, Learn):
                self._run.put(item)
                continue
            if self._run.whole and (isinstance(item, Detach) or (isinstance(item, Redefine) and item.questions)):
                self._run.send()
            if self._run.careful and isinstance(item, Truncate | Redefine):
                item.origin = event_of(message, offset)
            self._run.change(item)

    # Records that are a transaction of their own

    def _standalone(self, place: Place, offset: int) -> bool:
        """Whether an event outside BEGIN…END is on this side of the barrier. What came before it is complete then."""
        inside = self._grammar.open is not None and self._grammar.open.id == place.gtid
        if not inside:
            if self._beyond(place, offset):
                return False
            self._complete(self._grammar.close_open(), offset)
        self._overlap.enter(place)
        return True

    def _stand(self, place: Place, commit_ms: int | None, offset: int, *, rows_follow: bool = False) -> None:
        """`rows_follow`: a table was made, maybe by CREATE TABLE … SELECT, which is one transaction with its rows."""
        if self._grammar.open is not None and not self._grammar.open.rows:
            if rows_follow and not self._restarts_count:
                return  # MySQL tells the end of a transaction that it begins
            self._grammar.close_open()  # MariaDB begins a DDL and never ends it
        if self._grammar.between:
            # On MariaDB any CREATE may be one: its rows must not pass for repeated ones.
            open_end = rows_follow and self._restarts_count
            self._run.complete(
                None if open_end else place.gtid, place, commit_ms, offset + 1, repeated=False,
                within=(place.gtid or "") if open_end else "",
            )
