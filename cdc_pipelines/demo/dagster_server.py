"""A real Dagster for the demo and the tests: code server, webserver and daemon, on free ports, stopped by pid.

    home = DagsterHome.create(folder, project=…, storage=Storage(…))     # dagster.yaml, workspace.yaml, environment
    server = DagsterServer(home)
    server.start(); …; server.stop()

The processes are detached and written down in the home, so that another process can `attach` to them or stop them.
Their logs lie beside. Nothing is found by name: only pids on file with the start time on file count as ours.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
import requests
import yaml

from cdc_pipelines.dagster_client import LOCATION, DagsterClient, DagsterClientError
from cdc_pipelines.stack.ports import is_free

HOST = "127.0.0.1"
_FIRST_PORT, _LAST_PORT = 17000, 19999  # below the kernel's range for outgoing connections
_START_PATIENCE_S = 180.0
_STOP_PATIENCE_S = 20.0


class DagsterServerError(Exception):
    """A process of Dagster did not come up, or died; the message holds the end of its log."""


@dataclass(frozen=True)
class Storage:
    """The PostgreSQL database that holds runs, events and schedules."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """What the project's dagster.yaml asks for."""
        return {
            "CDC_DAGSTER_PG_HOST": self.host,
            "CDC_DAGSTER_PG_PORT": str(self.port),
            "CDC_DAGSTER_PG_DB": self.database,
            "CDC_DAGSTER_PG_USER": self.user,
            "CDC_DAGSTER_PG_PASSWORD": self.password,
        }


