"""Statuses that many people ask for at once, looked at once; and how the lag went, as long as this process lives."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.daemon_pool import DaemonPool
from cdc_pipelines.replication.health.facts import iso
from cdc_pipelines.replication.health.status import status
from cdc_pipelines.replication.operations.runtime import Runtime

Facts = dict[str, Any]
Look = Callable[[PipelineRecord], Facts]

SAMPLE_EVERY_S = 15.0
KEPT = 960  # four hours
FRESH_S = 2.0
_AT_ONCE = 4
_PATIENCE_S = 40.0
_log = logging.getLogger("cdc.web")


@dataclass(frozen=True)
class Sample:
    """One look: lag in seconds and in records of the change log; None while unknown."""

    at: datetime
    lag_seconds: float | None
    lag_messages: int | None
    overall: str

    def to_dict(self) -> Facts:
        return {
            "at": iso(self.at), "lag_seconds": self.lag_seconds, "lag_messages": self.lag_messages,
            "overall": self.overall,
        }


@dataclass
class _Watched:
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: Facts | None = None
    seen_at: float = float("-inf")
    changed: bool = False
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=KEPT))


class Watch:
    """`look` makes a pipeline's status; by default it asks all of its servers, impatiently."""

    def __init__(self, store: ControlStore, look: Look | None = None, *, every_s: float = SAMPLE_EVERY_S) -> None:
        self._store = store
        self._look = look or self._ask
        self._every_s = every_s
        self._watched: dict[str, _Watched] = {}
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def status(self, record: PipelineRecord, *, fresh_s: float = FRESH_S) -> Facts:
        """The status, at most `fresh_s` old; older where somebody else's look is under way, so that nobody queues.

        Raises RetryableError where the control store is out of reach.
        """
        watched = self._of(record.name)
        known = self.last(record.name)
        if not watched.lock.acquire(blocking=known is None):
            assert known is not None
            return known
        try:
            if watched.seen is None or watched.changed or time.monotonic() - watched.seen_at > fresh_s:
                watched.changed = False
                watched.seen = self._look(record)
                watched.seen_at = time.monotonic()
            return watched.seen
        finally:
            watched.lock.release()

    def last(self, name: str) -> Facts | None:
        """What was seen last, without looking; None: nothing yet, or too long ago."""
        watched = self._of(name)
        recent = time.monotonic() - watched.seen_at < 4 * self._every_s + _PATIENCE_S
        return watched.seen if recent else None

    def last_of_all(self) -> tuple[float, dict[str, Facts]] | None:
        """The age of the oldest in seconds, and what was seen last by pipeline; None where there is nothing."""
        with self._guard:
            names = list(self._watched)
        seen = {name: facts for name in names if (facts := self.last(name)) is not None}
        if not seen:
            return None
        return max(time.monotonic() - self._of(name).seen_at for name in seen), seen

    def look_again(self, name: str) -> None:
        """Something was done about the pipeline: the next who asks looks again."""
        self._of(name).changed = True

    def history(self, name: str) -> list[Sample]:
        """The oldest first."""
        return list(self._of(name).samples)

    def start(self) -> None:
        """Look at all pipelines again and again, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def sample(self) -> None:
        """Look once at all pipelines that were ever started. What was seen of one before a teardown is forgotten."""
        records = [record for record in self._store.list() if record.status != "configured"]
        with self._guard:
            for name in self._watched.keys() - {record.name for record in records}:
                self._watched[name].samples.clear()
        pool = DaemonPool(_AT_ONCE, "watch")
        try:
            wait([pool.submit(self._sample, record) for record in records], timeout=_PATIENCE_S)
        finally:
            pool.leave()

    def _sample(self, record: PipelineRecord) -> None:
        try:
            facts = self.status(record)
        except Exception as error:  # noqa: BLE001 - one pipeline's trouble must not end the others' history
            _log.warning("pipeline %s: no status: %s: %s", record.name, type(error).__name__, error)
            return
        lag = facts["lag"]
        self._of(record.name).samples.append(
            Sample(datetime.now(UTC), lag["seconds"], lag["messages"], facts["overall"])
        )

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.sample()
            except Exception as error:  # noqa: BLE001 - the store may be back at the next round
                _log.warning("no round of statuses: %s: %s", type(error).__name__, error)
            self._stop.wait(self._every_s)

    def _ask(self, record: PipelineRecord) -> Facts:
        with Runtime(record, self._store, impatient=True) as rt:
            return status(rt)

    def _of(self, name: str) -> _Watched:
        with self._guard:
            return self._watched.setdefault(name, _Watched())
