"""What a refused change leads to: its stretch is read again with care, its table set apart, or the pipeline stopped."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from cdc_pipelines.replication.errors import IntegrityError
from cdc_pipelines.replication.stream.refusal import RefusedError

MOST_TABLES, WITHIN_S = 20, 60.0
"""More tables than that refused within that time: then it is not their rows."""


class Quarantine:
    """One consumer's refusals. `allowed` is the pipeline's setting."""

    def __init__(self, allowed: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowed, self._clock = allowed, clock
        self._times: deque[float] = deque(maxlen=MOST_TABLES)
        self.careful_until = 0
        """The log's offset up to which each source transaction is applied by itself, its events at hand."""

    def judge(self, refusal: RefusedError, *, live: int, fetched: int) -> Sequence[RefusedError]:
        """The refusals whose tables are to stand apart; none where the stretch must be read again to find the event.

        `live`: tables that do not stand apart yet; `fetched`: the log's offset behind all that may have been in the
        refused run. Raises the refusal, or an IntegrityError that tells of it, where the pipeline must stop.
        """
        if not self._allowed:
            raise refusal
        if refusal.event is None:
            self.careful_until = fetched
            return ()
        if live <= 1:
            # Nothing would go on beside it; and where the stream stands still, nothing need be copied again.
            raise refusal
        now = self._clock()
        if len(self._times) == MOST_TABLES and now - self._times[0] < WITHIN_S:
            raise IntegrityError(
                f"{MOST_TABLES + 1} tables were refused within {WITHIN_S:.0f} seconds, so it is not their rows; the "
                f"last one: {refusal.message}",
                "mend the target (its tables may be those of something else), then `cdc start NAME`; "
                "`cdc quarantine list NAME` names the tables that stand apart.",
            )
        self._times.append(now)
        return (refusal,)