@dataclass(frozen=True)
class Process:
    """One process on file. A pid alone proves nothing: after a crash it may belong to anything."""

    pid: int
    created: float

    def alive(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 2
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True)
class DagsterHome:
    """A folder with everything one Dagster needs, and the environment its processes get beside it.

    `project` is the folder that they run in: `pipelines/` and relative paths of pipeline files are looked up there.
    """

    folder: Path
    project: Path
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        project: Path,
        storage: Storage | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "DagsterHome":
        """With `storage`, the project's own dagster.yaml (PostgreSQL); without, SQLite inside the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        source = project / "dagster.yaml" if storage else project / "deploy" / "local" / "dagster.yaml"
        shutil.copyfile(source, folder / "dagster.yaml")
        values = {**(environment or {}), **(storage.environment() if storage else {})}
        return cls(folder.resolve(), project.resolve(), values)

    @property
    def state_file(self) -> Path:
        return self.folder / "processes.json"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def child_environment(self) -> dict[str, str]:
        """This process's environment, the home's on top."""
        return {**os.environ, **self.environment, "DAGSTER_HOME": str(self.folder), "PYTHONUNBUFFERED": "1"}


class DagsterServer:
    """The three processes of one home."""

    def __init__(self, home: DagsterHome, *, port: int | None = None) -> None:
        """`port` is the webserver's wish; another is taken where it is not free."""
        self.home = home
        self._wish = port
        self.port = 0
        self.processes: dict[str, Process] = {}
        self._read_state()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def client(self) -> DagsterClient:
        return DagsterClient(self.url)

    def running(self) -> bool:
        """Whether all of its processes are there."""
        return bool(self.processes) and all(p.alive() for p in self.processes.values())

    def start(self) -> None:
        """Returns when the webserver answers and has loaded the code location. Nothing is done if all are there."""
        if self.running():
            return
        self.stop()
        code_port = free_port()
        self.port = self._wish if self._wish and is_free(self._wish) else free_port(code_port)
        self._write_workspace(code_port)
        # First the code server alone: the others would take its absence for an error, the daemon for a minute.
        self._spawn(
            "code-server", "dagster", "code-server", "start", "-m", "cdc_pipelines.definitions", "-h", HOST,
            "-p", str(code_port), "--location-name", LOCATION, "--use-python-environment-entry-point",
        )  # fmt: skip
        self._wait("code-server", lambda: _listens(code_port), "does not listen yet")
        self._spawn(
            "webserver", "dagster_webserver", "-h", HOST, "-p", str(self.port), "-w", self._workspace,
            "--live-data-poll-rate", "1000",
        )  # fmt: skip
        self._spawn("daemon", "dagster._daemon", "run", "-w", self._workspace)
        self._wait("webserver", self._loaded, "did not load the definitions")

    def stop(self) -> None:
        """End its processes, and the runs that they still carry out. Harmless if they are gone."""
        doomed = [p for p in (process.alive() for process in reversed(self.processes.values())) if p]
        for process in list(doomed):
            doomed += _same_session_children(process)
        for process in doomed:
            _send(process, signal.SIGTERM)
        _, left = psutil.wait_procs(doomed, timeout=_STOP_PATIENCE_S)
        for process in left:
            _send(process, signal.SIGKILL)
        psutil.wait_procs(left, timeout=5)
        self.processes = {}
        self.home.state_file.unlink(missing_ok=True)

    @property
    def _workspace(self) -> str:
        return str(self.home.folder / "workspace.yaml")

    def _write_workspace(self, code_port: int) -> None:
        server = {"host": HOST, "port": code_port, "location_name": LOCATION}
        Path(self._workspace).write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))

    def _spawn(self, name: str, *module_and_arguments: str) -> None:
        with self.home.log(name).open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", *module_and_arguments],
                env={**self.home.child_environment(), "CDC_DAGSTER_URL": self.url}, cwd=self.home.project,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        child.returncode = 0  # we never wait for it here: keep Popen from warning that it still runs
        self.processes[name] = Process(child.pid, psutil.Process(child.pid).create_time())
        state = {"port": self.port, "processes": {n: asdict(p) for n, p in self.processes.items()}}
        self.home.state_file.write_text(json.dumps(state))

    def _read_state(self) -> None:
        try:
            state = json.loads(self.home.state_file.read_text())
        except (OSError, ValueError):
            return
        self.port = state["port"]
        self.processes = {name: Process(**facts) for name, facts in state["processes"].items()}

    def _wait(self, name: str, ready: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _START_PATIENCE_S
        while not ready():
            for other, process in self.processes.items():
                if not process.alive():
                    raise DagsterServerError(f"Dagster's {other} ended during its start:\n{self._tail(other)}")
            if time.monotonic() > deadline:
                raise DagsterServerError(
                    f"Dagster's {name} {otherwise} within {_START_PATIENCE_S:.0f} s:\n{self._tail(name)}"
                )
            time.sleep(0.2)

    def _loaded(self) -> bool:
        try:
            state = self.client().location_state()
        except (requests.RequestException, DagsterClientError):
            return False  # not up yet
        if state == "PythonError":
            raise DagsterServerError(f"the definitions can't be loaded:\n{self._tail('code-server')}")
        return state == "RepositoryLocation"

    def _tail(self, name: str) -> str:
        try:
            return "\n".join(self.home.log(name).read_text(errors="replace").splitlines()[-30:])
        except OSError:
            return "(no log)"


def free_port(*taken: int) -> int:
    """A port that nobody listens on, each process beginning its search elsewhere."""
    span = _LAST_PORT - _FIRST_PORT
    for step in range(span):
        port = _FIRST_PORT + (os.getpid() * 7 + step) % span
        if port not in taken and is_free(port):
            return port
    raise DagsterServerError(f"no free port between {_FIRST_PORT} and {_LAST_PORT}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _same_session_children(process: psutil.Process) -> list[psutil.Process]:
    """Its children, runs under way among them; but not the consumers' agent, which lives in a session of its own."""
    try:
        session = os.getsid(process.pid)
        return [c for c in process.children(recursive=True) if os.getsid(c.pid) == session]
    except (psutil.NoSuchProcess, ProcessLookupError):
        return []


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
