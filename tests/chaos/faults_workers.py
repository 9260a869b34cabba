"""A second worker of Kafka Connect: it takes over when the first one dies or freezes, and gives back when it dies."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import requests

from cdc_pipelines.demo.dagster_server import free_port
from cdc_pipelines.stack.connect import Connect
from cdc_pipelines.stack.layout import discover
from cdc_pipelines.stack.settings import HOST, load_env
from tests.chaos.arena import Arena
from tests.chaos.fault import Fault
from tests.chaos.faults_processes import kill

_MOVES_S = 180


@dataclass(frozen=True)
class _Worker:
    port: int
    connector: str

    def has_the_task(self) -> bool:
        with contextlib.suppress(requests.RequestException, ValueError):
            url = f"http://{HOST}:{self.port}/connectors/{self.connector}/status"
            tasks = requests.get(url, timeout=5).json().get("tasks", [])
            return [(t["state"], t["worker_id"]) for t in tasks] == [("RUNNING", f"{HOST}:{self.port}")]
        return False

    def joins(self) -> None:
        """It has the group's configuration: it knows the connector."""
        deadline = time.monotonic() + _MOVES_S
        while not self._knows_it():
            assert time.monotonic() < deadline, f"the worker at port {self.port} does not serve after {_MOVES_S} s"
            time.sleep(0.3)

    def _knows_it(self) -> bool:
        with contextlib.suppress(requests.RequestException, ValueError):
            return self.connector in requests.get(f"http://{HOST}:{self.port}/connectors", timeout=5).json()
        return False

    def takes_over(self) -> None:
        deadline = time.monotonic() + _MOVES_S
        while not self.has_the_task():
            assert time.monotonic() < deadline, f"the worker at port {self.port} has no task after {_MOVES_S} s"
            time.sleep(0.3)


def worker_killed(arena: Arena, random: Random) -> None:
    """The work goes to another worker, and back."""
    with _second_worker(arena) as second:
        kill(arena.part("connect"))
        second.takes_over()
        time.sleep(random.uniform(0, 5))
        arena.up()
        time.sleep(random.uniform(0, 5))
    _is_back(arena)


def worker_overtaken(arena: Arena, random: Random) -> None:
    """One that froze wakes when another one does its work: what it still sends must not count."""
    with _second_worker(arena) as second:
        first = arena.part("connect")
        assert first is not None
        first.send_signal(signal.SIGSTOP)
        try:
            second.takes_over()
            time.sleep(random.uniform(0, 5))
        finally:
            first.send_signal(signal.SIGCONT)
        time.sleep(random.uniform(0, 8))
    _is_back(arena)


def _is_back(arena: Arena) -> None:
    _Worker(_part().port, arena.connector).takes_over()


def _part() -> Connect:
    return Connect(discover(), load_env())


@contextlib.contextmanager
def _second_worker(arena: Arena) -> Iterator[_Worker]:
    """Of the same group, by the same configuration, at another port. Dies at the end."""
    part = _part()
    launch, port = part.launch(), free_port()
    file = part.layout.write(
        part.config_file.with_name("second.properties"), part.config_file.read_text().replace(str(part.port), str(port))
    )
    user = part.layout.user
    with (arena.home / "second-worker.log").open("ab") as log:
        started = subprocess.Popen(
            [str(file) if word == str(part.config_file) else word for word in launch.argv], env=dict(launch.env),
            cwd=launch.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            **({"user": user.uid, "group": user.gid, "extra_groups": []} if os.geteuid() == 0 else {}),  # type: ignore[call-overload]
        )
    try:
        second = _Worker(port, arena.connector)
        second.joins()
        yield second
    finally:
        started.kill()
        started.wait(30)


WORKERS: dict[str, Fault] = {
    "kill -9 Connect with another worker there": worker_killed,
    "freeze Connect until another worker takes over": worker_overtaken,
}
