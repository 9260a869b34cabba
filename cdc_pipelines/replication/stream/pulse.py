"""The consumer's heartbeat: a thread that tells the control store how the consumer is doing.

It never stops the consumer: a locked or absent store only means that this beat is lost.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version

from cdc_pipelines.replication.control.store import ControlStore, Heartbeat
from cdc_pipelines.replication.secrets import redact

INTERVAL_S = 10.0


class Pulse(threading.Thread):
    """Beats every INTERVAL_S, and at once where `now()` is called."""

    def __init__(
        self, store: ControlStore, pipeline: str, group: str, look: Callable[[Heartbeat], None] = lambda beat: None
    ) -> None:
        """`look` brings a beat up to date before it is sent."""
        super().__init__(name="pulse", daemon=True)
        self._look = look
        self._store = store
        self._wake = threading.Event()
        self._ending = False
        self.beat = Heartbeat(
            pipeline=pipeline,
            group=group,
            pid=os.getpid(),
            host=socket.gethostname(),
            version=version("cdc-pipelines"),
            state="starting",
            at=datetime.now(UTC),
        )

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
        self._store.beat(self.beat)


def moment(monotonic_s: float) -> datetime | None:
    """A reading of `time.monotonic()` as wall-clock time; None for 0, which means never."""
    if not monotonic_s:
        return None
    return datetime.fromtimestamp(time.time() - (time.monotonic() - monotonic_s), UTC)
