"""Let a step show what it has done while it is still doing it.

Dagster stores the events of a step when its function yields. A copy that only returned at its end would show an
empty progress bar for an hour. So the work runs in a thread and hands over one event after the other.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

E = TypeVar("E")

_MOST_WAITING = 1000  # events; a slow event log slows the work down rather than filling memory


class _End:
    """What the thread sends last: how the work ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Relay(Generic[E]):
    """Runs `work(emit)` in a thread; iterating yields what it emits, in order, and raises what it raises.

    If the reader stops early (the run was cancelled), the next `emit` raises `Cancelled` inside the work.
    """

    def __init__(self, work: Callable[[Callable[[E], None]], None], *, name: str) -> None:
        self._work = work
        self._name = name
        self._events: queue.Queue[E | _End] = queue.Queue(_MOST_WAITING)
        self._cancelled = threading.Event()

    def __iter__(self) -> Iterator[E]:
        # A daemon: a cancelled run must not wait for a chunk to end. Its target transaction is rolled back.
        threading.Thread(target=self._run, name=self._name, daemon=True).start()
        try:
            while True:
                event = self._events.get()
                if isinstance(event, _End):
                    if event.error is not None:
                        raise event.error
                    return
                yield event
        finally:
            self._cancelled.set()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._work(self._emit)
        except BaseException as raised:  # noqa: BLE001 - handed to the reader, which raises it
            error = raised
        self._put(_End(error))

    def _emit(self, event: E) -> None:
        if self._cancelled.is_set():
            raise Cancelled
        self._put(event)

    def _put(self, event: E | _End) -> None:
        while not self._cancelled.is_set():
            try:
                return self._events.put(event, timeout=1)
            except queue.Full:
                continue


class Cancelled(Exception):  # noqa: N818 - not an error: the reader went away
    """The run that wanted these events was cancelled."""
