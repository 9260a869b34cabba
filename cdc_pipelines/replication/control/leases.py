"""One operation at a time per pipeline: a lease, compare-and-swap with an expiry, renewed by a thread."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import delete, or_, select, update

from cdc_pipelines.replication import processes
from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.base import StoreBase
from cdc_pipelines.replication.control.engine import now
from cdc_pipelines.replication.control.records import LeaseInfo
from cdc_pipelines.replication.errors import CdcError, FencedError, LeaseHeldError, RetryableError

_POLL_S = 0.25

# How often this process is inside a lease: (store, pipeline, holder) → depth. Only the outermost gives it back.
_depths: dict[tuple[str, str, str], int] = {}
_depths_lock = threading.RLock()


class LeaseStore(StoreBase):
    """Leases by pipeline."""

    id: str

    @contextmanager
    def lease(
        self, pipeline: str, holder: str, operation: str, *, ttl_s: float = 30, wait_s: float = 0, keep: bool = False
    ) -> Iterator["Lease"]:
        """Hold the pipeline for an operation; raises LeaseHeldError where another holder has it for `wait_s` longer.

        The same holder may enter again, also from other processes: the steps of one run share one holder. With
        `keep` it stays the holder's after the exit, for `ttl_s` at most, until it enters again or `release` is
        called. Without, the holder is this one process, and should it die the lease ends with it.
        """
        key = (self.id, pipeline, holder)
        with _depths_lock:  # counted before it is had, so that no other thread of ours gives it back meanwhile
            _depths[key] = _depths.get(key, 0) + 1
        try:
            self._acquire(pipeline, holder, operation, ttl_s, wait_s, keep)
        except BaseException:
            _go_out(key)
            raise
        lease = Lease(self, pipeline, holder, operation, ttl_s)
        try:
            yield lease
        finally:
            lease.end()
            with _depths_lock:
                if _go_out(key):
                    self._leave(lease, keep)

    def _leave(self, lease: "Lease", keep: bool) -> None:
        """Failing to give it back must not hide how the operation itself ended: the lease runs out anyway."""
        try:
            if keep:
                self._renew(lease.pipeline, lease.holder, lease.ttl_s)
            else:
                self.release(lease.pipeline, lease.holder)
        except CdcError:
            pass

    def release(self, pipeline: str, holder: str) -> bool:
        """Give the pipeline back, whatever processes of the holder are inside. False where the holder hadn't it."""
        t = models.leases
        with self._write() as connection:
            done = connection.execute(delete(t).where(t.c.pipeline == pipeline, t.c.holder == holder)).rowcount
        return bool(done)

    def lease_info(self, pipeline: str) -> LeaseInfo | None:
        """Who holds the pipeline; None where nobody does (any more)."""
        t = models.leases
        with self._read() as connection:
            row = connection.execute(select(t).where(t.c.pipeline == pipeline)).first()
            left = (row.expires_at - now(connection)).total_seconds() if row is not None else 0.0
        if row is None or left <= 0 or _is_dead(row.place, row.pid, row.born):
            return None
        return LeaseInfo(row.pipeline, row.holder, row.operation, row.acquired_at, left)

    def _acquire(
        self, pipeline: str, holder: str, operation: str, ttl_s: float, wait_s: float, keep: bool
    ) -> None:
        deadline = time.monotonic() + wait_s
        while not self._try_acquire(pipeline, holder, operation, ttl_s, keep):
            if time.monotonic() >= deadline:
                held = self.lease_info(pipeline)
                if held is None:
                    continue  # it was given back between the two looks
                raise LeaseHeldError(
                    f"pipeline {pipeline} is held by {held.holder} for `{held.operation}` "
                    f"(since {held.acquired_at:%Y-%m-%d %H:%M:%S} UTC; {held.seconds_left:.0f} s left unless renewed)",
                    "wait until that ends, or end it; a holder that died lets go when its seconds are over.",
                )
            time.sleep(min(_POLL_S, max(0.01, deadline - time.monotonic())))

    def _try_acquire(self, pipeline: str, holder: str, operation: str, ttl_s: float, keep: bool) -> bool:
        t = models.leases
        self._bury(pipeline)
        with self._write() as connection:
            moment = now(connection)
            values = {
                "holder": holder,
                "operation": operation,
                "acquired_at": moment,
                "expires_at": moment + timedelta(seconds=ttl_s),
                # Several processes may share a kept lease: then the death of one says nothing.
                "place": None if keep else processes.place(),
                "pid": None if keep else os.getpid(),
                "born": None if keep else processes.birth(os.getpid()),
            }
            statement = self._insert(t).values(values | {"pipeline": pipeline})
            swapped = connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[t.c.pipeline],
                    set_=values,
                    where=or_(t.c.holder == holder, t.c.expires_at <= moment),
                ).returning(t.c.pipeline)
            ).first()
        return swapped is not None

    def _bury(self, pipeline: str) -> None:
        """Take the lease away from a holder of our own place that died: nobody need wait for the expiry."""
        t = models.leases
        with self._read() as connection:
            row = connection.execute(select(t).where(t.c.pipeline == pipeline)).first()
        if row is not None and _is_dead(row.place, row.pid, row.born):
            same = [t.c.pipeline == pipeline, t.c.holder == row.holder, t.c.pid == row.pid, t.c.born == row.born]
            with self._write() as connection:
                connection.execute(delete(t).where(*same))

    def _renew(self, pipeline: str, holder: str, ttl_s: float) -> bool:
        """False where it is no longer the holder's. One that ran out, and that nobody took, is had again."""
        t = models.leases
        with self._write() as connection:
            until = now(connection) + timedelta(seconds=ttl_s)
            return bool(
                connection.execute(
                    update(t).where(t.c.pipeline == pipeline, t.c.holder == holder).values(expires_at=until)
                ).rowcount
            )


