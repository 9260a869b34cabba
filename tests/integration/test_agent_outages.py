"""The agent while its control store is away or something of one pipeline is broken, and who sees that it lives."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.agent_stage import Build, Stage, alive, build, stage
from tests.control_fixtures import postgres_url, sqlite_url, start_worker, wait_until
from tests.proxy import Proxy

__all__ = ["build", "postgres_url", "sqlite_url", "stage", "start_worker"]  # fixtures

NOWHERE = 9


@pytest.fixture
def remote(build: Build, postgres_url: str) -> Iterator[tuple[Stage, Proxy, int]]:
    """A stage whose agent reaches its store through a proxy, and the store's own port."""
    address = make_url(postgres_url)
    proxy = Proxy(int(address.port or 0))
    made = build("remote", postgres_url)
    made.url = address.set(port=proxy.port).render_as_string(hide_password=False)
    yield made, proxy, int(address.port or 0)
    proxy.close()


def test_consumers_go_on_while_the_store_is_away(remote: tuple[Stage, Proxy, int]) -> None:
    stage, proxy, port = remote
    stage.configure("shop", "other")
    stage.want("shop")
    agent = stage.agent()
    note = stage.started("shop")
    file = stage.folder / "agent.alive"
    proxy.lead_to(NOWHERE)
    wait_until(lambda: "consumers go on" in stage.agent_log())
    touched = file.stat().st_mtime
    wait_until(lambda: file.stat().st_mtime > touched)  # it lives, and whoever looks need not restart it
    assert alive(note)
    stage.want("other")
    os.kill(note["pid"], signal.SIGKILL)
    proxy.lead_to(port)
    assert stage.started("shop", 2)["pid"] != note["pid"]
    stage.started("other")
    assert "the control store is reached again" in stage.agent_log()
    proxy.lead_to(NOWHERE)
    os.kill(agent.pid, signal.SIGTERM)
    assert agent.said() == "ended"
    assert alive(stage.notes("shop")[-1])
    assert "Traceback" not in stage.agent_log()


def test_an_agent_takes_its_consumers_along_without_the_store_too(remote: tuple[Stage, Proxy, int]) -> None:
    stage, proxy, _ = remote
    stage.configure("shop")
    stage.want("shop")
    agent = stage.agent(stop_consumers=True)
    note = stage.started("shop")
    proxy.lead_to(NOWHERE)
    os.kill(agent.pid, signal.SIGTERM)
    assert agent.said() == "ended"
    assert not alive(note)
    assert stage.notes("shop", "terms")


def test_one_pipelines_broken_log_holds_up_no_other(stage: Stage) -> None:
    stage.configure("shop", "other")
    stage.want("shop")
    stage.agent()
    note = stage.started("shop")
    log = stage.folder / "logs" / "shop.log"
    log.unlink()
    log.mkdir()
    os.kill(note["pid"], signal.SIGKILL)
    stage.want("other")
    stage.started("other")
    wait_until(lambda: "consumer of shop can't be started" in stage.agent_log())
    log.rmdir()
    stage.started("shop", 2)


def test_whoever_runs_the_agent_sees_that_it_lives(stage: Stage, tmp_path: Path) -> None:
    stage.configure("shop")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        agent = stage.agent(notify=str(tmp_path / "notify"))
        assert systemd.recv(99) == b"READY=1"
        assert systemd.recv(99) == b"WATCHDOG=1"
        assert time.time() - (stage.folder / "agent.alive").stat().st_mtime < 10
        os.kill(agent.pid, signal.SIGTERM)
        assert agent.said() == "ended"
        words = [b"WATCHDOG=1"]
        while words[-1] == b"WATCHDOG=1":
            words.append(systemd.recv(99))
        assert words[-1] == b"STOPPING=1"
    assert not (stage.folder / "agent.alive").exists()
