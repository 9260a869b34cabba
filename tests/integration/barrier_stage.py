"""A pipeline whose consumer and connector do what the test wants, on real databases."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from cdc_pipelines.replication.control.records import Heartbeat
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres.state import TargetState, ensure_schema
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream import parking
from cdc_pipelines.stack.settings import StackSettings
from tests.copied import Copied

LOG = logging.getLogger("test")
NAME = "park"


class FakeRuntime(Runtime):
    """A pipeline whose store knows one heartbeat, and whose connector and topic say what the test wants."""

    def __init__(self, copied: Copied, pipeline: Pipeline, tables: tuple[Any, ...]) -> None:
        self.record = SimpleNamespace(name=NAME, spec=pipeline, tables=tables, generation=1)  # type: ignore[assignment]
        self.store = SimpleNamespace(heartbeat=lambda name: self.beat)  # type: ignore[assignment]
        self.beat: Heartbeat | None = None
        self.copied = copied
        self.connector_offset: dict[str, Any] | None = None
        self.task = "RUNNING"
        self.__dict__["connect"] = SimpleNamespace(
            offsets=lambda name: self._offsets(), status=lambda name: self._status()
        )
        self.__dict__["topics"] = SimpleNamespace(offsets=lambda topic: (0, 77))

    def _offsets(self) -> list[dict[str, Any]]:
        return [{"partition": {}, "offset": self.connector_offset}] if self.connector_offset else []

    def _status(self) -> dict[str, Any]:
        task = {"id": 0, "state": self.task, "trace": "java.lang.RuntimeException: torn"}
        return {"connector": {"state": "RUNNING"}, "tasks": [task]}

    def alive(self, state: str = "streaming", age_s: float = 1, pid: int = 1) -> None:
        self.beat = Heartbeat(NAME, "g", pid, "h", "0", state, datetime.now(UTC) - timedelta(seconds=age_s))


@dataclass
class Consumer(threading.Thread):
    """Parks as the real one does. `applied` is called with the position before it says that it is there."""

    database: str
    stack: StackSettings
    applied: Any = lambda position: None
    seen: list[str] = field(default_factory=list)
    end: int | None = None

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        server = self.stack.postgres
        with psycopg.connect(
            host=server.host, port=server.port, user=server.user, password=server.password, dbname=self.database
        ) as conn:
            while not self.stop.wait(0.02):
                found = parking.current(conn, NAME)
                conn.commit()
                if found is None or found.state != "requested" or found.expired:
                    continue
                assert parking.move(conn, NAME, found.id, "requested", "parked")
                self.seen.append("parked")
                go = parking.wait_for(conn, NAME, found.id, "go", self.stop)
                if go is None or go.position is None:
                    continue
                self.applied(MySqlPosition.from_json(go.position))
                while self.end is None and not self.stop.wait(0.02):
                    now = parking.current(conn, NAME)
                    conn.commit()
                    if now is None:
                        break
                    self.end = now.end_offset
                if parking.move(conn, NAME, found.id, "go", "reached"):
                    self.seen.append("reached")
                    if parking.wait_for(conn, NAME, found.id, "released", self.stop):
                        self.seen.append("released")
                parking.clear(conn, NAME, found.id)


@pytest.fixture
def rt(copied: Copied, stack: StackSettings) -> FakeRuntime:
    copied.run("create table t (id int primary key, v varchar(9))", "insert into t values (1, 'a'), (2, 'b')")
    table = copied.copy("t")
    ensure_schema(copied.target)
    with copied.target.transaction():
        state = TargetState(copied.target, NAME)
        state.new_generation(1, copied.source.identity(), [table])
        state.set_log_topic("client_1_db_1.g1.log", "its id")
        state.init_offset(5, copied.source.position().to_json())
    target = {
        "type": "postgres", "host": "127.0.0.1", "port": stack.postgres.port, "database": copied.target.info.dbname,
        "user": "cdc", "password": "${env:CDC_STACK_POSTGRES_PASSWORD}",
    }
    pipeline = Pipeline(name=NAME, config=1, source=copied.source.spec.model_dump(), target=target)
    return FakeRuntime(copied, pipeline, (table,))


@pytest.fixture
def consumer(copied: Copied, stack: StackSettings) -> Iterator[Consumer]:
    thread = Consumer(copied.target.info.dbname, stack)
    yield thread
    thread.stop.set()
    if thread.ident:
        thread.join(10)
