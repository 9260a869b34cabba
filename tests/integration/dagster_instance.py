"""A real Dagster for integration tests: webserver, daemon and code server, runs stored in the stack's PostgreSQL.

One for all tests that ask for it, with a control store and a folder of pipeline files of its own.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pymysql
import pytest
from psycopg import sql

from cdc_pipelines.dagster_client import DagsterClient
from cdc_pipelines.demo.dagster_server import DagsterHome, DagsterServer, Storage
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import NotConfiguredError
from cdc_pipelines.replication.operations import lifecycle
from cdc_pipelines.replication.operations.configure import configure
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.verify import verify
from cdc_pipelines.stack.settings import StackSettings
from tests.both_sides import BothSides
from tests.conftest import PROJECT, postgres_connection

_PARTITIONS = """
query Asset($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { __typename
  ... on AssetNode { partitionKeys partitionStats { numMaterialized numPartitions } } } }"""
_CHECKS = """
query Checks($key: AssetKeyInput!) { assetCheckExecutions(assetKey: $key, checkName: "equal_to_source", limit: 20) {
  status runId evaluation { success description metadataEntries { label ... on IntMetadataEntry { intValue } } } } }"""


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    """The condition's first true value."""
    deadline = time.monotonic() + timeout_s
    while True:
        began = time.monotonic()
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for: {what}"
        time.sleep(max(0.1, 2 * (time.monotonic() - began)))  # a look is Dagster's work, too


@dataclass
class DagsterInstance:
    """What a test gets: the server, its client, and the folder of control store and pipeline files."""

    server: DagsterServer
    client: DagsterClient
    home: Path
    environment: dict[str, str]

    @property
    def pipelines(self) -> Path:
        return self.home / "pipelines"

    @contextlib.contextmanager
    def store(self) -> Iterator[ControlStore]:
        with contextlib.closing(ControlStore.open(f"sqlite:///{self.home / 'control.db'}")) as store:
            yield store

    def partitions(self, pipeline: str, table: str) -> tuple[list[str], int]:
        """The table's partition keys, and how many of them count as materialized."""
        node = self.client.graphql(_PARTITIONS, key={"path": [pipeline, table]})["assetNodeOrError"]
        assert node["__typename"] == "AssetNode", f"no asset {pipeline}/{table}"
        return node["partitionKeys"], node["partitionStats"]["numMaterialized"]

    def checks(self, pipeline: str, table: str) -> list[tuple[bool, str, int | None]]:
        """The evaluations of the table's check, the newest first: passed, who compared, differences."""
        found = self.client.graphql(_CHECKS, key={"path": [pipeline, table]})["assetCheckExecutions"]
        told = [check["evaluation"] for check in found if check["evaluation"]]
        counts = [{e["label"]: e.get("intValue") for e in evaluation["metadataEntries"]} for evaluation in told]
        return [
            (evaluation["success"], evaluation["description"] or "", count.get("differences"))
            for evaluation, count in zip(told, counts, strict=True)
        ]

    def consumers(self) -> list[psutil.Process]:
        """The agent and the consumers of this home."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get("CDC_HOME") == str(self.home)
                if ours and "cdc_pipelines.cli" in process.cmdline():
                    found.append(process)
        return found


class Kept:
    """The one instance, from the first test that asks for it to the last one of those that are run in a row."""

    def __init__(self) -> None:
        self._ends = contextlib.ExitStack()
        self._instance: DagsterInstance | None = None

    def get(self, stack: StackSettings, folder: Callable[[], Path]) -> DagsterInstance:
        if self._instance is None:
            self._instance = self._ends.enter_context(running(stack, folder()))
        return self._instance

    def end(self) -> None:
        """Idle, it would go on taking the machine's time from all other tests."""
        self._instance = None
        self._ends.close()


_KEPT = pytest.StashKey[Kept]()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if _KEPT in item.config.stash and "dagster" not in getattr(nextitem, "fixturenames", ()):
        item.config.stash[_KEPT].end()


