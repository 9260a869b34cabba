"""What all tests share: the local stack's servers, databases that live for one test, the `cdc` command.

Nothing here skips. A server that can't be had is an error, and a test that skips itself is reported as failed:
a suite that passes has run.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
import yaml
from psycopg import sql

from cdc_pipelines.replication.databases.mysql.connection import Session
from cdc_pipelines.stack.settings import ServerAccess, StackSettings, load_env
from tests.command_server import CommandServer
from tests.dealing import pytest_collection_modifyitems, pytest_xdist_make_scheduler

__all__ = ["pytest_collection_modifyitems", "pytest_xdist_make_scheduler"]  # hooks

PROJECT = Path(__file__).resolve().parents[1]
# What these assert for several files of tests says as much as a test when it fails.
pytest.register_assert_rewrite("tests.e2e.pipeline_parts", "tests.integration.judged")
_numbers = itertools.count(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn a skip into a failure: what was not tested must not look like what was."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and nothing in this suite may be: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a whole module that skips itself."""
    report = yield
    if report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped, and nothing in this suite may be: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def stack() -> Iterator[StackSettings]:
    """The running local stack; its facts are in the environment too, so that `${env:CDC_STACK_…}` resolves."""
    values = load_env()  # raises, naming `cdc stack up`, where the stack was never started
    with pytest.MonkeyPatch.context() as environment:
        for name, value in values.items():
            environment.setenv(name, value)
        yield StackSettings.from_env(values)


def unique_name(stem: str) -> str:
    """A name that no other test, and no other run on the same servers, uses."""
    return f"t{os.getpid()}_{next(_numbers)}_{stem}"


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Make names that no other test, and no other run on the same servers, uses."""
    return unique_name


def mysql_connection(server: ServerAccess, database: str | None = None, *, admin: bool = True) -> pymysql.Connection:
    """A connection to the stack's MySQL or MariaDB, in UTC, committing by itself."""
    return Session(
        host=server.host,
        port=server.port,
        user=server.admin_user if admin else server.user,
        password=server.admin_password if admin else server.password,
        database=database,
        charset="utf8mb4",
        autocommit=True,
        init_command="SET time_zone = '+00:00'",
    )


@contextmanager
def own_mysql_database(server: ServerAccess) -> Iterator[str]:
    """The name of an empty database that lives for the block."""
    name = unique_name("source")
    with mysql_connection(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        yield name
        cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")


@pytest.fixture
def mysql_database(stack: StackSettings) -> Iterator[str]:
    """The name of an empty MySQL database that lives for this test."""
    with own_mysql_database(stack.mysql) as name:
        yield name


@pytest.fixture
def mariadb_database(stack: StackSettings) -> Iterator[str]:
    """The name of an empty MariaDB database that lives for this test."""
    with own_mysql_database(stack.mariadb) as name:
        yield name


@pytest.fixture
def mysql(stack: StackSettings, mysql_database: str) -> Iterator[pymysql.Connection]:
    """An administrator's connection to this test's MySQL database."""
    with mysql_connection(stack.mysql, mysql_database) as connection:
        yield connection


@pytest.fixture
def mariadb(stack: StackSettings, mariadb_database: str) -> Iterator[pymysql.Connection]:
    """An administrator's connection to this test's MariaDB database."""
    with mysql_connection(stack.mariadb, mariadb_database) as connection:
        yield connection


def postgres_connection(server: ServerAccess, database: str, *, admin: bool = False) -> psycopg.Connection:
    """A connection to the stack's PostgreSQL, committing by itself."""
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user=server.admin_user if admin else server.user,
        password=server.admin_password if admin else server.password,
        dbname=database,
        autocommit=True,
        options="-c timezone=UTC",
    )


@contextmanager
def own_target_database(stack: StackSettings) -> Iterator[str]:
    """The name of an empty PostgreSQL database, owned by the replicating user, that lives for the block."""
    name = sql.Identifier(unique_name("target"))
    with postgres_connection(stack.postgres, stack.postgres_target_database) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield name._obj[0]
    # As the administrator: an autovacuum worker may be at work in it, which only a superuser can end.
    with postgres_connection(stack.postgres, stack.postgres_target_database, admin=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


@pytest.fixture
def target_database(stack: StackSettings) -> Iterator[str]:
    """The name of an empty PostgreSQL database, owned by the replicating user, that lives for this test."""
    with own_target_database(stack) as name:
        yield name


@pytest.fixture
def target(stack: StackSettings, target_database: str) -> Iterator[psycopg.Connection]:
    """A connection of the replicating user to this test's PostgreSQL database."""
    with postgres_connection(stack.postgres, target_database) as connection:
        yield connection


def pipeline_writer(stack: StackSettings, folder: Path) -> Callable[..., Path]:
    """What writes pipeline files for the stack: `write(source_database, target_database, **settings)`.

    Name and config id are each file's own, hence connector, topics and consumer group as well.
    `settings` replace whole sections of the file (`tables=[…]`, `copy={…}`, `source_type="mariadb"`).
    """

    def write(source_database: str, target_database: str, *, source_type: str = "mysql", **settings: Any) -> Path:
        upper = source_type.upper()
        document = {
            "config": (os.getpid() * 1000 + next(_numbers)) % 2**31,
            "source": {
                "type": source_type,
                "host": "127.0.0.1",
                "port": f"${{env:CDC_STACK_{upper}_PORT}}",
                "database": source_database,
                "user": "cdc",
                "password": f"${{env:CDC_STACK_{upper}_PASSWORD}}",
            },
            "target": {
                "type": "postgres",
                "host": "127.0.0.1",
                "port": "${env:CDC_STACK_POSTGRES_PORT}",
                "database": target_database,
                "user": "cdc",
                "password": "${env:CDC_STACK_POSTGRES_PASSWORD}",
            },
            # Many connectors share the machine's cores, and nobody waits for milliseconds here.
            "connect": {"url": stack.connect_url, "config": {"poll.interval.ms": "200"}},
            "kafka": {"bootstrap_servers": stack.kafka_bootstrap},
            "verify": {"background": False},  # nothing shall happen by itself unless a test is about that
        } | settings
        path = folder / f"{unique_name('pipeline')}.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture
def pipeline_file(stack: StackSettings, tmp_path: Path) -> Callable[..., Path]:
    """Write pipeline files: see `pipeline_writer`."""
    return pipeline_writer(stack, tmp_path)


@dataclass(frozen=True)
class CommandResult:
    """What a `cdc` command answered."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@pytest.fixture
def cdc_home(tmp_path: Path) -> Path:
    """The folder of this test's control store and logs (`CDC_HOME`)."""
    return tmp_path / "cdc"


@pytest.fixture(scope="session")
def command_server() -> Iterator[CommandServer]:
    """What runs the commands of this process's tests."""
    server = CommandServer()
    yield server
    server.close()


def command_line(server: CommandServer, home: Path) -> Callable[..., CommandResult]:
    """What runs commands as a user does: `cdc("status", "shop", "--json").json`; their exit code is not judged."""

    def run(*words: str | Path, timeout: float = 300) -> CommandResult:
        environment = os.environ | {"CDC_HOME": str(home), "CDC_AGENT_AUTOSTART": "1"}
        return CommandResult(*server.run(*map(str, words), environment=environment, timeout=timeout))

    return run


@pytest.fixture
def cdc(stack: StackSettings, cdc_home: Path, command_server: CommandServer) -> Callable[..., CommandResult]:
    """Run the command line as a user does, in this test's home: see `command_line`."""
    return command_line(command_server, cdc_home)
