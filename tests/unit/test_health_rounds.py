"""A look at several pipelines of one Kafka Connect cluster, which is asked once, whatever becomes of the rest."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.health import rounds
from tests.unit.connect_server import Server, serve
from tests.unit.dagster_pipelines import configure

NOBODY = {"host": "127.0.0.1", "port": 9, "user": "cdc", "password": "${env:CDC_TEST_PASSWORD}"}
SOURCE = {"type": "mysql", "database": "shop", **NOBODY}
TARGET = {"type": "postgres", "database": "warehouse", "schema": "shop", **NOBODY}


@pytest.fixture
def connect() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path, connect: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlStore]:
    """Two pipelines that run, by one Connect; their databases are out of reach."""
    monkeypatch.setenv("CDC_TEST_PASSWORD", "s3cret-s3cret")
    with contextlib.closing(ControlStore.open(f"sqlite:///{tmp_path}/control.db")) as store:
        for config, name in enumerate(("bar", "shop"), 1):
            configure(store, name, config, connect={"url": connect.url}, source=SOURCE, target=TARGET)
            store.set_status(name, "running", is_active=True)
        yield store


def test_connect_is_asked_once_for_all_pipelines(store: ControlStore, connect: Server) -> None:
    records = rounds.started_pipelines(store)
    states = dict(zip((record.connector for record in records), ("PAUSED", "FAILED"), strict=True))
    connect.answers["GET", "/connectors"] = [
        (200, {name: {"status": {"connector": {"state": state}, "tasks": []}} for name, state in states.items()})
    ]
    found = rounds.statuses(store, records)
    assert [each["connector"]["state"] for each in found] == list(states.values()), found
    assert connect.times("GET", "/connectors") == 1
    assert not [path for _, path, _ in connect.asked if path.endswith("/status")]


def test_a_connect_that_refuses_is_asked_once_and_told_of_each(store: ControlStore, connect: Server) -> None:
    connect.answers["GET", "/connectors"] = [(403, {"error_code": 403, "message": "go away"})]
    for each in rounds.statuses(store, rounds.started_pipelines(store)):
        assert each["connector"]["state"] == "UNREACHABLE"
        assert "go away" in str(each["problems"])
    assert len(connect.asked) == 1
