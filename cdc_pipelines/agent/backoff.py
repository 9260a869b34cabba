"""When a consumer that died may be started again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

FIRST_S = 1.0
MOST_S = 60.0
HEALTHY_AFTER_S = 60.0


@dataclass
class Backoff:
    """Delays of 1, 2, 4 … 60 seconds; from 1 again after a process that lived for HEALTHY_AFTER_S."""

    clock: Callable[[], float] = time.monotonic
    failures: int = 0
    due_at: float = field(default=0.0)

    def failed(self, lived_s: float) -> float:
        """A process died after that long; returns the seconds until the next may start."""
        if lived_s >= HEALTHY_AFTER_S:
            self.failures = 0
        delay = min(MOST_S, FIRST_S * (1 << min(self.failures, 10)))
        self.failures += 1
        self.due_at = self.clock() + delay
        return delay

    def due(self) -> bool:
        return self.clock() >= self.due_at
