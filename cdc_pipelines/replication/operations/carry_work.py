"""One comparison of what is carried: what is missing is made, what the source has no more is taken away.

What must hold of all rows at once (unique indexes, foreign keys) waits until the rows are those of one state of the
source. A statement that others would have to wait for is given up after a second, and tried again.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import psycopg
from msgspec.structs import replace

from cdc_pipelines.replication.carry.wanted import Wanted, is_the_key, target_name
from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres import carried
from cdc_pipelines.replication.databases.postgres.carried_store import Carried, CarriedStore, State
from cdc_pipelines.replication.databases.postgres.connection import brief
from cdc_pipelines.replication.databases.postgres.state import PipelineState, TargetState
from cdc_pipelines.replication.lanes.joining import meet_stream
from cdc_pipelines.replication.operations.carried_outcome import Outcome
from cdc_pipelines.replication.operations.consumer_state import connector_covers, done_to
from cdc_pipelines.replication.operations.runtime import Runtime

_LOCK_TRIES = 20
_PASS_S = 60.0
_LATER = "it is made once the stream has passed the copy"
_LIVE_LATER = "it is made once the table is back in the stream"


class CarryWork:
    """One look at source, record and target, and what follows from it; `conn` commits by itself."""

    def __init__(
        self, rt: Runtime, conn: psycopg.Connection, state: TargetState, facts: PipelineState, again: bool
    ) -> None:
        self._rt, self._conn, self._state, self._facts = rt, conn, state, facts
        self._again = again
        self._store = CarriedStore(conn, rt.name)
        self.tables: Mapping[str, MappedTable] = {t.name: t for t in state.mapped_tables()}
        self._apart = set(state.detached())
        self._streams = state.offset() is not None
        self._records = {(r.table, r.kind, r.name): r for r in self._store.all()}
        self._settled: bool | None = None
        self.outcome = Outcome()

    # In the target's transactions

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._conn.transaction():
            self._state.require_epoch(self._facts.epoch, self._facts.generation)
            self._conn.execute(f"set local lock_timeout = '{carried.LOCK_WAIT_S}s'".encode())
            yield

    def _patiently(self, step: Callable[[], None]) -> None:
        """In a transaction that gives up soon where readers hold the table, and is tried again."""
        for attempt in range(_LOCK_TRIES):
            try:
                with self._transaction():
                    step()
                return
            except psycopg.errors.LockNotAvailable:
                if attempt == _LOCK_TRIES - 1:
                    raise
                time.sleep(0.5)

    def _save(self, each: Carried) -> Carried:
        self._store.save(each)
        self._records[each.table, each.kind, each.name] = each
        return each

    # What the source has no more

    def take_away(self, wants: list[Wanted], tables: set[str]) -> None:
        """Of the kinds that are asked for; and what it has otherwise now. Foreign keys first: others hold them."""
        wanted_now = {(w.table, w.kind, w.name): w for w in wants}
        kinds, tables = self._rt.pipeline.carry.kinds, tables & set(self.tables)
        gone = [
            record for key, record in self._records.items()
            if record.kind in kinds and record.table in tables and record.state != "not_made"
            and (key not in wanted_now or wanted_now[key].definition != record.definition)
        ]
        for record in sorted(gone, key=lambda each: each.kind != "foreign_key"):
            self._patiently(lambda each=record: self._forget(each))  # type: ignore[misc]
            if record.state == "made" and (record.table, record.kind, record.name) not in wanted_now:
                self.outcome.dropped.append(record)
        for key, record in list(self._records.items()):
            if record.state == "not_made" and record.table in tables and key not in wanted_now:
                self._patiently(lambda each=record: self._forget(each))  # type: ignore[misc]

    def _forget(self, each: Carried) -> None:
        its_own = each.kind == "comment" and carried.comment(self._conn, each) != each.definition
        if each.state != "not_made" and not its_own and not is_the_key(self.tables[each.table], each.definition):
            carried.drop(self._conn, each)
        self._store.forget(each)
        self._records.pop((each.table, each.kind, each.name), None)

    # What it has

    def make(self, wants: list[Wanted]) -> None:
        todo = [w for w in wants if self._is_missing(w)]
        ready = []
        for each in todo:
            why = each.why_not or self._why_later(each)
            if why:
                self._tell(each, "not_made" if each.why_not else "waiting", why)
            else:
                ready.append(each)
        unique = [w for w in ready if w.unique]
        last = [*unique, *(w for w in ready if w.kind == "foreign_key")]
        for each in ready:
            if each not in last:
                self._make(each)
        self._announce(unique)
        for each in last:
            self._make(each)
        for each in wants:
            record = self._records.get((each.table, each.kind, each.name))
            if each.unique and record is not None and record.state == "given_up":
                self._make_plain(each, record)

    def _is_missing(self, want: Wanted) -> bool:
        record = self._records.get((want.table, want.kind, want.name))
        if record is None or record.state in ("making", "waiting"):
            return True
        if record.state == "not_made":
            return record.why != want.why_not
        if want.kind == "comment" and record.state == "made":
            return False  # one that was changed or taken away on the target is the target's own
        return self._again if record.state == "given_up" else not carried.is_there(self._conn, record)

    def _why_later(self, want: Wanted) -> str:
        """What must hold of all rows has to wait until they are those of one state of the source."""
        if not want.unique and want.kind != "foreign_key":
            return ""
        names = [want.table, want.parent] if want.parent else [want.table]
        if any(name in self._apart for name in names):
            return _LIVE_LATER
        positions = {c.position for name in names for c in self._state.chunks(name)}
        if len(positions) <= 1 and None not in positions:
            return ""
        return "" if self._streams and self._has_passed() else _LATER

    def _has_passed(self) -> bool:
        """Whether the stream is beyond all positions of the copy; waited for, once."""
        if self._settled is None:
            texts = {c.position for c in self._state.chunks() if c.position}
            self._settled = self._pass([MySqlPosition.from_json(text) for text in sorted(texts)])
        return self._settled

    def _pass(self, positions: list[MySqlPosition]) -> bool:
        deadline, end = time.monotonic() + _PASS_S, None
        while time.monotonic() < deadline:
            offset = self._state.offset()
            assert offset is not None
            applied = MySqlPosition.from_json(offset.position)
            if all(applied.includes(each) for each in positions):
                return True
            if end is not None and done_to(self._rt, offset.next_offset) >= end:
                return True
            if end is None and all(connector_covers(self._rt, each, applied) for each in positions):
                end = self._rt.topics.offsets(self._facts.log_topic or "")[1]
            time.sleep(0.3)
        return False

    def _announce(self, wants: list[Wanted]) -> None:
        """The applier must know of unique indexes before they are there: rows then make room for each other."""
        rows = [self._begun(want) for want in wants]
        if not rows:
            return
        if self._streams and self._rt.refresh().desired == "running":
            meet_stream(self._rt, lambda state, _: state.carries(rows))
        else:
            with self._transaction():
                self._state.carries(rows)
        self._records |= {(row.table, row.kind, row.name): row for row in rows}

    def _begun(self, want: Wanted) -> Carried:
        """The record of a thing that is about to be made, under a name that is free or was its own before."""
        table = self.tables[want.table]
        record = self._records.get((want.table, want.kind, want.name))
        column = next((c.target_name for c in table.columns if c.source.name == want.name), "")
        row = Carried(
            want.table, want.kind, want.name, table.target_schema, table.target_name, column, want.definition,
            want.parent,
        )
        if want.kind in ("identity", "comment"):
            return row
        if record is not None and record.target_name and record.target_table == table.target_name:
            return replace(row, target_name=record.target_name)
        for number in range(100):
            row = replace(row, target_name=target_name(table, want.name, number))
            if not carried.is_taken(self._conn, row):
                break
        return row

    def _make(self, want: Wanted) -> None:
        row = self._begun(want)
        try:
            match want.kind:
                case "index":
                    self._make_index(row)
                case "check" | "foreign_key":
                    self._make_constraint(row)
                case "identity":
                    self._patiently(lambda: self._make_identity(row))
                case "comment":
                    self._patiently(lambda: self._make_comment(row))
        except psycopg.Error as error:
            if isinstance(error, psycopg.OperationalError) and not isinstance(
                error, psycopg.errors.LockNotAvailable | psycopg.errors.ProgramLimitExceeded
            ):
                raise
            locked = isinstance(error, psycopg.errors.LockNotAvailable)
            why = "others keep the table locked" if locked else brief(error, 200)
            self._patiently(lambda: self._undo(row, "waiting" if locked else "given_up", why))

    def _make_index(self, row: Carried) -> None:
        def begin() -> None:
            self._save(row)
            if not carried.is_there(self._conn, row):  # begun by a process that died, or without uniqueness
                carried.drop(self._conn, row)

        self._patiently(begin)
        if not carried.is_there(self._conn, row):
            carried.make_index(self._conn, row, row.definition, concurrently=self._streams)
        self._made(row)

    def _make_plain(self, want: Wanted, record: Carried) -> None:
        """A unique index whose values are not unique here serves queries all the same."""
        if carried.is_there(self._conn, record) is False:
            with suppress(psycopg.errors.ProgramLimitExceeded):  # a value is too large for any index
                carried.make_index(self._conn, record, want.plain, concurrently=self._streams)

    def _make_constraint(self, row: Carried) -> None:
        def add() -> None:
            self._save(row)
            carried.drop(self._conn, row)
            carried.add_constraint(self._conn, row)

        self._patiently(add)
        carried.validate(self._conn, row)
        self._made(row)

    def _make_identity(self, row: Carried) -> None:
        if not carried.is_there(self._conn, row):
            carried.make_identity(self._conn, row)
        carried.set_sequence(self._conn, row)
        self._made(row)

    def _make_comment(self, row: Carried) -> None:
        there = carried.comment(self._conn, row)
        if there is None:
            carried.set_comment(self._conn, row, row.definition)
        if there in (None, row.definition):
            self._made(row)
        else:
            self._save(replace(row, state="given_up", why="the target has another one, of its own"))

    def _made(self, row: Carried) -> None:
        self.outcome.made.append(self._save(replace(row, state="made")))

    def _undo(self, row: Carried, state: State, why: str) -> None:
        if row.kind != "comment":
            carried.drop(self._conn, row)
        self.outcome.told.append(self._save(replace(row, state=state, why=why)))

    def _tell(self, want: Wanted, state: State, why: str) -> None:
        known = self._records.get((want.table, want.kind, want.name))
        if known is not None and (known.state, known.why) == (state, why):
            return
        with self._transaction():
            self.outcome.told.append(self._save(replace(self._begun(want), state=state, why=why)))
