"""Who watches while faults strike: a beat on the source, and an observer of balances and beats on the target."""

import contextlib
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
import pymysql

from tests.chaos.workload import BANK, SUM

_BEAT_S = 0.1
_LOOK_S = 0.04
_STALL_S = 1.0


class Beats(threading.Thread):
    """Commits a growing number on the source, several times a second; knows when each was committed."""

    def __init__(self, connect: Callable[[], pymysql.Connection]) -> None:
        super().__init__(name="beats", daemon=True)
        self._connect = connect
        self._over, self._lock = threading.Event(), threading.Lock()
        self.going = threading.Event()
        self.going.set()
        self.last = 0
        self._committed: deque[tuple[int, float]] = deque()

    def run(self) -> None:
        connection: pymysql.Connection | None = None
        while not self._over.is_set():
            if self.going.wait(0.2):
                try:
                    connection = connection or self._connect()
                    self.beat(connection, only_if_going=True)
                except (pymysql.err.MySQLError, OSError):
                    connection = None  # whether the last one was committed, nobody knows: the next says more
            self._over.wait(_BEAT_S)

    def beat(self, connection: pymysql.Connection, *, only_if_going: bool = False) -> int:
        with self._lock:
            if only_if_going and not self.going.is_set():
                return self.last
            number = self.last + 1
            with connection.cursor() as cursor:
                cursor.execute(f"update beat set n = {number}")
            self.last = number
            self._committed.append((number, time.monotonic()))
            return number

    def last_words(self) -> int:
        """Beat once more, and no more until `going` is set again; the number."""
        self.going.clear()
        with self._connect() as connection:
            return self.beat(connection)

    def waiting_since(self, seen: int) -> float | None:
        """When the first beat after `seen` was committed; None where there is none. What was seen is forgotten."""
        with self._lock:
            while self._committed and self._committed[0][0] <= seen:
                self._committed.popleft()
            return self._committed[0][1] if self._committed else None

    def end(self) -> None:
        self._over.set()
        self.join(10)


@dataclass
class Stalls:
    """Seconds in which the target applied nothing while the source committed, by what was done when they began."""

    during: str = "nothing"
    blamed: str | None = None
    longest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    seen: int = 0
    advanced_at: float = field(default_factory=time.monotonic)
    behind_s: float = 0.0  # the age of the oldest commit that the target has not

    def look(self, beats: Beats, seen: int | None) -> None:
        """`seen` is the target's beat, None where it could not be read."""
        moment = time.monotonic()
        if seen is not None and seen > self.seen:
            self.seen, self.advanced_at = seen, moment
        since = beats.waiting_since(self.seen)
        self.behind_s = moment - since if since is not None else 0.0
        stall_s = moment - max(since, self.advanced_at) if since is not None else 0.0
        if stall_s < _STALL_S:
            self.blamed = None
        else:
            self.blamed = self.blamed or self.during
        name = self.blamed or self.during
        self.longest[name] = max(self.longest[name], stall_s)


class Observer(threading.Thread):
    """Reads all balances and the beat on the target in one snapshot, many times a second."""

    def __init__(self, connect: Callable[[], psycopg.Connection], beats: Beats) -> None:
        super().__init__(name="observer", daemon=True)
        self._connect, self._beats = connect, beats
        self.looks, self.wrong = 0, list[str]()
        self.stalls = Stalls()
        self.watching, self._over = threading.Event(), threading.Event()

    def run(self) -> None:
        connection: psycopg.Connection | None = None
        while not self._over.is_set():
            beat: int | None = None
            try:
                connection = connection or self._connect()
                watched = self.watching.is_set()
                row = connection.execute(f"select ({BANK}), (select n from beat)").fetchone()
                assert row is not None
                total, beat = row
                if watched and self.watching.is_set():
                    self.looks += 1
                    if total != SUM:
                        self.wrong.append(f"{total} instead of {SUM}, {self.stalls.during}")
            except psycopg.errors.UndefinedTable:
                pass
            except psycopg.Error:
                connection = None
                time.sleep(0.2)
            self.stalls.look(self._beats, beat)
            self._over.wait(_LOOK_S)

    def passed(self, number: int, timeout_s: float, *, moves: Callable[[], object] = lambda: None) -> bool:
        """Wait until the target has beat `number`; False where for `timeout_s` neither it nor `moves()` moved."""
        last, since = (self.stalls.seen, moves()), time.monotonic()
        while self.stalls.seen < number:
            now = (self.stalls.seen, moves())
            if now != last:
                last, since = now, time.monotonic()
            if time.monotonic() - since > timeout_s:
                return False
            time.sleep(0.1)
        return True

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Within, the target may stand at no state of the source: it is copied anew."""
        self.watching.clear()
        yield
        # Chunks have positions of their own: only what is committed from now on lies behind all of them.
        assert self.passed(self._beats.last + 1, 120), "the target's beat stands still after a new copy"
        self.watching.set()

    def end(self) -> None:
        self._over.set()
        self.join(10)
