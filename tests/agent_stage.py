"""A control store with an agent or several, and stand-ins for its consumers."""

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from cdc_pipelines.replication import processes
from cdc_pipelines.replication.control.store import ControlStore, Heartbeat
from tests.control_fixtures import StartWorker, Worker, go, wait_until
from tests.control_specs import make_spec

HOST = processes.host()
_numbers = itertools.count(1)


@dataclass
class Stage:
    """A control store with pipelines, and the folder that their stand-in consumers talk through."""

    url: str
    folder: Path
    store: ControlStore
    _start: StartWorker

    def configure(self, *names: str) -> None:
        for name in names:
            self.store.save_pipeline(make_spec(name, len(self.store.list())), "", ())

    def want(self, name: str, group: str = "g1") -> None:
        self.store.set_desired(name, "running", group=group)

    def agent(self, **options: Any) -> Worker:
        worker = self._start(self.url, "supervise", str(self.folder), options)
        go(worker)
        return worker

    def does(self, name: str, **facts: Any) -> None:
        (self.folder / f"{name}.does").write_text(json.dumps(facts))

    def notes(self, name: str, kind: str = "starts") -> list[dict[str, Any]]:
        with suppress(FileNotFoundError):
            return [json.loads(line) for line in (self.folder / f"{name}.{kind}").read_text().splitlines()]
        return []

    def started(self, name: str, times: int = 1) -> dict[str, Any]:
        """Wait until the consumer was started that often; the last start."""
        wait_until(lambda: len(self.notes(name)) >= times)
        return self.notes(name)[times - 1]

    def passes(self) -> None:
        """Return when the agent has looked at every pipeline since, and done what it does about it."""
        name = f"zz_last{next(_numbers)}"  # looked at in the order of their names
        self.configure(name)
        self.want(name)
        self.started(name)

    def agent_log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def clear(self) -> None:
        for file in self.folder.glob("*.starts"):
            for note in self.notes(file.stem):
                with suppress(psutil.Error):
                    process = psutil.Process(note["pid"])
                    if str(self.folder) in process.cmdline():
                        process.kill()


Build = Callable[[str, str], Stage]


@pytest.fixture
def build(tmp_path: Path, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """Make stages; whatever consumers they leave is killed at the end."""
    stages: list[Stage] = []

    def make(name: str, url: str) -> Stage:
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setenv("CDC_HOME", str(folder))
        stages.append(Stage(url, folder, ControlStore.open(url), start_worker))
        return stages[-1]

    yield make
    for stage in stages:
        for agent in stage.store.live_agents() if Path(stage.store.address.database or "").exists() else []:
            with suppress(ProcessLookupError):
                os.kill(agent.pid, signal.SIGKILL)
        stage.clear()


@pytest.fixture
def stage(build: Build, sqlite_url: str) -> Stage:
    return build("stage", sqlite_url)


def alive(note: dict[str, Any]) -> bool:
    return processes.alive(note["pid"])


def beat(stage: Stage, name: str, pid: int, **facts: Any) -> None:
    moment = facts.pop("at", datetime.now(UTC))
    kept = stage.store.beat(Heartbeat(name, facts.pop("group", "g1"), pid, HOST, "1", "streaming", moment))
    assert kept
