"""The page's app for unit tests: a real control store on SQLite, statuses without servers, a Dagster in memory."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from cdc_pipelines.dagster_client import ActiveRun, DagsterClient, SeenRun
from cdc_pipelines.replication.carry.source import TableExtras
from cdc_pipelines.replication.catalog import Column, Table
from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.operations import configure, discover, runtime
from cdc_pipelines.web.app import create_app
from cdc_pipelines.web.settings import WebSettings
from cdc_pipelines.web.watch import Watch

TOKEN = "a-token-of-twenty-four-c"
DAGSTER = "http://dagster.example:3000"
PROBLEM = {
    "kind": "lag", "severity": "degraded", "message": "the target is 400 s behind", "next_step": "look at the consumer"
}


def facts(record: PipelineRecord) -> dict[str, Any]:
    """A status as the engine makes it."""
    healthy = record.status == "running"
    return {
        "overall": "healthy" if healthy else "degraded",
        "connector": {"state": "RUNNING", "healthy": True, "tasks": [{"id": 0, "state": "RUNNING"}], "message": ""},
        "consumer": {
            "state": "STREAMING", "healthy": True, "last_heartbeat": "2026-01-01T00:00:00.000Z",
            "heartbeat_recent": True, "heartbeat_age_seconds": 1.5, "message": "", "gone": False,
        },
        "config": {
            "status": record.status, "is_active": record.is_active, "connector_name": record.connector,
            "kafka_topic_prefix": record.spec.topic_prefix, "id": record.config, "name": record.name,
            "message": record.message,
        },
        "statistics": {"total_rows_synced": 1234567, "tables_enabled": 2, "last_sync_at": None},
        "lag": {"seconds": 0.4, "messages": 3, "source_bytes": 512, "runway": {"runway_seconds": 90000.0}},
        "tables": [
            {"table": "customers", "target": "shop.customers", "chunks": 4, "chunks_done": 3, "rows_copied": 1000000,
             "bytes_copied": 2**20, "copy_seconds": 2.0, "changes_applied": 7, "inserts": 5, "updates": 1, "deletes": 1,
             "truncates": 0, "last_change_at": None, "verified": None},
        ],
        "problems": [] if healthy else [PROBLEM],
        "errors": [],
        "timestamp": "2026-01-01T00:00:01.000Z",
    }  # fmt: skip


class Source:
    """A source server with one table; `error` is raised in place of an answer."""

    error: Exception | None = None

    def __init__(self, spec: Any) -> None:
        self.spec = spec

    def tables(self, names: Sequence[str] | None = None) -> list[Table]:
        if Source.error is not None:
            raise Source.error
        columns = (
            Column("id", "bigint", "bigint", nullable=False),
            Column("note", "varchar", "varchar(40)", length=40),
            Column("place", "inet6", "inet6"),
        )
        return [Table(self.spec.database, "customers", columns, ("id",), rows_estimate=1000, data_bytes=65536)]

    def extras(self, names: Sequence[str]) -> dict[str, TableExtras]:
        return {}

    def close(self) -> None:
        pass


@dataclass
class Dagster:
    """What was launched, and the runs that have not ended."""

    launched: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    running: list[ActiveRun] = field(default_factory=list)
    seen: list[SeenRun] = field(default_factory=list)
    reloaded: int = 0
    error: Exception | None = None

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Dagster":
        def launch(_: Any, job: str, config: Any, *, tags: Any = None) -> str:
            if self.error is not None:
                raise self.error
            self.launched.append((job, dict(config), dict(tags)))
            self.running.append(ActiveRun(f"run-{len(self.launched)}", job, dict(config)))
            return self.running[-1].id

        def active(_: Any, tags: Any) -> list[ActiveRun]:
            if self.error is not None:
                raise self.error
            return self.running

        def newest(_: Any, tags: Any, limit: int) -> list[SeenRun]:
            if self.error is not None:
                raise self.error
            return self.seen[:limit]

        def reload(_: Any) -> None:
            if self.error is not None:
                raise self.error
            self.reloaded += 1

        monkeypatch.setattr(DagsterClient, "newest", newest)
        monkeypatch.setattr(DagsterClient, "failures", lambda *_: [])
        monkeypatch.setattr(DagsterClient, "reload", reload)
        monkeypatch.setattr(DagsterClient, "launch", launch)
        monkeypatch.setattr(DagsterClient, "active", active)
        return self


@dataclass
class Web:
    """The app and what it stands on."""

    client: TestClient
    store: ControlStore
    dagster: Dagster
    pipelines: Path
    watch: Watch


def open_web(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, token: str = "", host: str = "127.0.0.1", **settings: Any
) -> Iterator[Web]:
    """`with` contextlib.contextmanager around it, or `yield from` in a fixture."""
    monkeypatch.setenv("CDC_TEST_PASSWORD", "planted-password-1")
    monkeypatch.setattr(Source, "error", None)
    for module in (configure, discover, runtime):
        monkeypatch.setattr(module, "MySqlSource", Source)
    dagster = Dagster().install(monkeypatch)
    store = ControlStore.open(f"sqlite:///{tmp_path / 'control.db'}")
    watch = Watch(store, facts, every_s=3600)
    pipelines = tmp_path / "pipelines"
    app = create_app(
        WebSettings(host, token=token, dagster_url=DAGSTER, pipelines=pipelines, **settings), store, watch=watch
    )
    with TestClient(app, base_url="http://127.0.0.1:8090", raise_server_exceptions=False) as client:
        yield Web(client, store, dagster, pipelines, watch)
    store.close()


@contextmanager
def served(web: Web) -> Iterator[str]:
    """The address of the same app behind a real HTTP server."""
    server = uvicorn.Server(uvicorn.Config(web.client.app, port=0, log_config=None, lifespan="off"))
    listener = server.config.bind_socket()
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
