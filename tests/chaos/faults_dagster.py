"""A run of Dagster is killed while it copies, on a real Dagster that is there for the fault; then it is run again.

By Dagster itself, which notices that the run's process is gone; by a person, who launches the same job, also beside
that repetition; and by a person alone where all of Dagster died with the run, so that nobody knows that it is over.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import psutil

from cdc_pipelines.dagster_client import ENDED
from cdc_pipelines.demo.dagster_server import DagsterHome, DagsterServer, Storage
from tests.chaos.arena import Arena
from tests.chaos.fault import Fault
from tests.chaos.faults_operations import LANES
from tests.conftest import PROJECT

_ENDS_S = 300.0
_STEPS = {
    "start_replication": (
        "validate_prerequisites", "plan_copy", "copy_shard", "check_copy", "create_connector", "start_consumer",
    ),
    "resync_tables": ("copy_tables_again",),
}  # fmt: skip


def start_killed(arena: Arena, random: Random) -> None:
    """A resync of the whole pipeline, killed at any of its steps."""
    with arena.observer.away(), _dagster(arena) as server:
        _kill_and_run_again(arena, server, random, "start_replication", {"force_resync": True})


def table_resync_killed(arena: Arena, random: Random) -> None:
    with _dagster(arena) as server:
        _kill_and_run_again(arena, server, random, "resync_tables", {"tables": [random.choice(LANES)]})


def _kill_and_run_again(
    arena: Arena, server: DagsterServer, random: Random, job: str, config: dict[str, Any]
) -> None:
    config["pipeline"] = "chaos"
    run = server.client().launch(job, config)
    repetition, killed = None, False
    if _kill(arena, server, random, run):
        # Dagster repeats a run once, and knows that this one is over. Half of the time the repetition dies as well.
        repetition = _wait(lambda: server.client().retries_of(run), "the run that Dagster launches by itself", 180)[0]
        killed = random.random() < 0.5 and _kill(arena, server, random, repetition)
    # What was thrown away is thrown away: the job that is run again finishes the copy.
    again = server.client().launch(job, config | ({"force_resync": False} if "force_resync" in config else {}))
    server.client().succeed(again, timeout_s=_ENDS_S)
    if repetition is not None and not killed and _is_known_to_dagster(server, repetition):
        server.client().wait(repetition, timeout_s=_ENDS_S)
        told = server.client().failures(repetition)
        assert all("is held by" in each for each in told), told  # by the one that a person launched beside it


def _kill(arena: Arena, server: DagsterServer, random: Random, run: str) -> bool:
    """In any of its steps. Whether Dagster knows that it failed; not so where it was over, or Dagster died as well."""
    client, job = server.client(), server.client().run(run).job
    steps = _STEPS[job]
    at = steps.index(random.choice(steps + ("copy_shard",) * 3)) if "copy_shard" in steps else 0

    def begun() -> bool:
        """A repetition leaves out the steps that were done."""
        now = client.run(run)
        return now.status in ENDED or any(name.startswith(steps[at:]) for name in now.steps)

    _wait(begun, f"{steps[at]} of {job}", 180)
    time.sleep(random.uniform(0, 3))
    whom = random.choice(("the run alone", "the run and its steps", "the run and its steps", "all of Dagster"))
    found = client.run(run)
    told = ", ".join(f"{step} {state.lower()}" for step, state in found.steps.items())
    arena.say(f"  kill -9 of {whom}: {job} is {found.status.lower()}: {told or 'no step yet'}")
    if found.status in ENDED:
        return False
    if whom == "all of Dagster":
        for process in server.processes.values():
            _kill_tree(process.pid)
        server.start()
        return False
    for process in _processes(server, run):
        if whom == "the run alone":
            _kill_one(process)  # its steps are orphans, and some of them work on
        else:
            _kill_tree(process.pid)
    return client.wait(run, timeout_s=120).status == "FAILURE"


def _processes(server: DagsterServer, run: str) -> list[psutil.Process]:
    """The process that carries out a run, as its events tell; the steps' are its children."""
    told = " ".join(event.get("message") or "" for event in server.client().events(run))
    pids = {int(pid) for pid in re.findall(r"\(pid: (\d+)\)", told)}
    found = [child for child in _family(server.processes["code-server"].pid) if child.pid in pids]
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process for process in found if not any(parent in found for parent in process.parents())]
    return []  # it ended just now


def _is_known_to_dagster(server: DagsterServer, run: str) -> bool:
    """Whether its end can be waited for: of one that died with all of Dagster nobody hears."""
    return bool(_processes(server, run)) or server.client().run(run).status in {*ENDED, "QUEUED"}


def _family(pid: int) -> list[psutil.Process]:
    """Its descendants; not the consumers' agent, which lives in a session of its own."""
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        session = os.getsid(pid)
        return [c for c in psutil.Process(pid).children(recursive=True) if os.getsid(c.pid) == session]
    return []


def _kill_tree(pid: int) -> None:
    children = _family(pid)
    with contextlib.suppress(psutil.NoSuchProcess):
        _kill_one(psutil.Process(pid))
    for child in children:
        _kill_one(child)


def _kill_one(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def _wait(condition: Callable[[], Any], what: str, timeout_s: float) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.2)
    return value


@contextlib.contextmanager
def _dagster(arena: Arena) -> Iterator[DagsterServer]:
    """As in production, its runs in a database; gone after the fault, as it would take the machine from the others."""
    access = arena.stack.postgres
    storage = Storage(access.host, access.port, "dagster", access.user, access.password)
    home = DagsterHome.create(
        arena.home / "dagster", project=PROJECT, storage=storage, environment={"CDC_PIPELINES_DIR": str(arena.home)}
    )
    server = DagsterServer(home)
    try:
        server.start()
        yield server
    finally:
        server.stop()


DAGSTER: dict[str, Fault] = {
    "kill -9 Dagster run": start_killed,
    "kill -9 Dagster run for a table": table_resync_killed,
}