def _go_out(key: tuple[str, str, str]) -> bool:
    """Whether that was the outermost."""
    with _depths_lock:
        _depths[key] -= 1
        if _depths[key]:
            return False
        del _depths[key]
        return True


class Lease:
    """A lease that is held: renewed every fifth of its time until `end`."""

    def __init__(self, store: LeaseStore, pipeline: str, holder: str, operation: str, ttl_s: float) -> None:
        self.pipeline, self.holder, self.operation, self.ttl_s = pipeline, holder, operation, ttl_s
        self._store = store
        self._taken = False
        self._good_until = time.monotonic() + ttl_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name=f"lease {pipeline}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises FencedError where somebody else has the pipeline now, RetryableError where it could not be renewed."""
        if self._taken:
            raise FencedError(
                f"pipeline {self.pipeline} is no longer held by {self.holder} for `{self.operation}`: it was given "
                "back or taken over", "end this process; what it did so far is safe."
            )
        if time.monotonic() > self._good_until:
            raise RetryableError(
                f"the lease of {self.holder} on pipeline {self.pipeline} could not be renewed for {self.ttl_s:.0f} s",
                "the control store was out of reach; run the same command again.",
            )

    def end(self) -> None:
        """Stop renewing."""
        self._ended.set()
        self._thread.join(timeout=self.ttl_s)

    def _keep_up(self) -> None:
        while not self._ended.wait(self.ttl_s / 5):
            started = time.monotonic()
            try:
                mine = self._store._renew(self.pipeline, self.holder, self.ttl_s)
            except CdcError:
                continue  # the next try comes before the lease runs out; `check` tells if none succeeds
            if not mine:
                self._taken = True
                return
            self._good_until = started + self.ttl_s


def _is_dead(place: str | None, pid: int | None, born: str | None) -> bool:
    """Whether the one process that holds a lease is known to be gone. Elsewhere, or shared: not known."""
    return place == processes.place() and pid is not None and not processes.alive(pid, born)
