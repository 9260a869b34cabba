"""Calls side by side in threads that keep no process alive: one that hangs may be left behind.

The standard library's pool joins its threads when the interpreter ends, however long they still take.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonPool:
    """At most `at_once` calls at a time, in the order in which they were submitted."""

    def __init__(self, at_once: int, name: str) -> None:
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._at_once, self._name = at_once, name
        self._lock = threading.Lock()
        self._workers = 0

    def submit(self, call: Callable[..., T], *words: Any) -> "Future[T]":
        future: Future[T] = Future()
        self._waiting.put((future, lambda: call(*words)))
        with self._lock:
            if self._workers < self._at_once:
                self._workers += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._workers}", daemon=True).start()
        return future

    def leave(self) -> None:
        """Cancel what has not begun; what has goes on, and nobody waits for it."""
        while (waiting := self._next()) is not None:
            waiting[0].cancel()

    def _next(self) -> tuple["Future[Any]", Callable[[], Any]] | None:
        try:
            return self._waiting.get_nowait()
        except queue.Empty:
            return None

    def _work(self) -> None:
        while True:
            with self._lock:
                waiting = self._next()
                if waiting is None:
                    self._workers -= 1
                    return
            future, call = waiting
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 (told to whoever asks for the result)
                future.set_exception(error)
