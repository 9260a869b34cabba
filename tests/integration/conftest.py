"""Both kinds of MySQL server as a source, for tests that must hold on each, alone or with a target beside it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pymysql
import pytest

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable, Table
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.pipeline import Source
from cdc_pipelines.replication.values import form_for
from cdc_pipelines.stack.settings import ServerAccess, StackSettings
from tests.conftest import mysql_connection
from tests.copied import Copied
from tests.integration.browser import page
from tests.integration.dagster_instance import dagster, kept_dagster, make_dagster_pipe, pytest_runtest_teardown

__all__ = ["dagster", "kept_dagster", "make_dagster_pipe", "page", "pytest_runtest_teardown"]


@dataclass
class SourceServer:
    """One server with a database of the test's own."""

    flavor: str
    access: ServerAccess
    database: str
    source: MySqlSource

    def admin(self) -> pymysql.Connection:
        return mysql_connection(self.access, self.database)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the administrator; the rows of the last one."""
        rows: Any = []
        with self.admin() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall()
        return [tuple(row) for row in rows]

    def spec(self, **changes: Any) -> Source:
        return self.source.spec.model_copy(update=changes)

    def map(self, table: Table) -> MappedTable:
        """The table as it lands on PostgreSQL, every column with its own name."""
        columns = tuple(
            MappedColumn(c, c.name, form_for(c, self.flavor, "postgres").target_type)
            for c in table.columns if not c.generated
        )
        return MappedTable(table, "public", table.name, columns)


@pytest.fixture(params=["mysql", "mariadb"])
def server(
    request: pytest.FixtureRequest, stack: StackSettings, unique: Callable[[str], str]
) -> Iterator[SourceServer]:
    """MySQL and MariaDB in turn, each with an empty database that lives for this test."""
    access: ServerAccess = getattr(stack, request.param)
    password = f"${{env:CDC_STACK_{request.param.upper()}_PASSWORD}}"
    with source_server(request.param, access, unique("source"), password) as found:
        yield found


@contextmanager
def source_server(flavor: str, access: ServerAccess, database: str, password: str) -> Iterator[SourceServer]:
    """A server with an empty database; `password` is a reference."""
    spec = Source(
        type=flavor, host=access.host, port=access.port, database=database, user=access.user, password=password
    )
    with mysql_connection(access) as connection, connection.cursor() as cursor:
        cursor.execute(f"create database `{database}` character set utf8mb4")
        source = MySqlSource(spec)
        try:
            yield SourceServer(flavor, access, database, source)
        finally:
            source.close()
            cursor.execute(f"drop database if exists `{database}`")


@pytest.fixture
def copied(stack: StackSettings, mysql: pymysql.Connection, target: psycopg.Connection) -> Iterator[Copied]:
    """Tables of this test's MySQL database, copied to its PostgreSQL database."""
    pair = Copied("mysql", stack.mysql, mysql, target)
    yield pair
    pair.source.close()


@pytest.fixture
def from_mariadb(stack: StackSettings, mariadb: pymysql.Connection, target: psycopg.Connection) -> Iterator[Copied]:
    """The same from MariaDB."""
    pair = Copied("mariadb", stack.mariadb, mariadb, target)
    yield pair
    pair.source.close()
