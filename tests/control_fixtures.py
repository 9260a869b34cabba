"""Control stores for tests, and processes that use them."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from cdc_pipelines.replication.control.leases import Lease
from cdc_pipelines.replication.errors import CdcError, FencedError
from cdc_pipelines.stack.settings import StackSettings
from tests import control_worker
from tests.conftest import postgres_connection


def wait_until(happened: Callable[[], Any], timeout_s: float = 30) -> Any:
    """The first true answer; an AssertionError where there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = happened()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"did not happen within {timeout_s} s"
        time.sleep(0.05)


def lost(lease: Lease) -> bool:
    """Whether a lease that is held knows that somebody else has its pipeline now."""
    try:
        lease.check()
    except CdcError as error:
        return isinstance(error, FencedError)
    return False


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'home' / 'control.db'}"


@pytest.fixture
def postgres_url(stack: StackSettings, unique: Callable[[str], str]) -> Iterator[str]:
    """A database of this test's own."""
    name = unique("control")
    server = stack.postgres
    # As the administrator: at the end autovacuum may be in it, which only a superuser can turn out.
    with postgres_connection(server, stack.postgres_target_database, admin=True) as connection:
        create = sql.SQL("CREATE DATABASE {} OWNER {}")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(server.user)))
        try:
            yield f"postgresql+psycopg2://{server.user}:{server.password}@{server.host}:{server.port}/{name}"
        finally:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass
class Worker:
    """A process of its own that acts when it is told to."""

    process: Any
    talk: Any

    def said(self) -> Any:
        assert self.talk.poll(60), "the worker says nothing"
        return self.talk.recv()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    @property
    def pid(self) -> int:
        return int(self.process.pid)


StartWorker = Callable[..., Worker]


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    """Start a function of `tests.control_worker` in a process and wait until it is ready to act; `go` makes it."""
    # Forked from a server that runs no threads and holds the imports already.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.control_worker"])
    started: list[Worker] = []

    def start(url: str, what: str, *words: object) -> Worker:
        ours, theirs = context.Pipe()
        process = context.Process(target=control_worker.run, args=(what, url, theirs, *words))
        process.start()
        started.append(Worker(process, ours))
        assert started[-1].said() == "ready"
        return started[-1]

    yield start
    for one in started:
        one.kill()


def go(*workers: Worker) -> None:
    for one in workers:
        one.talk.send("go")
