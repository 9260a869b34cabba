"""The consumer's side of a barrier: stop at a wanted source position, so that both sides can be read there.

The barrier is a row in the target (`_cdc.barrier`). requested → (consumer) parked → (requester has opened its source
snapshot at a position) go → (consumer has applied exactly up to it) reached → (requester has its target snapshots)
released. A requester that dies leaves a row that expires; the consumer then goes on.

A lane's requester (lanes/joining.py) needs no more than `parked`: it changes which tables the stream has, and takes the
row away. So whatever a consumer knew of its tables is looked at again before it goes on.
"""

import threading
from dataclasses import dataclass

import psycopg

_POLL_S = 0.02


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
        seen = current(conn, pipeline)
        conn.commit()
        if seen is None or seen.id != barrier or seen.expired:
            return None
        if seen.state == state:
            return seen
        stop.wait(_POLL_S)
    return None


def clear(conn: psycopg.Connection, pipeline: str, barrier: str | None = None) -> None:
    """Take the barrier away, or whatever barrier a consumer before this one was parked at (None)."""
    conn.execute("delete from _cdc.barrier where pipeline = %s and id = coalesce(%s, id)", [pipeline, barrier])
    conn.commit()
