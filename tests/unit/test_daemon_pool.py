"""Calls side by side, of which one that hangs holds up nobody."""

import subprocess
import sys
import threading
from concurrent.futures import CancelledError, wait

import pytest

from cdc_pipelines.replication.daemon_pool import DaemonPool
from tests.conftest import PROJECT


def test_so_many_at_once_and_no_more() -> None:
    pool = DaemonPool(2, "test")
    go, both, seen = threading.Event(), threading.Barrier(3), []

    def call(number: int) -> int:
        seen.append(number)
        if number < 2:
            both.wait(10)
            go.wait(10)
        return number * 2

    futures = [pool.submit(call, number) for number in range(5)]
    both.wait(10)
    assert sorted(seen) == [0, 1], "the others wait"
    go.set()
    assert [future.result(10) for future in futures] == [0, 2, 4, 6, 8]
    assert pool.submit(call, 7).result(10) == 14, "and it can be used again"


def test_errors_are_told_and_what_has_not_begun_is_cancelled() -> None:
    pool = DaemonPool(1, "test")
    go = threading.Event()
    begun = threading.Event()

    def fail() -> None:
        begun.set()
        go.wait(10)
        raise ValueError("no")

    failing, never = pool.submit(fail), pool.submit(fail)
    assert begun.wait(10)
    pool.leave()
    with pytest.raises(CancelledError):
        never.result(10)
    go.set()
    wait([failing], 10)
    assert isinstance(failing.exception(), ValueError)


def test_a_process_ends_while_a_call_hangs() -> None:
    program = (
        "import time; from cdc_pipelines.replication.daemon_pool import DaemonPool\n"
        "pool = DaemonPool(1, 'test'); pool.submit(time.sleep, 600); pool.leave()"
    )
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, timeout=60, check=True)
