"""Looks at all pipelines' servers now and then, beside the scrapes: none of them waits for a server that hangs."""

import logging
import threading
import time
from typing import Any

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.health.rounds import started_pipelines, statuses

EVERY_S = 30.0
FORGOTTEN_AFTER_S = 300.0

_log = logging.getLogger("cdc.metrics")


class Looks(threading.Thread):
    """The status of every pipeline that was started, renewed every `every_s` until `close()`."""

    def __init__(self, store: ControlStore, *, every_s: float = EVERY_S) -> None:
        super().__init__(name="looks", daemon=True)
        self._store, self._every_s = store, every_s
        self._closing = threading.Event()
        self._last: tuple[float, dict[str, Any]] | None = None
        self._trouble = ""

    def last(self) -> tuple[float, dict[str, Any]] | None:
        """(age in seconds, status by pipeline); None where there is none that still tells something."""
        if self._last is None:
            return None
        at, found = self._last
        age = time.monotonic() - at
        return (age, found) if age < FORGOTTEN_AFTER_S else None

    def run(self) -> None:
        while not self._closing.is_set():
            self.look()
            self._closing.wait(self._every_s)

    def look(self) -> None:
        """Now, in the caller's thread."""
        try:
            records = started_pipelines(self._store)
            found = statuses(self._store, records)
            self._last = (time.monotonic(), {r.name: each for r, each in zip(records, found, strict=True)})
            self._trouble = ""
        except Exception as error:  # noqa: BLE001 (metrics must not end with one look that failed)
            words = secrets.redact(f"{type(error).__name__}: {error}")
            if words != self._trouble:
                _log.warning("metrics: the pipelines can't be looked at: %s", words)
            self._trouble = words

    def close(self) -> None:
        self._closing.set()