@pytest.fixture(scope="session")
def kept_dagster(pytestconfig: pytest.Config) -> Iterator[Kept]:
    kept = pytestconfig.stash.setdefault(_KEPT, Kept())
    yield kept
    kept.end()


@pytest.fixture
def dagster(stack: StackSettings, kept_dagster: Kept, tmp_path_factory: pytest.TempPathFactory) -> DagsterInstance:
    """The running instance."""
    return kept_dagster.get(stack, lambda: tmp_path_factory.mktemp("dagster"))


@contextlib.contextmanager
def running(stack: StackSettings, folder: Path) -> Iterator[DagsterInstance]:
    """A started instance; everything of it is gone afterwards."""
    (folder / "pipelines").mkdir()
    database = f"t{os.getpid()}_{folder.name}".replace("-", "_")
    environment = {
        "CDC_HOME": str(folder), "CDC_PIPELINES_DIR": str(folder / "pipelines"), "CDC_AGENT_AUTOSTART": "1",
    }  # fmt: skip
    admin = postgres_connection(stack.postgres, "postgres", admin=True)
    name = sql.Identifier(database)
    admin.execute(sql.SQL("create database {} owner {}").format(name, sql.Identifier(stack.postgres.user)))
    access = stack.postgres
    storage = Storage(access.host, access.port, database, access.user, access.password)
    home = DagsterHome.create(folder / "home", project=PROJECT, storage=storage, environment=environment)
    server = DagsterServer(home)
    try:
        server.start()
        instance = DagsterInstance(server, server.client(), folder, environment)
        yield instance
        for process in instance.consumers():
            process.kill()
    finally:
        server.stop()
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(name))
        admin.close()


@dataclass
class DagsterPipe(BothSides):
    """One pipeline between this test's own two databases, driven through Dagster."""

    name: str
    file: Path
    dagster: DagsterInstance
    mysql: pymysql.Connection
    target: psycopg.Connection

    @property
    def client(self) -> DagsterClient:
        return self.dagster.client

    def configure(self) -> None:
        """Not through Dagster, as `compare` is not: each run of its own would cost the tests many seconds."""
        with self.dagster.store() as store:
            configure(self.file, store)

    def compare(self) -> None:
        """Fails where the sides are not equal."""
        with self.dagster.store() as store, Runtime.open(self.name, store) as rt:
            report = verify(rt, logging.getLogger("verify"))
        assert report.equal, report

    def launch(self, job: str, **config: Any) -> str:
        return self.client.launch(job, {"pipeline": self.name, **config})

    def succeed(self, job: str, **config: Any) -> str:
        """Launch a job and wait for its success. Returns the run's id."""
        run_id = self.launch(job, **config)
        self.client.succeed(run_id)
        return run_id

    def log(self, run_id: str) -> list[str]:
        """What the run's steps logged, of one pipeline's operation."""
        return self.client.messages(run_id)


@pytest.fixture
def make_dagster_pipe(
    dagster: DagsterInstance,
    mysql_database: str,
    target_database: str,
    mysql: pymysql.Connection,
    target: psycopg.Connection,
    pipeline_file: Callable[..., Path],
) -> Iterator[Callable[..., DagsterPipe]]:
    """Make pipelines, not yet configured; all are torn down after the test."""
    made: list[DagsterPipe] = []

    def make(**settings: Any) -> DagsterPipe:
        written = pipeline_file(mysql_database, target_database, **settings)
        file = dagster.pipelines / written.name
        file.write_text(written.read_text())
        made.append(DagsterPipe(file.stem, file, dagster, mysql, target))
        return made[-1]

    yield make
    # Not through Dagster: a run of its own for each would cost the tests minutes.
    with dagster.store() as store:
        for pipe in made:
            pipe.file.unlink()
            with contextlib.suppress(NotConfiguredError), Runtime.open(pipe.name, store) as rt:
                lifecycle.teardown(rt, logging.getLogger("teardown"), drop_tables=True)
