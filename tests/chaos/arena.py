"""A stack of the campaign's own (it kills servers), a pipeline on it, and who watches the target."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pymysql
import yaml

from cdc_pipelines.stack import layout, orchestrate
from cdc_pipelines.stack.settings import StackSettings, load_env
from tests.chaos.workload import BANK, SCHEMA, SUM, TABLES
from tests.conftest import PROJECT, mysql_connection, postgres_connection
from tests.plain_compare import plain_compare

PARTS = ("mysql", "postgres", "kafka", "connect")


@dataclass
class Arena:
    """What faults and checks work on. `home` is the pipeline's, the stack's is in the environment."""

    home: Path
    stack: StackSettings
    log: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        line = f"{time.monotonic() - self.started:7.1f} s  {text}"
        self.log.append(line)
        print(line, flush=True)

    def source(self) -> pymysql.Connection:
        return mysql_connection(self.stack.mysql, "chaos")

    def target(self) -> psycopg.Connection:
        return postgres_connection(self.stack.postgres, "chaos")

    # Processes

    def cdc(self, *words: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cdc_pipelines.cli", *words], cwd=PROJECT, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def ours(self, *words: str) -> list[psutil.Process]:
        """The pipeline's processes whose command line has all of the words."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                if "cdc_pipelines.cli" in line and all(word in line for word in words) \
                        and process.environ().get("CDC_HOME") == str(self.home):
                    found.append(process)
        return found

    def part(self, name: str) -> psutil.Process | None:
        pid = next(state.pid for state in orchestrate.status() if state.part == name)
        return psutil.Process(pid) if pid else None

    def up(self) -> None:
        failed = orchestrate.up(list(PARTS), lambda line: None)
        assert not failed, failed

    def agent(self) -> None:
        """As a service manager would, start the agent that is not there."""
        if not self.ours("agent"):
            with (self.home / "agent.log").open("ab") as file:
                subprocess.Popen(
                    [sys.executable, "-m", "cdc_pipelines.cli", "agent"], cwd=PROJECT, stdin=subprocess.DEVNULL,
                    stdout=file, stderr=file, start_new_session=True,
                )  # fmt: skip

    # The end

    def status(self) -> dict[str, Any]:
        return json.loads(self.cdc("status", "chaos", "--json").stdout or "{}")

    def differences(self) -> list[str]:
        """After the writers' end: what the plain comparison of every table finds. Empty is equal."""
        found = []
        with self.source() as source, self.target() as target:
            for table, key in TABLES.items():
                result = plain_compare(source, target, table, table, key)
                if not result.equal:
                    found.append(f"{table}: {result}"[:600])
            doubled = target.execute(
                "select n, writer, count(*) from audit group by 1, 2 having count(*) > 1 or n < 0"
            ).fetchall()
            found += [f"audit: {row}" for row in doubled]
        return found

    def logs(self, lines: int = 30) -> str:
        files = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"--- {file.name}\n" + "\n".join(file.read_text().splitlines()[-lines:]) for file in files)


class Observer(threading.Thread):
    """Reads all balances on the target in one snapshot, many times a second."""

    def __init__(self, arena: Arena) -> None:
        super().__init__(name="observer", daemon=True)
        self._arena, self.seen, self.wrong = arena, 0, []
        self.watching = threading.Event()
        self._over = threading.Event()

    def run(self) -> None:
        connection: psycopg.Connection | None = None
        while not self._over.is_set():
            if not self.watching.wait(0.2):
                continue
            try:
                connection = connection or self._arena.target()
                (total,) = connection.execute(BANK).fetchone() or (None,)
                if self.watching.is_set():
                    self.seen += 1
                    if total != SUM:
                        self.wrong.append(f"{time.monotonic() - self._arena.started:.1f} s: {total}")
            except psycopg.Error:
                connection = None
                time.sleep(0.3)
            self._over.wait(0.02)

    def end(self) -> None:
        self._over.set()
        self.join(10)


@contextlib.contextmanager
def arena() -> Iterator[Arena]:
    """A running stack with an empty source schema and a configured pipeline; all of it gone at the end."""
    parts = layout.discover().parts
    parts.mkdir(parents=True, exist_ok=True)  # where nothing was fetched yet, it is fetched to where it is kept
    folder = Path(tempfile.mkdtemp(prefix="cdc-chaos-"))
    folder.chmod(0o755)
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("CDC_")]:
        del os.environ[name]
    os.environ |= {
        "CDC_STACK_HOME": str(folder / "stack"), "CDC_HOME": str(folder / "home"), "CDC_AGENT_AUTOSTART": "1",
    }  # fmt: skip
    try:
        base = layout.discover().base
        base.mkdir(parents=True, exist_ok=True)
        (base / "parts").symlink_to(parts)
        (folder / "home").mkdir()
        failed = orchestrate.up(list(PARTS), lambda line: print(line, flush=True))
        assert not failed, failed
        os.environ |= load_env()
        made = Arena(folder / "home", StackSettings.from_env(load_env()))
        _prepare(made)
        yield made
    finally:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("CDC_HOME") == str(folder / "home") and process.pid != os.getpid():
                    process.kill()
        orchestrate.down(list(PARTS), wipe=False, say=lambda line: None)
        os.environ.clear()
        os.environ |= before
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(made: Arena) -> None:
    with mysql_connection(made.stack.mysql) as admin, admin.cursor() as cursor:
        cursor.execute("create database chaos")
        cursor.execute("use chaos")
        for statement in SCHEMA:
            cursor.execute(statement)
    with postgres_connection(made.stack.postgres, made.stack.postgres_target_database) as target:
        target.execute("create database chaos")
    document = {
        "config": 1,
        "source": {"type": "mysql", "host": "127.0.0.1", "port": "${env:CDC_STACK_MYSQL_PORT}", "database": "chaos",
                   "user": "cdc", "password": "${env:CDC_STACK_MYSQL_PASSWORD}"},
        "target": {"type": "postgres", "host": "127.0.0.1", "port": "${env:CDC_STACK_POSTGRES_PORT}",
                   "database": "chaos", "user": "cdc", "password": "${env:CDC_STACK_POSTGRES_PASSWORD}"},
        "connect": {"url": made.stack.connect_url},
        "kafka": {"bootstrap_servers": made.stack.kafka_bootstrap},
    }
    file = made.home / "chaos.yaml"
    file.write_text(yaml.safe_dump(document))
    done = made.cdc("configure", str(file))
    assert done.returncode == 0, done.stderr
