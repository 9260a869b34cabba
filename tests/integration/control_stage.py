"""A control store on both of its databases, its processes, and what is in its tables."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.control.store import ControlStore, Heartbeat
from tests.control_fixtures import StartWorker

TABLES = (
    MappedTable(
        Table(
            "shop", "größen",
            (Column("id", "bigint", "bigint", nullable=False), Column("n", "text", "text")),
            ("id",),
        ),
        "public", "größen",
        (
            MappedColumn(Column("id", "bigint", "bigint", nullable=False), "id", "bigint"),
            MappedColumn(Column("n", "text", "text"), "n", "text"),
        ),
    ),
)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The address of a store that doesn't exist yet."""
    address: str = request.getfixturevalue(f"{request.param}_url")
    return address


@pytest.fixture
def worker(url: str, start_worker: StartWorker) -> StartWorker:
    """Start a worker on this test's store."""
    return partial(start_worker, url)


@pytest.fixture
def store(url: str) -> Iterator[ControlStore]:
    opened = ControlStore.open(url)
    yield opened
    opened.close()


def is_sqlite(store: ControlStore) -> bool:
    return store.address.get_backend_name() == "sqlite"


def raw(url: str, statement: str, **values: Any) -> list[Any]:
    """Beside the store's own code: run a statement on its database."""
    engine = create_engine(url)
    with engine.begin() as connection:
        result = connection.execute(text(statement), values)
        rows = list(result.all()) if result.returns_rows else []
    engine.dispose()
    return rows


def beat_of(pipeline: str = "shop", group: str = "g1", **facts: Any) -> Heartbeat:
    return Heartbeat(pipeline, group, os.getpid(), "here", "1.0", facts.pop("state", "streaming"),
                     facts.pop("at", datetime.now(UTC)), **facts)
