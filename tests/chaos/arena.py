"""Servers of the campaign's own (it kills them), a pipeline on them, and who watches the target."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pymysql
import requests
import yaml

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.stack import layout, orchestrate
from cdc_pipelines.stack.settings import StackSettings, load_env
from tests.chaos.proxy import Proxy
from tests.chaos.sources import SourceKind
from tests.chaos.watch import Beats, Observer
from tests.chaos.workload import SCHEMA, TABLES
from tests.command_server import CommandServer
from tests.conftest import PROJECT, CommandResult, mysql_connection, postgres_connection, unique_name
from tests.plain_compare import plain_compare


class BrokenError(AssertionError):
    """The pipeline does not go on, or holds something wrong: what comes after would say nothing."""


@dataclass
class Difference:
    """What the plain comparison found in a table."""

    table: str
    lost: int
    doubled: int  # rows that the source hasn't, or hasn't as often
    changed: int
    text: str


@dataclass
class Arena:
    """What faults and checks work on. `home` is the pipeline's, the stack's is in the environment."""

    kind: SourceKind
    home: Path
    stack: StackSettings
    source_link: Proxy
    target_link: Proxy
    commands: CommandServer
    parts: list[str]  # the servers that are its own
    config: int = 1
    database: str = "chaos"  # on the source
    beats: Beats = field(init=False)
    observer: Observer = field(init=False)
    log: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.beats = Beats(self.source)
        self.observer = Observer(self.target, self.beats)

    @property
    def file(self) -> Path:
        return self.home / "chaos.yaml"

    @property
    def connector(self) -> str:
        return f"cdc_1_{self.config}"

    def say(self, text: str) -> None:
        line = f"{time.monotonic() - self.started:7.1f} s  {text}"
        self.log.append(line)
        print(line, flush=True)

    def source(self) -> pymysql.Connection:
        """Not through the proxy: what writes there writes on."""
        connection = mysql_connection(self.kind.access(self.stack), self.database)
        with connection.cursor() as cursor:
            cursor.execute(self.kind.session)
        return connection

    def target(self) -> psycopg.Connection:
        return postgres_connection(self.stack.postgres, "chaos")

    # Processes

    def spawn_cdc(self, *words: str) -> subprocess.Popen[str]:
        """A command to be killed or watched."""
        return subprocess.Popen(
            [sys.executable, "-m", "cdc_pipelines.cli", *words], cwd=PROJECT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def cdc(self, *words: str, timeout_s: float = 300) -> CommandResult:
        return CommandResult(*self.commands.run(*words, environment=dict(os.environ), timeout=timeout_s))

    def must(self, *words: str) -> None:
        """A command that has no reason to fail."""
        done = self.cdc(*words)
        assert done.code == 0, f"cdc {' '.join(words)}: exit {done.code}: {done.stderr[-3000:]}"

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
        """A server's process; `source` is whichever it is here."""
        name = self.kind.part if name == "source" else name
        pid = next(state.pid for state in orchestrate.status() if state.part == name)
        return psutil.Process(pid) if pid else None

    def up(self) -> None:
        """Everything that was killed runs again. Another fault may kill it once more while it starts."""
        for _ in range(3):
            failed = orchestrate.up(self.parts, lambda line: None)
            if not failed:
                return
        raise BrokenError(f"the stack does not come up: {failed}")

    def agent(self) -> None:
        """As a service manager would, start the agent that is not there."""
        if not self.ours("agent"):
            with (self.home / "agent.log").open("ab") as file:
                subprocess.Popen(
                    [sys.executable, "-m", "cdc_pipelines.cli", "agent"], cwd=PROJECT, stdin=subprocess.DEVNULL,
                    stdout=file, stderr=file, start_new_session=True,
                )  # fmt: skip

    # What is there

    def status(self) -> dict[str, Any]:
        return json.loads(self.cdc("status", "chaos", "--json").stdout or "{}")

    def connector_failure(self) -> str | None:
        """What the connector's failed task says; None where none failed, or nobody can tell."""
        with contextlib.suppress(requests.RequestException, ValueError):
            told = requests.get(f"{self.stack.connect_url}/connectors/{self.connector}/status", timeout=5).json()
            for task in told.get("tasks", []):
                if task["state"] == "FAILED":
                    return " | ".join(line for line in task["trace"].splitlines() if not line.startswith("\tat"))[:500]
        return None

    def progress(self) -> object:
        """What moves while the stream goes on. Raises BrokenError where it ended for good."""
        try:
            store = ControlStore.open()
            record, beat = store.get("chaos"), store.heartbeat("chaos")
        except CdcError:
            return None
        if record.status == "failed":
            raise BrokenError(f"the pipeline failed: {record.message}")
        return beat and (beat.log_offset, beat.log_end, beat.applied_position)

    def differences(self) -> list[Difference]:
        """While nobody writes: what the plain comparison of every table finds. Empty is equal."""
        found = []
        with self.source() as source, self.target() as target:
            for table, key in TABLES.items():
                result = plain_compare(source, target, table, table, key)
                if not result.equal:
                    found.append(Difference(
                        table, result.missing.total(), result.extra.total(), len(result.differs), str(result)[:600]
                    ))
        return found

    def logs(self, lines: int = 30) -> str:
        files = [*sorted((self.home / "logs").glob("*.log")), *self.home.glob("*.log")]
        return "\n".join(f"--- {file.name}\n" + "\n".join(file.read_text().splitlines()[-lines:]) for file in files)


