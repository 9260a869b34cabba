"""`make demo` and `make demo-down`, on a small shop of the test's own, as the Makefile calls them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pymysql
import pytest
import requests

from cdc_pipelines.demo.live import LiveWrites
from cdc_pipelines.demo.scene import DemoFailedError
from cdc_pipelines.demo.shop import create_shop
from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import PROJECT, postgres_connection


@dataclass
class Demo:
    """The demo of one pipeline file with a home and a Dagster database of its own."""

    file: Path
    home: Path
    dagster_database: str

    @property
    def name(self) -> str:
        return self.file.stem

    def run(self, word: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cdc_pipelines.demo", word, "--pipeline", str(self.file),
             "--dagster-database", self.dagster_database, *more],
            cwd=PROJECT, env=os.environ | {"CDC_HOME": str(self.home)} | environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=500, check=False,
        )

    def processes(self) -> list[str]:
        """What still runs with this demo's home: agent, consumer, Dagster's processes."""
        found = []
        for process in psutil.process_iter(["pid"]):
            try:
                if process.environ().get("CDC_HOME") == str(self.home):
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


@pytest.fixture
def demo(
    stack: StackSettings,
    mysql_database: str,
    target_database: str,
    pipeline_file: Callable[..., Path],
    cdc_home: Path,
    unique: Callable[[str], str],
) -> Iterator[Demo]:
    database = unique("dagster")
    with postgres_connection(stack.postgres, stack.postgres_target_database) as connection:
        connection.execute(f'CREATE DATABASE "{database}"')  # type: ignore[arg-type]
        demo = Demo(pipeline_file(mysql_database, target_database, copy={"chunk_mb": 1}), cdc_home, database)
        yield demo
        demo.run("down")
        connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)')  # type: ignore[arg-type]


def test_the_demo_shows_it_all_and_its_end_leaves_nothing(demo: Demo, target: psycopg.Connection) -> None:
    done = demo.run("up", "--scale", "0.05")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert re.search(r"✓ +6 start +[\d,]+ rows copied, connector RUNNING, consumer STREAMING", done.stdout)
    visible = re.findall(r"(INSERT|UPDATE|DELETE|transaction over 4 tables) +visible after +(\d+) ms", done.stdout)
    assert {kind for kind, _ in visible} == {"INSERT", "UPDATE", "DELETE", "transaction over 4 tables"}
    assert all(0 < int(ms) < 20_000 for _, ms in visible)
    compared = r"✓ +8 verify +[\d,]+ rows are equal on both sides, compared under [1-9]\d* transactions"
    assert re.search(compared, done.stdout)
    status = json.loads(done.stdout[done.stdout.index("\n{") : done.stdout.index("\n}") + 2])
    assert status["overall"] == "healthy"
    assert status["statistics"]["tables_enabled"] == 11
    assert re.search(r"the run in Dagster +http://127\.0\.0\.1:\d+/runs/[0-9a-f-]{36}", done.stdout)
    page = re.findall(r"the page +(http://127\.0\.0\.1:\d+)\n", done.stdout)[0]
    assert [each["name"] for each in requests.get(f"{page}/cdc/config/", timeout=30).json()["pipelines"]] == [demo.name]
    running = "\n".join(demo.processes())
    assert "consume" in running
    assert "dagster_webserver" in running
    assert "dagster._daemon" in running

    ended = demo.run("down")
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    assert demo.processes() == []
    schemas = {name for (name,) in target.execute("SELECT schemaname FROM pg_tables").fetchall()}
    assert schemas <= {"_cdc", "pg_catalog", "information_schema"}
    assert demo.run("down").returncode == 0


def test_the_demo_fails_where_the_stack_is_not_there(demo: Demo, tmp_path: Path) -> None:
    done = demo.run("up", CDC_STACK_HOME=str(tmp_path / "nothing"))
    assert done.returncode == 1
    assert "The demo failed:" in done.stdout
    assert "cdc stack up" in done.stdout


def test_live_writes_that_do_not_arrive_are_told(
    mysql: pymysql.Connection, mysql_database: str, target: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_shop(mysql, mysql_database, scale=0.01)
    target.execute("CREATE TABLE customers (email text, notes text)")
    monkeypatch.setattr("cdc_pipelines.demo.live.PATIENCE_S", 0.3)
    with pytest.raises(DemoFailedError, match="INSERT: not visible"):
        LiveWrites(mysql, target).measure(1)


class _TornTarget:
    """Answers as a target would that shows an order before its lines."""

    def execute(self, question: str, parameters: tuple[object, ...]) -> "_TornTarget":
        return self

    def fetchone(self) -> tuple[int, ...]:
        return (1, 0, 0, 0)


def test_a_transaction_seen_in_parts_is_told(mysql: pymysql.Connection, mysql_database: str) -> None:
    create_shop(mysql, mysql_database, scale=0.01)
    with pytest.raises(DemoFailedError, match="torn"):
        LiveWrites(mysql, _TornTarget())._order()  # type: ignore[arg-type]
