"""The requester's side of a barrier: one row of `_cdc.barrier`, by which the consumer is asked to stand still."""

import logging
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from cdc_pipelines.replication.control.records import ENDED_STATES
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres.connection import connect, server_errors
from cdc_pipelines.replication.errors import RetryableError

if TYPE_CHECKING:
    from cdc_pipelines.replication.operations.runtime import Runtime

_log = logging.getLogger(__name__)

_BEAT_MAX_AGE = timedelta(seconds=35)  # a consumer beats every 3 s
_TTL_S = 20.0
_BUSY_WAIT_S = 60  # for another comparison's barrier
_RENEWALS = 5  # per life of a request
_POLL_S = 0.05
_LOOK_S = 2.0


def consumer_at_work(rt: "Runtime") -> tuple[str, int] | None:
    """Host and pid of the consumer that runs; None where none does."""
    beat = rt.store.heartbeat(rt.name)
    if beat is None or beat.state in ENDED_STATES or datetime.now(UTC) - beat.at > _BEAT_MAX_AGE:
        return None
    return beat.host, beat.pid


class Request:
    """One row of `_cdc.barrier`, kept alive while the block lasts and taken away at its end."""

    def __init__(self, rt: "Runtime", deadline_s: float, *, ttl_s: float = _TTL_S) -> None:
        """`ttl_s`: how long a dead requester holds the consumer."""
        self._rt = rt
        self._deadline_s, self._ttl_s = deadline_s, ttl_s
        self._id = uuid.uuid4().hex
        self._conn = connect(rt.target_spec, purpose=f"{rt.name}:barrier", autocommit=True)
        self._consumer = consumer_at_work(rt)
        self._look_at = time.monotonic() + _LOOK_S
        self._done = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="barrier", daemon=True)

    def __enter__(self) -> "Request":
        end = time.monotonic() + _BUSY_WAIT_S
        try:
            while not self._ask():
                if time.monotonic() > end:
                    raise RetryableError(
                        f"pipeline {self._rt.name}: another comparison, or a lane, has been holding the consumer for "
                        f"{_BUSY_WAIT_S:.0f} s",
                        "look at `cdc status`: is the consumer at work? Then try again.",
                    )
                time.sleep(_POLL_S)
        except BaseException:
            self._conn.close()
            raise
        self._keeper.start()
        return self

    def _ask(self) -> bool:
        """False while another's barrier stands, for a moment or until it expires."""
        with server_errors("asking for a barrier"):
            return self._conn.execute(
                "insert into _cdc.barrier as b (pipeline, id, state, expires_at) "
                "values (%s, %s, 'requested', clock_timestamp() + %s * interval '1 second') "
                "on conflict (pipeline) do update set id = excluded.id, state = excluded.state, position = null, "
                "end_offset = null, expires_at = excluded.expires_at "
                "where b.expires_at < clock_timestamp() or b.state = 'released'",
                [self._rt.name, self._id, self._ttl_s],
            ).rowcount == 1

    def __exit__(self, *_: object) -> None:
        """Released in every case: the consumer goes on, whether or not it ever got there."""
        self._done.set()
        self._keeper.join(timeout=10)
        try:
            # The consumer waits for `released` only from `reached` on; before that it looks for its row.
            hit = self._conn.execute(
                "update _cdc.barrier set state = 'released' where pipeline = %s and id = %s and state = 'reached'",
                [self._rt.name, self._id],
            ).rowcount
            if hit == 0:
                self._conn.execute(
                    "delete from _cdc.barrier where pipeline = %s and id = %s", [self._rt.name, self._id]
                )
        except psycopg.Error as error:
            _log.warning("the barrier of pipeline %s could not be taken away: %s; it expires", self._rt.name, error)
        finally:
            self._conn.close()

    def _keep(self) -> None:
        while not self._done.wait(self._ttl_s / _RENEWALS):
            try:
                self._update("expires_at = clock_timestamp() + %s * interval '1 second'", self._ttl_s)
            except psycopg.Error as error:
                _log.warning("the barrier of pipeline %s could not be extended: %s", self._rt.name, error)

    def _update(self, assignments: str, *values: Any) -> int:
        return self._conn.execute(
            f"update _cdc.barrier set {assignments} where pipeline = %s and id = %s",  # noqa: S608 - our own texts
            [*values, self._rt.name, self._id],
        ).rowcount

    def state(self) -> str:
        """The row's state. Raises RetryableError where it is not ours any more."""
        with server_errors("looking at the barrier"):
            row = self._conn.execute(
                "select state from _cdc.barrier where pipeline = %s and id = %s", [self._rt.name, self._id]
            ).fetchone()
        if row is None:
            raise RetryableError(
                f"pipeline {self._rt.name}: the consumer was stopped or started anew while it was to stand still",
                "try again when it is running.",
            )
        return str(row[0])

    def go(self, position: MySqlPosition) -> None:
        """Tell the consumer where to."""
        with server_errors("setting the barrier's position"):
            self._update("state = 'go', position = %s", position.to_json())
        self.state()

    def set_end(self, offset: int) -> None:
        """Tell the consumer from which log offset on nothing is at or before the position."""
        with server_errors("setting the barrier's end"):
            self._update("end_offset = %s", offset)

    def hold(self, conn: psycopg.Connection) -> None:
        """In the transaction of `conn`: the consumer is parked by us, and stays so until the transaction ends.

        Should the request expire meanwhile, the consumer can take its row away, and so go on, only afterwards. Raises
        RetryableError where it has gone on already.
        """
        row = conn.execute(
            "select 1 from _cdc.barrier where pipeline = %s and id = %s and state = 'parked' "
            "and expires_at > clock_timestamp() for update",
            [self._rt.name, self._id],
        ).fetchone()
        if row is None:
            raise RetryableError(
                f"pipeline {self._rt.name}: the consumer went on before it was to; nothing was changed",
                "the same command, run again, goes on from here.",
            )

    def check_consumer(self) -> None:
        """Raises RetryableError where the consumer ended, or is another process by now: that one doesn't know us."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_S
        consumer = consumer_at_work(self._rt)
        if consumer is None or consumer != self._consumer:
            raise RetryableError(
                f"pipeline {self._rt.name}: the consumer "
                f"{'ended' if consumer is None else 'was started anew'} while it was to stand still",
                f"look at `cdc status {self._rt.name}`, then try again.",
            )

    def wait_for(self, state: str) -> None:
        """Wait until the consumer has set `state`. Raises RetryableError after the deadline, or when it has ended."""
        name = self._rt.name
        end = time.monotonic() + self._deadline_s
        while self.state() != state:
            self.check_consumer()
            if time.monotonic() > end:
                raise RetryableError(
                    f"pipeline {name}: the consumer did not come to a stop ({state}) within {self._deadline_s:.0f} s",
                    f"it may be applying a long transaction or be far behind: look at `cdc status {name}`, try later.",
                )
            time.sleep(_POLL_S)
