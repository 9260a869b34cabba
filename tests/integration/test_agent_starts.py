"""Agents that are started by the way, and consumers that they did not start or that hang."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from cdc_pipelines.agent import ensure_agent, supervisor
from cdc_pipelines.replication import agent as agent_starter
from cdc_pipelines.replication import processes
from cdc_pipelines.replication.errors import ConfigurationError
from tests.agent_stage import HOST, Stage, alive, beat, build, stage
from tests.conftest import PROJECT
from tests.control_fixtures import sqlite_url, start_worker, wait_until

__all__ = ["build", "sqlite_url", "stage", "start_worker"]  # fixtures

STAND_IN = PROJECT / "tests" / "stand_in_consumer.py"


# Consumers that the agent did not start, or that hang


def test_a_consumer_that_was_started_by_hand_is_taken_over(stage: Stage) -> None:
    stage.configure("shop")
    by_hand = subprocess.Popen([sys.executable, str(STAND_IN), str(stage.folder), "consume", "shop"])
    note = stage.started("shop")
    assert note["pid"] == by_hand.pid
    beat(stage, "shop", by_hand.pid)
    stage.want("shop")
    stage.agent()
    stage.passes()
    assert len(stage.notes("shop")) == 1
    stage.store.set_desired("shop", "stopped")
    assert by_hand.wait(timeout=20) == 0
    assert stage.notes("shop", "terms")


def test_a_consumer_that_lives_but_does_not_beat_is_killed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOOK_EVERY_S", 0.1)
    stage.configure("shop")
    stage.want("shop")

    def command(name: str) -> list[str]:
        return [sys.executable, str(STAND_IN), str(stage.folder), "consume", name]

    boss = supervisor.Supervisor(stage.store, command, stale_after_s=5, stale_for_s=0.5)

    def works(condition: Callable[[], bool]) -> None:
        """Tick until it is so."""
        wait_until(lambda: boss.tick() or condition())

    boss.tick()
    first = stage.started("shop")
    beat(stage, "shop", first["pid"])
    boss.tick()
    beat(stage, "shop", first["pid"], at=datetime.now(UTC) - timedelta(seconds=6))
    boss.tick()
    beat(stage, "shop", first["pid"])  # it was only late, as everybody is after a suspension
    later = time.monotonic() + 0.8
    works(lambda: time.monotonic() > later)
    assert alive(first)
    beat(stage, "shop", first["pid"], at=datetime.now(UTC) - timedelta(seconds=6))
    works(lambda: len(stage.notes("shop")) == 2)
    assert not alive(first)
    assert "had not beaten" in stage.store.heartbeat("shop").message
    boss.stop_all()
    assert not alive(stage.notes("shop")[1])


# Starting an agent by the way


@pytest.fixture
def started_agents(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(agent_starter, "_CONTAINER_SIGNS", ())
    monkeypatch.delenv("CDC_AGENT_AUTOSTART", raising=False)
    monkeypatch.setenv("CDC_CONTROL_URL", stage.url)
    monkeypatch.chdir(PROJECT)
    yield
    for agent in stage.store.live_agents():
        os.kill(agent.pid, signal.SIGTERM)
        wait_until(lambda pid=agent.pid: not processes.alive(pid))


@pytest.mark.usefixtures("started_agents")
def test_an_agent_is_started_where_none_lives_and_outlives_who_started_it(stage: Stage) -> None:
    code = """if True:
        from cdc_pipelines.agent import ensure_agent
        from cdc_pipelines.replication.control.store import ControlStore
        print(ensure_agent(ControlStore.open()).pid)
    """
    starter = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=os.environ | {"CDC_AGENT_AUTOSTART": "1"},
        capture_output=True, text=True, check=False,
    )
    assert starter.returncode == 0, starter.stderr
    pid = int(starter.stdout)
    again = ensure_agent(stage.store)
    assert again.pid == pid
    process = psutil.Process(pid)
    assert process.cmdline()[1:] == ["-m", "cdc_pipelines.cli", "agent"]
    assert os.getsid(pid) == pid
    assert "control.db" not in " ".join(process.cmdline())
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: not processes.alive(pid))
    log = (stage.folder / "logs" / "agent.log").read_text()
    assert "agent ends; its consumers go on" in log
    assert "Traceback" not in log
    third = ensure_agent(stage.store)
    assert third.pid != pid


@pytest.mark.usefixtures("started_agents")
@pytest.mark.parametrize("sign", ["file", "kubernetes", "word"])
def test_in_a_container_none_is_started(stage: Stage, monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
    if sign == "file":
        monkeypatch.setattr(agent_starter, "_CONTAINER_SIGNS", (str(stage.folder),))
    elif sign == "kubernetes":
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    else:
        monkeypatch.setenv("CDC_AGENT_AUTOSTART", "0")
    with pytest.raises(ConfigurationError) as caught:
        ensure_agent(stage.store)
    assert "run `cdc agent`" in caught.value.next_step
    assert list(stage.store.live_agents()) == []
    stage.agent()  # one that lives is taken in a container too
    wait_until(lambda: stage.store.live_agents())
    assert ensure_agent(stage.store).host == HOST


@pytest.mark.usefixtures("started_agents")
def test_starting_in_a_container_can_be_allowed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("CDC_AGENT_AUTOSTART", "1")
    assert processes.alive(ensure_agent(stage.store).pid)
