"""Two hosts, one control store on PostgreSQL: whatever happens to the one, the stream goes on at the other.

Each host is an agent with a name (CDC_HOST) and a home of its own; its consumers are its agent's children.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy.engine import make_url

from cdc_pipelines.agent.supervisor import ASSIGN_EVERY_S
from cdc_pipelines.replication.control.assignments import HELD_S
from cdc_pipelines.replication.control.store import ControlStore
from tests.conftest import PROJECT
from tests.control_fixtures import postgres_url
from tests.e2e.conftest import Pipe, wait_until
from tests.proxy import Proxy

__all__ = ["postgres_url"]  # fixture

PATIENCE_S = 60  # on a machine of its own it takes less than 15 s; here other tests load it
LEADERS = (
    "select distinct split_part(a.application_name, '@', 2) from pg_locks l join pg_stat_activity a using (pid) "
    "where l.locktype = 'advisory' and l.granted and a.datname = current_database() "
    "and a.application_name like 'cdc:%:consumer@%'"
)


@dataclass
class Host:
    """An agent and whatever it started, on a host of that name."""

    name: str
    home: Path
    agent: psutil.Process

    def consumers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.Error):
                if "consume" in process.cmdline() and process.environ().get("CDC_HOME") == str(self.home) \
                        and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def signal(self, number: int) -> None:
        """To all of its processes, the agent first: nothing of it can react to another's end."""
        for process in [self.agent, *self.consumers()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def said(self) -> str:
        return "\n".join(log.read_text() for log in (self.home / "logs").glob("*.log"))


@dataclass
class Hosts:
    """The hosts of one control store."""

    url: str
    folder: Path
    store: ControlStore
    started: dict[str, Host] = field(default_factory=dict)

    def start(self, name: str, url: str | None = None) -> Host:
        home = self.folder / name
        (home / "logs").mkdir(parents=True, exist_ok=True)
        with (home / "logs" / "agent.log").open("ab") as log:
            agent = subprocess.Popen(
                [sys.executable, "-m", "cdc_pipelines.cli", "agent"], cwd=PROJECT, stdout=log, stderr=log,
                env=os.environ | {"CDC_HOST": name, "CDC_HOME": str(home), "CDC_CONTROL_URL": url or self.url},
            )
        self.started[name] = Host(name, home, psutil.Process(agent.pid))
        wait_until(lambda: name in {a.host for a in self.store.live_agents()}, f"the agent of {name}")
        return self.started[name]

    def at_work(self, pipeline: str) -> str | None:
        """The host whose consumer streams, as the control store has it."""
        beat = self.store.heartbeat(pipeline)
        return beat.host if beat is not None and beat.state == "streaming" else None


@pytest.fixture
def hosts(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    monkeypatch.setenv("CDC_CONTROL_URL", postgres_url)
    made = Hosts(postgres_url, tmp_path, ControlStore.open(postgres_url))
    yield made
    for host in made.started.values():
        host.signal(signal.SIGCONT)
        host.signal(signal.SIGKILL)
    made.store.close()


@pytest.fixture
def proxied(postgres_url: str) -> Iterator[tuple[Proxy, str]]:
    """A way of its own to the control store, and its address."""
    address = make_url(postgres_url)
    proxy = Proxy(int(address.port or 0))
    yield proxy, address.set(port=proxy.port).render_as_string(hide_password=False)
    proxy.close()


def commit(pipe: Pipe, value: int) -> None:
    pipe.run("begin", f"insert into audit values ({value})", f"update t set v = {value}", "commit")


def goes_on(pipe: Pipe, value: int, timeout_s: float) -> None:
    """A commit arrives within that time."""
    commit(pipe, value)
    pipe.arrives(f"select v, (select count(*) from audit where n = {value}) from t", [(value, 1)], timeout_s)


def state(pipe: Pipe) -> list[tuple[Any, ...]]:
    """What was applied; offset and position go on with whatever else the source does."""
    return pipe.rows("select events, (select count(*) from audit), (select v from t) from _cdc.log_offset")


def test_the_stream_goes_on_at_another_host(
    hosts: Hosts, proxied: tuple[Proxy, str], make_pipe: Callable[..., Pipe]
) -> None:
    way, roundabout = proxied
    one = hosts.start("one", roundabout)
    pipe = make_pipe()
    pipe.run("create table audit (n int)", "create table t (id int primary key, v int)", "insert into t values (1, 0)")
    pipe.configure()
    pipe.start()
    two = hosts.start("two")
    started = time.monotonic()
    goes_on(pipe, 1, PATIENCE_S)
    (consumer_of_one,) = one.consumers()
    assert two.consumers() == []
    assert pipe.rows(LEADERS) == [("one",)]

    # Cut off from the control store, a host's consumer streams on, until the other one takes the lead from it.
    wait_for_patience(since=started)
    way.stall()
    goes_on(pipe, 2, PATIENCE_S)
    wait_until(lambda: hosts.at_work(pipe.name) == "two", "host two to take over", PATIENCE_S)
    goes_on(pipe, 3, PATIENCE_S)
    assert pipe.rows(LEADERS) == [("two",)]
    wait_until(lambda: not consumer_of_one.is_running() or consumer_of_one.status() == "zombie", "its consumer's end")
    way.flow()
    back = time.monotonic()
    wait_until(lambda: "is another host's now" in one.said(), "host one to learn of it")
    assert one.consumers() == []
    assert hosts.at_work(pipe.name) == "two"

    # Frozen: the session on the target, and the lead with it, would stand for hours.
    wait_for_patience(since=back)
    two.signal(signal.SIGSTOP)
    goes_on(pipe, 4, PATIENCE_S)
    assert pipe.rows(LEADERS) == [("one",)]
    (frozen,) = two.consumers()
    wait_until(lambda: hosts.at_work(pipe.name) == "one", "the heartbeat of host one")
    before = state(pipe)
    two.signal(signal.SIGCONT)
    back = time.monotonic()
    wait_until(lambda: not frozen.is_running() or frozen.status() == "zombie", "the woken consumer's end")
    wait_until(lambda: "is another host's now" in two.said(), "the woken agent to learn of it")
    assert state(pipe) == before
    assert two.consumers() == []
    assert hosts.at_work(pipe.name) == "one"
    record = hosts.store.get(pipe.name)
    assert (record.status, record.message) == ("running", "")

    # Dead, with all that was on it.
    wait_for_patience(since=back)
    one.signal(signal.SIGKILL)
    goes_on(pipe, 5, PATIENCE_S)
    pipe.arrives("select n from audit order by 1", [(n,) for n in range(1, 6)])
    pipe.equal()


def wait_for_patience(since: float) -> None:
    """A standby takes nothing over before it has been in reach of the store for as long as a hold lasts."""
    time.sleep(max(0.0, since + HELD_S + 2 * ASSIGN_EVERY_S - time.monotonic()))