@contextlib.contextmanager
def arena(
    kind: SourceKind, commands: CommandServer, *, only_target: bool = False, keep: Path | None = None
) -> Iterator[Arena]:
    """A running stack with a filled source schema and a configured pipeline; all of it gone at the end.

    `commands` carries out the commands. `keep` is a folder that receives the logs of servers and processes.
    With `only_target` nothing but the target's server is its own: source, Kafka and Connect are those of the local
    stack, which others use as well, and no fault may end them.
    """
    shared = load_env() if only_target else {}
    wanted = ["postgres"] if only_target else [kind.part, "postgres", "kafka", "connect"]
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
    links: list[Proxy] = []
    try:
        base = layout.discover().base
        base.mkdir(parents=True, exist_ok=True)
        (base / "parts").symlink_to(parts)
        (folder / "home").mkdir()
        failed = orchestrate.up(wanted, lambda line: print(line, flush=True))
        assert not failed, failed
        values = load_env() | {name: value for name, value in shared.items() if "_POSTGRES_" not in name}
        os.environ |= values
        stack = StackSettings.from_env(values)
        links += [Proxy(kind.access(stack).port), Proxy(stack.postgres.port)]
        made = Arena(kind, folder / "home", stack, *links, commands, wanted)
        if only_target:
            made.config, made.database = os.getpid() * 1000 % 2**31, unique_name("chaos")
        _prepare(made)
        try:
            yield made
        finally:
            if only_target:
                _leave(made)
    finally:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("CDC_HOME") == str(folder / "home") and process.pid != os.getpid():
                    process.kill()
        for link in links:
            link.close()
        _end(wanted)
        if keep is not None:
            _keep_logs(folder / "home", layout.discover().base / "logs", keep)
        os.environ.clear()
        os.environ |= before
        shutil.rmtree(folder, ignore_errors=True)


def _leave(made: Arena) -> None:
    """What it has on servers that others use."""
    made.cdc("teardown", "chaos", "--yes")
    with made.source() as source, source.cursor() as cursor:
        cursor.execute(f"drop database {made.database}")


def _end(parts: list[str]) -> None:
    """Nothing of them is wanted any more: they need not end in order."""
    for state in orchestrate.status():
        if state.part in parts and state.pid is not None:
            with contextlib.suppress(psutil.Error):
                psutil.Process(state.pid).kill()
    orchestrate.down(parts, wipe=False, say=lambda line: None)  # what was still starting


def _keep_logs(home: Path, servers: Path, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    for file in filter(Path.is_file, [*home.rglob("*.log*"), *servers.rglob("*.log")]):
        shutil.copy(file, keep / f"{file.parent.name}-{file.name}")


def _prepare(made: Arena) -> None:
    access = made.kind.access(made.stack)
    with mysql_connection(access) as admin:
        made.kind.prepare(admin)
    with mysql_connection(access) as admin, admin.cursor() as cursor:
        cursor.execute(made.kind.session)
        cursor.execute(f"create database {made.database} character set utf8mb4")
        cursor.execute(f"use {made.database}")
        for statement in SCHEMA:
            cursor.execute(statement)
    with postgres_connection(made.stack.postgres, made.stack.postgres_target_database) as target:
        target.execute("create database chaos")
    server = f"CDC_STACK_{made.kind.part.upper()}"
    document = {
        "config": made.config,
        "source": {"type": made.kind.part, "host": "127.0.0.1", "port": made.source_link.port,
                   "database": made.database, "user": "cdc", "password": f"${{env:{server}_PASSWORD}}"},
        "target": {"type": "postgres", "host": "127.0.0.1", "port": made.target_link.port,
                   "database": "chaos", "user": "cdc", "password": "${env:CDC_STACK_POSTGRES_PASSWORD}"},
        "connect": {"url": made.stack.connect_url},
        "kafka": {"bootstrap_servers": made.stack.kafka_bootstrap},
        "copy": {"chunk_mb": 1},
    }
    made.file.write_text(yaml.safe_dump(document))
    made.must("configure", str(made.file))
