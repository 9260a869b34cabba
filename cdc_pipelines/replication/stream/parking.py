"""The consumer's side of a barrier: stop at a wanted source position, so that both sides can be read there.

The barrier is a row in the target (`_cdc.barrier`). requested → (consumer) parked → (requester has opened its source
snapshot at a position) go → (consumer has applied exactly up to it) reached → (requester has its target snapshots)
released. A requester that dies leaves a row that expires; the consumer then goes on.

A lane's requester (lanes/joining.py) needs no more than `parked`: it changes which tables the stream has, and takes the
row away. So whatever a consumer knew of its tables is looked at again before it goes on.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from cdc_pipelines.replication.changes.batches import AtBarrier
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres.connection import brief
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.stream.streaming import Stream

_LOOK_EVERY_S, _POLL_S = 0.25, 0.02


@dataclass(frozen=True)
class Barrier:
    """One row of `_cdc.barrier`. `end_offset`: from there on the log holds nothing at or before the position."""

    id: str
    state: str
    position: str | None
    end_offset: int | None
    expired: bool


def current(conn: psycopg.Connection, pipeline: str) -> Barrier | None:
    """The pipeline's barrier, read in the caller's transaction."""
    row = conn.execute(
        "select id, state, position, end_offset, expires_at < clock_timestamp() from _cdc.barrier where pipeline = %s",
        [pipeline],
    ).fetchone()
    return None if row is None else Barrier(*row)


def move(conn: psycopg.Connection, pipeline: str, barrier: str, before: str, after: str) -> bool:
    """Set the state, if it still is `before`, and commit. False where the requester has given up."""
    hit = conn.execute(
        "update _cdc.barrier set state = %s where pipeline = %s and id = %s and state = %s",
        [after, pipeline, barrier, before],
    ).rowcount
    conn.commit()
    return hit == 1


def wait_for(
    conn: psycopg.Connection, pipeline: str, barrier: str, state: str, stop: threading.Event
) -> Barrier | None:
    """Wait for the requester's next move. None where the barrier expired, was replaced or taken away, or on `stop`."""
    while not stop.is_set():
        seen = _still(conn, pipeline, barrier)
        if seen is None or seen.state == state:
            return seen
        stop.wait(_POLL_S)
    return None


def _still(conn: psycopg.Connection, pipeline: str, barrier: str) -> Barrier | None:
    """The barrier as it is now, in a transaction of its own; None where its requester is gone or has given up."""
    seen = current(conn, pipeline)
    conn.commit()
    if seen is None or seen.id != barrier or seen.expired:
        return None
    return seen


def clear(conn: psycopg.Connection, pipeline: str, barrier: str | None = None) -> None:
    """Take the barrier away, or whatever barrier a consumer before this one was parked at (None)."""
    conn.execute("delete from _cdc.barrier where pipeline = %s and id = coalesce(%s, id)", [pipeline, barrier])
    conn.commit()


class Parking:
    """Looks for barriers between the runs of `stream`, and meets them. `tell` is told the consumer's state."""

    def __init__(
        self, conn: psycopg.Connection, pipeline: str, stream: Stream, stop: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        self._conn, self._pipeline, self._stream, self._stop, self._tell = conn, pipeline, stream, stop, tell
        self._looked_at = 0.0

    def look(self) -> None:
        """Now and then, and never inside a run; returns when the barrier is left.

        Raises RetryableError where the target went away, and what a stream raises.
        """
        if self._stream.applier.in_run or time.monotonic() - self._looked_at <= _LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        conn, name = self._conn, self._pipeline
        try:
            barrier = current(conn, name)
            conn.commit()
            if barrier is None:
                return
            if barrier.expired:
                clear(conn, name, barrier.id)
            elif barrier.state == "requested":
                self._park(barrier.id)
        except psycopg.OperationalError as error:
            raise RetryableError(
                f"the target went away: {brief(error)}", "the consumer will be started again."
            ) from error

    def _park(self, barrier: str) -> None:
        """Stand still, go exactly to the wanted position, stand still again, go on."""
        conn, name, stream = self._conn, self._pipeline, self._stream
        stream.close()
        self._tell("barrier")
        if move(conn, name, barrier, "requested", "parked"):
            go = wait_for(conn, name, barrier, "go", self._stop)
            if go is not None and go.position is not None:
                position = MySqlPosition.from_json(go.position)
                stream.open(stop_at=position)
                arrived = self._go_to(barrier, position)
                stream.close()
                if arrived and move(conn, name, barrier, "go", "reached"):
                    wait_for(conn, name, barrier, "released", self._stop)
        clear(conn, name, barrier)
        stream.look_again()
        if not self._stop.is_set():
            stream.open()
        self._tell("streaming")

    def _go_to(self, barrier: str, position: MySqlPosition) -> bool:
        """Apply up to the barrier. False where its requester gave up, or this process is to stop.

        On an idle source all may be applied already; nothing that comes later will say so for most of a minute.
        """
        stream = self._stream
        while not self._stop.is_set():
            if not stream.applier.in_run and stream.applier.position.includes(position):
                return True
            item = stream.next(_POLL_S)
            if isinstance(item, AtBarrier):
                return True
            if item is not None:
                stream.handle(item)
            elif not stream.applier.in_run:
                seen = _still(self._conn, self._pipeline, barrier)
                if seen is None:
                    return False
                if seen.end_offset is not None and stream.done_to() >= seen.end_offset:
                    return True
        return False
