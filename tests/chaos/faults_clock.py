"""The clock of the consumer's host jumps: libfaketime, out of Debian's package, for our processes only."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from cdc_pipelines.stack.debian import package_root
from cdc_pipelines.stack.layout import discover
from tests.chaos.arena import Arena
from tests.chaos.fault import Fault
from tests.chaos.faults_processes import consumers, kill
from tests.conftest import PROJECT


def clock_jumps(arena: Arena, random: Random) -> None:
    file = arena.home / "clock"
    file.write_text("+0\n")
    with _agent_with_clock(arena, str(file)):
        deadline = time.monotonic() + 30
        while not consumers(arena) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(random.uniform(1, 6))
        for _ in range(random.randint(1, 2)):
            file.write_text(f"{random.choice((-1, 1)) * random.randint(60, 100_000):+d}\n")
            time.sleep(random.uniform(2, 8))
        file.write_text("+0\n")
        time.sleep(random.uniform(1, 3))


@contextmanager
def _agent_with_clock(arena: Arena, file: str) -> Iterator[None]:
    """Within, agent and consumer read the time from a file; before and after they are others."""
    root = package_root("faketime", discover().parts / "faketime", "bookworm", ("libfaketime",)).path
    library = next(root.glob("usr/lib/*/faketime/libfaketimeMT.so.1"))
    faked = {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": file, "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    _end_ours(arena)
    with (arena.home / "agent-with-clock.log").open("ab") as log:
        agent = subprocess.Popen(
            [sys.executable, "-m", "cdc_pipelines.cli", "agent"], cwd=PROJECT, env=os.environ | faked,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield
        assert agent.poll() is None, f"the agent ended ({agent.returncode}) while its clock jumped"
    finally:
        _end_ours(arena)
        agent.wait(10)


def _end_ours(arena: Arena) -> None:
    for process in [*arena.ours("agent"), *consumers(arena)]:
        kill(process)


CLOCK: dict[str, Fault] = {"clock jumps": clock_jumps}
