"""The consumer's heartbeat: a thread that tells the control store how the consumer is doing.

It never stops the consumer: a locked or absent store only means that this beat is lost.
"""

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version

from cdc_pipelines.replication import processes
from cdc_pipelines.replication.control.assignments import HELD_S
from cdc_pipelines.replication.control.store import ControlStore, Heartbeat
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.secrets import redact

INTERVAL_S = 3.0  # each beat also holds the pipeline for this host, for little more than twice as long


class Pulse(threading.Thread):
    """Beats every INTERVAL_S, and at once where `now()` is called.

    `overtaken_by`: another host that has the pipeline now, while it once was this one's.
    """

    def __init__(
        self, store: ControlStore, pipeline: str, group: str, look: Callable[[Heartbeat], None] = lambda beat: None
    ) -> None:
        """`look` brings a beat up to date before it is sent."""
        super().__init__(name="pulse", daemon=True)
        self._look = look
        self._store = store
        self._wake = threading.Event()
        self._ending = False
        self._held_until = 0.0
        self.overtaken_by: str | None = None
        self.beat = Heartbeat(
            pipeline=pipeline,
            group=group,
            pid=os.getpid(),
            host=processes.host(),
            version=version("cdc-pipelines"),
            state="starting",
            at=datetime.now(UTC),
        )

    @property
    def holds(self) -> bool:
        """Whether the pipeline is this host's. No longer where this process was frozen since its last beat."""
        return time.monotonic() < self._held_until

    def now(self, state: str | None = None, message: str | None = None) -> None:
        if state is not None:
            self.beat.state = state
        if message is not None:
            self.beat.message = redact(message)
        self._wake.set()

    def run(self) -> None:
        while not self._ending:
            self._look(self.beat)
            self._send()
            self._wake.wait(INTERVAL_S)
            self._wake.clear()

    def end(self, state: str, message: str = "") -> None:
        """The last beat, sent by the caller's own thread so that it is out before the process ends."""
        self._ending = True
        self._wake.set()
        self.join(timeout=5)
        self.beat.state, self.beat.message = state, redact(message)
        self._send()

    def _send(self) -> None:
        self.beat.at = datetime.now(UTC)
        asked_at = time.monotonic()
        if self._store.beat(self.beat):
            self._held_until, self.overtaken_by = asked_at + HELD_S, None
        elif self._held_until and not self._ending:
            self._ask_who_has_it()

    def _ask_who_has_it(self) -> None:
        """A beat that was lost says nothing: the store may be out of reach, and the stream goes on without it."""
        try:
            host = self._store.assigned_to(self.beat.pipeline)
        except CdcError:
            return
        self.overtaken_by = host if host != self.beat.host else None


def moment(monotonic_s: float) -> datetime | None:
    """A reading of `time.monotonic()` as wall-clock time; None for 0, which means never."""
    if not monotonic_s:
        return None
    return datetime.fromtimestamp(time.time() - (time.monotonic() - monotonic_s), UTC)
