"""A pipeline on the real stack, driven by the `cdc` command as a user drives it."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pymysql
import pytest
import yaml

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.health.status import status
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.stack.settings import StackSettings
from tests.both_sides import BothSides
from tests.command_server import CommandServer
from tests.conftest import (
    CommandResult,
    command_line,
    mysql_connection,
    own_mysql_database,
    own_target_database,
    pipeline_writer,
    postgres_connection,
)


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    """The condition's first true value; fails, saying what was waited for, when the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        began = time.monotonic()
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for: {what}"
        time.sleep(max(0.05, 3 * (time.monotonic() - began)))  # a look that is much work leaves the servers most of it


@dataclass
class Pipe(BothSides):
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

    def equal(self, timeout: float = 300) -> dict[str, Any]:
        """Both sides are equal at one source position; the report of `cdc verify`."""
        done = self.cdc("verify", self.name, "--json", timeout=timeout)
        assert done.code == 0, f"verify: exit {done.code}\n{done.stdout[-3000:]}\n{done.stderr}\n{self.log_tail()}"
        return done.json

    def log_tail(self, lines: int = 25) -> str:
        logs = sorted((self.home / "logs").glob("*.log")) if (self.home / "logs").is_dir() else []
        return "\n".join(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-lines:]) for log in logs)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes of this test's home whose command line has all of the words."""
        return processes_of(self.home, *words)

    def consumer(self) -> psutil.Process:
        return wait_until(lambda: next(iter(self.processes("consume", self.name)), None), "a consumer process")


def processes_of(home: Path, *words: str) -> list[psutil.Process]:
    """Our processes of this home that are alive, with all of the words in their command lines."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = {"cdc_pipelines.cli", *words} <= set(process.cmdline())
            if ours and process.environ().get("CDC_HOME") == str(home):
                found.append(process)
        except psutil.Error:  # it ended, or is another user's
            continue
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Beside a failure, what its pipelines said of themselves: it may not be seen again."""
    report = yield
    if report.failed and call.when == "call":
        for pipe in (value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Pipe)):
            report.sections.append((f"status of {pipe.name}", told(pipe)))
            report.sections.append((f"logs of {pipe.name}", pipe.log_tail(60)))
    return report


def told(pipe: Pipe) -> str:
    """Its status without the tables."""
    try:
        return json.dumps({name: part for name, part in pipe.status().items() if name != "tables"}, indent=1)
    except Exception as error:  # noqa: BLE001 (it must not take the failure's place)
        return repr(error)


@contextmanager
def pipe_maker(
    mysql: pymysql.Connection, target: psycopg.Connection, write_file: Callable[..., Path],
    cdc: Callable[..., CommandResult], home: Path,
) -> Iterator[Callable[..., Pipe]]:
    """Make pipelines (not yet configured) between two databases; everything that they started is taken down."""
    made: list[Pipe] = []

    def make(**settings: Any) -> Pipe:
        file = write_file(mysql.db.decode(), target.info.dbname, **settings)
        made.append(Pipe(file.stem, file, cdc, home, mysql, target))
        return made[-1]

    try:
        yield make
    finally:
        for pipe in made:
            cdc("teardown", pipe.name, "--yes")
        for process in processes_of(home):
            process.kill()


@pytest.fixture
def make_pipe(
    mysql: pymysql.Connection, target: psycopg.Connection, pipeline_file: Callable[..., Path],
    cdc: Callable[..., CommandResult], cdc_home: Path,
) -> Iterator[Callable[..., Pipe]]:
    """Make pipelines (not yet configured); everything that they started is taken down after the test."""
    with pipe_maker(mysql, target, pipeline_file, cdc, cdc_home) as make:
        yield make


@pytest.fixture(scope="module")
def keep_pipe(
    stack: StackSettings, command_server: CommandServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Pipe]]:
    """One pipeline for tests that end with a healthy one: `keep_pipe(begin)`, where `begin(pipe)` starts a new one.

    A test that fails, or leaves it unwell for another reason, leaves the next one a new one between new databases.
    """
    with ExitStack() as ends:
        kept: list[Pipe] = []

        def keep(begin: Callable[[Pipe], object]) -> Pipe:
            if kept and not is_well(kept[0]):
                kept.clear()
                ends.close()
            if not kept:
                folder = tmp_path_factory.mktemp("kept")
                source = ends.enter_context(own_mysql_database(stack.mysql))
                target = ends.enter_context(own_target_database(stack))
                make = ends.enter_context(pipe_maker(
                    ends.enter_context(mysql_connection(stack.mysql, source)),
                    ends.enter_context(postgres_connection(stack.postgres, target)),
                    pipeline_writer(stack, folder), command_line(command_server, folder / "cdc"), folder / "cdc",
                ))
                pipe = make()
                begin(pipe)
                kept.append(pipe)
            return kept[0]

        yield keep


def is_well(pipe: Pipe) -> bool:
    """Whether it is running and healthy."""
    try:
        seen = pipe.status()
    except CdcError:
        return False
    return (seen["overall"], seen["config"]["status"]) == ("healthy", "running")


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
