"""Where a lane and the stream meet: the consumer stands still, both are at one offset, the table changes hands.

The table leaves the stream (`detach`), then the lane alone writes it; and comes back (`join`). Each is one target
transaction, in which the consumer is known to be parked. Before it goes on it looks at its tables again.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import psycopg

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.postgres.carried import drop_foreign_keys
from cdc_pipelines.replication.databases.postgres.connection import server_errors, take_replica_role
from cdc_pipelines.replication.databases.postgres.lane_store import LaneStore
from cdc_pipelines.replication.databases.postgres.shadow import misfits, take_place
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.databases.postgres.table_store import DetachedKind
from cdc_pipelines.replication.errors import FencedError
from cdc_pipelines.replication.lanes.follow import Follower
from cdc_pipelines.replication.lanes.runtime import LaneRuntime
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.verify.request import Request

_DEADLINE_S = 120
_TTL_S = 5.0  # other tables wait for as long, where a lane's process dies while the consumer stands still

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def detach(lane: LaneRuntime, follower: Follower) -> None:
    """From here on the stream leaves the table to the lane; readers see what was applied to it so far.

    A table that the stream does not have (a new one, or one that stands apart already) needs no meeting.
    """
    with lane.main.target("lane") as (conn, state), server_errors("detaching a table"):
        streams = state.table_marks().get(lane.table, (0, "new"))[1] is None
        if not streams:
            with conn.transaction():
                lane.require_mine(conn)
                state.detach(lane.table, "it is copied again", "lane")
                LaneStore(conn, lane.main.name).turn_to(lane.table, "following", "detached")
            return

    def change(state: TargetState, lanes: LaneStore) -> None:
        offset = state.offset()
        assert offset is not None
        state.detach(
            lane.table, "it was copied again", "lane", position=offset.position, offset=offset.next_offset
        )
        lanes.turn_to(lane.table, "following", "detached")

    meet_stream(lane.main, change, lane, follower)


def detach_early(main: Runtime, table: str) -> None:
    """Let the stream pass by a table from here on: its events are to come with other columns."""
    _pass_by(main, table, "it is copied again, with other columns", "lane")


def detach_misread(main: Runtime, table: str) -> None:
    """The same for one whose columns the connector has wrong; it must learn them before the table is copied again."""
    _pass_by(main, table, "the connector has other columns of it than the source", "changed", relearn=True)


def _pass_by(main: Runtime, table: str, reason: str, kind: DetachedKind, *, relearn: bool = False) -> None:
    def change(state: TargetState, lanes: LaneStore) -> None:
        offset = state.offset()
        assert offset is not None
        state.detach(
            table, reason, kind, position=offset.position, offset=offset.next_offset, relearn=relearn
        )

    meet_stream(main, change)


def replace(lane: LaneRuntime, log: Log, *, swap: bool) -> str:
    """Let the target table have the shadow's rows. Returns `swapped` or `merged` (always, where not `swap`).

    Raises RetryableError where readers keep the table locked for seconds.
    """
    what = f"table {lane.table}: taking its place"
    with lane.target("replace") as (conn, state), server_errors(what), _resting(conn):
        lanes = LaneStore(conn, lane.main.name)
        lane.require_mine(conn)
        row = lanes.get(lane.table)
        if row is None:
            raise FencedError(f"pipeline {lane.main.name}, table {lane.table}: its lane is gone", "nothing changed.")
        shadow = state.mapped_tables()[0]
        live = msgspec.structs.replace(shadow, target_schema=row.target_schema, target_name=row.target_name)
        if misfits(conn, live):  # what is ours shall not keep it from being replaced
            drop_foreign_keys(conn, lane.main.name, lane.table, "its table was copied with other columns")
        before = mapping_before(conn, lane)
        how = take_place(conn, shadow, live, before, swap=swap)
        live = live.still_keeping(before)
        state.save_mapping(live)
        lanes.turn_to(lane.table, "detached", "merged")
    log.info("table %s: %s %s.%s", lane.table, how, live.target_schema, live.target_name)
    return how


@contextmanager
def _resting(conn: psycopg.Connection) -> Iterator[None]:
    """A transaction in which foreign keys rest: rows that change places may have children."""
    take_replica_role(conn)
    with conn.transaction():
        yield


def mapping_before(conn: psycopg.Connection, lane: LaneRuntime) -> MappedTable | None:
    """The mapping that the stream has of the lane's table; None where it is new."""
    tables = TargetState(conn, lane.main.name).mapped_tables()
    return next((t for t in tables if t.name == lane.table), None)


def join(lane: LaneRuntime, follower: Follower) -> None:
    """The table is the stream's again, as the lane has it; the lane is gone."""

    def change(state: TargetState, lanes: LaneStore) -> None:
        state.adopt(lane.table, lane.name)
        state.settle_letters(lane.table)
        lanes.close(lane.table)

    meet_stream(lane.main, change, lane, follower)


def meet_stream(
    main: Runtime, change: Callable[[TargetState, LaneStore], None], lane: LaneRuntime | None = None,
    follower: Follower | None = None,
) -> None:
    """Park the consumer, lead the lane up to it, and `change` whose a table is, in one target transaction.

    Raises RetryableError where no consumer runs, or it can't be parked; nothing was changed then.
    """
    with Request(main, _DEADLINE_S, ttl_s=_TTL_S) as request:
        request.wait_for("parked")
        with main.target("lane") as (conn, state), server_errors("joining a lane"):
            facts, offset = state.load(), state.offset()
            conn.commit()
            if facts is None or offset is None:
                raise FencedError(f"pipeline {main.name} is gone from the target", "nothing was written.")
            if follower is not None:
                follower.go_to(offset.next_offset, quick=True)
            with conn.transaction():
                state.require_epoch(facts.epoch, facts.generation)
                if lane is not None:
                    lane.require_mine(conn)
                request.hold(conn)
                change(state, LaneStore(conn, main.name))
