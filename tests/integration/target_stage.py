"""A PostgreSQL target for tests of its own parts: sessions, tables, what a query gives."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.state import ensure_schema
from cdc_pipelines.replication.errors import CheckResult
from cdc_pipelines.replication.pipeline import Target
from cdc_pipelines.replication.values import form_for
from cdc_pipelines.stack.settings import StackSettings

Open = Callable[..., psycopg.Connection]


@pytest.fixture
def spec(stack: StackSettings, target_database: str) -> Target:
    return Target(
        type="postgres", host=stack.postgres.host, port=stack.postgres.port, database=target_database,
        user=stack.postgres.user, password="${env:CDC_STACK_POSTGRES_PASSWORD}",
    )


@pytest.fixture
def open_(spec: Target) -> Iterator[Open]:
    """Open sessions that are closed after the test."""
    opened: list[psycopg.Connection] = []

    def make(purpose: str = "shop:test", **options: Any) -> psycopg.Connection:
        opened.append(connect(spec, purpose=purpose, **options))
        return opened[-1]

    yield make
    for conn in opened:
        conn.close()


@pytest.fixture
def conn(open_: Open) -> psycopg.Connection:
    conn = open_()
    ensure_schema(conn)
    return conn


def column(name: str, full_type: str, **facts: Any) -> Column:
    return Column(name, full_type.split("(")[0].split(" ")[0], full_type, unsigned="unsigned" in full_type, **facts)


def mapped(name: str, *columns: Column, key: tuple[str, ...] = ("id",), **facts: Any) -> MappedTable:
    return MappedTable(
        Table("shop", name, columns, key),
        facts.pop("target_schema", "public"),
        facts.pop("target_name", name),
        tuple(MappedColumn(c, c.name, form_for(c, "mysql", "postgres").target_type) for c in columns),
    )


ID = column("id", "int", nullable=False)
USERS = mapped("users", ID, column("name", "varchar(10)", length=10))
ORDERS = mapped("orders", ID, column("at", "datetime(6)", fraction=6, nullable=False))


def scalar(conn: psycopg.Connection, query: str, *params: Any) -> Any:
    row = conn.execute(query, params or None).fetchone()
    return None if row is None else row[0]


def failures(results: list[CheckResult]) -> dict[str, str]:
    return {r.name: r.message for r in results if not r.ok}
