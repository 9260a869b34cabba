"""A pipeline on the real stack, driven by the `cdc` command as a user drives it."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pymysql
import pytest
import yaml

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.health.status import status
from cdc_pipelines.replication.operations.runtime import Runtime
from tests.conftest import CommandResult


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    """The condition's first true value; fails, saying what was waited for, when the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for: {what}"
        time.sleep(0.05)


@dataclass
class Pipe:
    """One pipeline between this test's own two databases."""

    name: str
    file: Path
    cdc: Callable[..., CommandResult]
    home: Path
    mysql: pymysql.Connection
    target: psycopg.Connection

    def ok(self, command: str, *words: str, timeout: float = 300) -> CommandResult:
        """Run a command on this pipeline; fails with its output where its exit code is not 0."""
        done = self.cdc(command, self.name, *words, timeout=timeout)
        assert done.code == 0, f"cdc {command}: exit {done.code}\n{done.stdout}\n{done.stderr}"
        return done

    def configure(self) -> CommandResult:
        done = self.cdc("configure", self.file, "--json")
        assert done.code == 0, done.stderr
        return done

    def start(self, *words: str) -> dict[str, Any]:
        return self.ok("start", *words, "--json").json

    def status(self) -> dict[str, Any]:
        """What `cdc status --json` prints, asked from here: polled by a process each, it would take the machine."""
        url = os.environ.get("CDC_CONTROL_URL") or f"sqlite:///{self.home}/control.db"
        with (
            closing(ControlStore.open(url)) as store,
            Runtime.open(self.name, store, impatient=True) as rt,
        ):
            return json.loads(json.dumps(status(rt), default=str))

    def run(self, *statements: str) -> None:
        """Statements on the source, each its own transaction unless they say otherwise."""
        with self.mysql.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def source_rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.mysql.cursor() as cursor:
            cursor.execute(query)
            return [tuple(row) for row in cursor.fetchall()]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.target.execute(query).fetchall()  # type: ignore[arg-type]

    def arrives(self, query: str, expected: Any, timeout_s: float = 60) -> None:
        """Wait until a query on the target gives these rows."""
        seen: list[Any] = []

        def same() -> bool:
            try:
                seen[:] = self.rows(query)
            except psycopg.errors.UndefinedColumn as error:  # it may still be on its way
                seen[:] = [str(error)]
            return seen == expected

        try:
            wait_until(same, query, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\nexpected {expected}\nseen     {seen}\n{self.log_tail()}") from None

    def equal(self) -> dict[str, Any]:
        """Both sides are equal at one source position; the report of `cdc verify`."""
        done = self.cdc("verify", self.name, "--json")
        assert done.code == 0, f"verify: exit {done.code}\n{done.stdout[-3000:]}\n{done.stderr}\n{self.log_tail()}"
        return done.json

    def log_tail(self, lines: int = 25) -> str:
        logs = sorted((self.home / "logs").glob("*.log")) if (self.home / "logs").is_dir() else []
        return "\n".join(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-lines:]) for log in logs)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes of this test's home whose command line has all of the words."""
        return [p for p in processes_of(self.home) if all(word in p.cmdline() for word in words)]

    def consumer(self) -> psutil.Process:
        return wait_until(lambda: next(iter(self.processes("consume", self.name)), None), "a consumer process")


def processes_of(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        try:
            if process.environ().get("CDC_HOME") == str(home) and "cdc_pipelines.cli" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def make_pipe(
    mysql_database: str,
    target_database: str,
    mysql: pymysql.Connection,
    target: psycopg.Connection,
    pipeline_file: Callable[..., Path],
    cdc: Callable[..., CommandResult],
    cdc_home: Path,
) -> Iterator[Callable[..., Pipe]]:
    """Make pipelines (not yet configured); everything that they started is taken down after the test."""
    made: list[Pipe] = []

    def make(**settings: Any) -> Pipe:
        file = pipeline_file(mysql_database, target_database, **settings)
        pipe = Pipe(file.stem, file, cdc, cdc_home, mysql, target)
        made.append(pipe)
        return pipe

    yield make
    for pipe in made:
        cdc("teardown", pipe.name, "--yes")
    for process in processes_of(cdc_home):
        process.kill()


@pytest.fixture
def pipe(make_pipe: Callable[..., Pipe]) -> Pipe:
    return make_pipe()


@pytest.fixture(params=["mysql", "mariadb"])
def shared(
    request: pytest.FixtureRequest, cdc: Callable[..., CommandResult], cdc_home: Path,
    pipeline_file: Callable[..., Path], target_database: str, target: psycopg.Connection,
) -> Iterator[Pipe]:
    """A pipeline on each of the stack's servers."""
    database: str = request.getfixturevalue(f"{request.param}_database")
    connection: pymysql.Connection = request.getfixturevalue(request.param)
    file = pipeline_file(database, target_database, source_type=request.param)
    pipe = Pipe(file.stem, file, cdc, cdc_home, connection, target)
    yield pipe
    cdc("teardown", pipe.name, "--yes")
    for process in processes_of(cdc_home):
        process.kill()


def edit(file: Path, **sections: Any) -> None:
    """Change sections of a pipeline's file."""
    document = yaml.safe_load(file.read_text())
    document.update(sections)
    file.write_text(yaml.safe_dump(document, sort_keys=False))
