"""The agent with real processes: itself, and consumers that a small stand-in plays."""

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from cdc_pipelines.agent import ensure_agent, supervisor
from cdc_pipelines.agent.run import BEAT_EVERY_S
from cdc_pipelines.replication import agent as agent_starter
from cdc_pipelines.replication import processes, secrets
from cdc_pipelines.replication.control.assignments import HELD_S
from cdc_pipelines.replication.errors import ConfigurationError
from tests.agent_stage import HOST, Build, Stage, alive, beat, build, stage
from tests.conftest import PROJECT
from tests.control_fixtures import (
    postgres_url,
    sqlite_url,
    start_worker,
    wait_until,
)
from tests.control_specs import make_spec

__all__ = ["build", "postgres_url", "sqlite_url", "stage", "start_worker"]  # fixtures

STAND_IN = PROJECT / "tests" / "stand_in_consumer.py"


# What is desired is done


def test_a_desired_consumer_runs_once_in_a_session_of_its_own(stage: Stage) -> None:
    stage.configure("shop", "idle")
    stage.does("shop", say="hello from the consumer")
    stage.want("shop")
    stage.agent()
    note = stage.started("shop")
    stage.passes()
    assert len(stage.notes("shop")) == 1
    assert stage.notes("idle") == []
    assert note["session"] == note["pid"]
    assert note["group"] == "g1"
    assert note["url"] == stage.store.url
    assert "hello from the consumer" in (stage.folder / "logs" / "shop.log").read_text()


def test_a_consumer_that_shall_stop_is_asked_to(stage: Stage) -> None:
    stage.configure("shop")
    stage.want("shop")
    stage.agent()
    note = stage.started("shop")
    beat(stage, "shop", note["pid"])
    stage.store.set_desired("shop", "stopped")
    wait_until(lambda: stage.notes("shop", "terms"))
    wait_until(lambda: stage.store.exits("shop"))
    last = stage.store.exits("shop")[0]
    assert (last.exit_code, last.pid, last.group) == (0, note["pid"], "g1")
    assert not alive(note)
    wait_until(lambda: stage.store.heartbeat("shop").state == "stopped")
    stage.passes()
    assert len(stage.notes("shop")) == 1


def test_a_consumer_that_does_not_listen_is_killed(stage: Stage) -> None:
    stage.configure("shop")
    stage.does("shop", deaf=True)
    stage.want("shop")
    stage.agent(grace_s=1)
    note = stage.started("shop")
    beat(stage, "shop", note["pid"])
    stage.store.set_desired("shop", "stopped")
    wait_until(lambda: stage.store.exits("shop"))
    assert stage.store.exits("shop")[0].exit_code == -signal.SIGKILL
    wait_until(lambda: stage.store.heartbeat("shop").message == "it did not end within 1 s")
    assert not alive(note)


def test_a_new_group_replaces_the_old_ones_consumer(stage: Stage) -> None:
    stage.configure("shop")
    stage.want("shop", "g1")
    stage.agent()
    first = stage.started("shop")
    stage.want("shop", "g2")
    second = stage.started("shop", 2)
    assert second["group"] == "g2"
    assert stage.notes("shop", "terms")[0]["at"] < second["at"]
    assert not alive(first)


def test_a_deleted_pipelines_consumer_ends(stage: Stage) -> None:
    stage.configure("shop")
    stage.want("shop")
    stage.agent()
    note = stage.started("shop")
    stage.store.delete("shop")
    wait_until(lambda: not alive(note))
    assert stage.notes("shop", "terms")


# What ends is judged by its exit code


def test_a_crashing_consumer_is_started_again_with_growing_delays(stage: Stage) -> None:
    stage.configure("shop")
    stage.does("shop", exit=10, say="Kafka is out of reach")
    stage.want("shop")
    stage.agent()
    stage.started("shop", 4)
    times = [note["at"] for note in stage.notes("shop")]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[0] >= 1
    assert gaps[1] >= 2
    assert gaps[2] >= 4
    assert gaps[2] < 12
    last = wait_until(lambda: stage.store.exits("shop"))[-1]
    assert (last.exit_code, last.last_lines) == (10, "Kafka is out of reach")
    assert stage.store.get("shop").status == "configured"
    stage.does("shop", say="well again")
    stage.want("shop", "g2")  # a new word does not wait for the eight seconds that are due
    before = time.monotonic()
    assert stage.started("shop", 5)["at"] - before < 4


def test_a_killed_consumer_is_started_again(stage: Stage) -> None:
    stage.configure("shop")
    stage.want("shop")
    stage.agent()
    first = stage.started("shop")
    beat(stage, "shop", first["pid"])
    os.kill(first["pid"], signal.SIGKILL)
    second = stage.started("shop", 2)
    assert second["pid"] != first["pid"]
    said = stage.store.heartbeat("shop")
    assert (said.state, said.message) == ("failed", "it was ended by signal 9; started again in 1 s")


@pytest.mark.parametrize(("code", "reason"), [(20, "a person is needed"), (30, "something newer"), (2, "refused")])
def test_what_would_end_the_same_way_is_held_back(stage: Stage, code: int, reason: str) -> None:
    stage.configure("shop", "other", "crashing")
    stage.store.set_status("shop", "running", is_active=True)
    stage.does("crashing", exit=10)
    stage.does("shop", exit=code, say="line one\ntable orders: no such column")
    stage.want("shop")
    stage.want("other")
    agent = stage.agent()
    stage.started("shop")
    wait_until(lambda: stage.store.get("shop").status == "failed")
    message = stage.store.get("shop").message
    assert reason in message
    assert message.endswith("table orders: no such column")
    stage.want("crashing")
    stage.started("crashing", 2)  # one that ends later is tried again, after the time that is due
    assert len(stage.notes("shop")) == 1
    agent.kill()
    before = len(stage.notes("crashing"))
    stage.agent()  # the next agent knows as well
    stage.started("crashing", before + 2)
    assert len(stage.notes("shop")) == 1
    assert len(stage.notes("other")) == 1
    stage.does("shop")
    stage.want("shop")
    stage.started("shop", 2)


def test_a_consumers_own_reason_is_kept(stage: Stage) -> None:
    stage.configure("shop")
    stage.does("shop", exit=20, after=1.5)
    stage.want("shop")
    stage.agent()
    stage.started("shop")
    stage.store.set_status("shop", "failed", message="what the consumer itself wrote")
    wait_until(lambda: stage.store.exits("shop"))
    stage.passes()
    assert stage.store.get("shop").message == "what the consumer itself wrote"


def test_last_words_are_kept_masked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.configure("shop")
    (stage.folder / "password").write_text("Zanzib4r!!")
    source = {"type": "mysql", "host": "h", "port": 1, "database": "d", "user": "u"}
    spec = make_spec("shop", 0, source=source | {"password": f"${{file:{stage.folder / 'password'}}}"})
    stage.store.save_pipeline(spec, "", ())
    stage.does("shop", exit=20, say="login with Zanzib4r!! refused")
    stage.want("shop")
    stage.agent()
    last = wait_until(lambda: stage.store.exits("shop"))[0]
    assert last.last_lines == f"login with {secrets.MASK} refused"
    assert "Zanzib4r" not in wait_until(lambda: stage.store.get("shop").message)
    assert "Zanzib4r" not in stage.agent_log()


# The agent itself may end


def test_a_killed_agents_consumers_go_on_and_are_found(stage: Stage) -> None:
    stage.configure("shop", "other")
    stage.want("shop")
    stage.want("other")
    agent = stage.agent()
    shop, other = stage.started("shop"), stage.started("other")
    agent.kill()
    stage.store.set_desired("other", "stopped")  # while nobody supervises
    assert alive(shop)
    stage.agent()
    wait_until(lambda: not alive(other))
    stage.passes()
    assert alive(shop)
    assert len(stage.notes("shop")) == 1
    os.kill(shop["pid"], signal.SIGKILL)  # no child of the new agent, and watched all the same
    stage.started("shop", 2)
    stage.store.set_desired("shop", "stopped")
    wait_until(lambda: stage.notes("shop", "terms"))


def test_an_agent_killed_at_any_moment_leaves_no_second_consumer(stage: Stage) -> None:
    names = [f"p{number}" for number in range(5)]
    stage.configure(*names)
    for name in names:
        stage.want(name)
    agent = stage.agent()
    for name in names:  # kill it while it is starting them
        stage.started(name)
        if name == "p1":
            agent.kill()
            break
    for delay in (0.05, 0.2):
        another = stage.agent()
        time.sleep(delay)
        another.kill()
    stage.agent()
    for name in names:
        stage.started(name)
    stage.passes()
    for name in names:
        assert len([note for note in stage.notes(name) if alive(note)]) == 1, name
        assert len(stage.notes(name)) == 1, name


def test_an_ending_agent_leaves_its_consumers(stage: Stage) -> None:
    stage.configure("shop")
    stage.want("shop")
    agent = stage.agent()
    note = stage.started("shop")
    os.kill(agent.pid, signal.SIGTERM)
    assert agent.said() == "ended"
    agent.process.join()
    assert alive(note)
    assert list(stage.store.live_agents()) == []


def test_an_ending_agent_takes_its_consumers_along_where_asked(stage: Stage) -> None:
    stage.configure("shop", "deaf")
    stage.does("deaf", deaf=True)
    stage.want("shop")
    stage.want("deaf")
    agent = stage.agent(stop_consumers=True, grace_s=1)
    notes = [stage.started("shop"), stage.started("deaf")]
    os.kill(agent.pid, signal.SIGTERM)
    assert agent.said() == "ended"
    assert [alive(note) for note in notes] == [False, False]
    assert stage.store.exits("shop")[0].exit_code == 0


def test_one_agent_per_host_and_store(stage: Stage, build: Build, tmp_path: Path) -> None:
    stage.configure("shop")
    stage.want("shop")
    first = stage.agent()
    note = stage.started("shop")
    second = stage.agent()
    assert second.said().startswith(f"RetryableError: an agent serves {stage.store.location} on this host already: ")
    elsewhere = build("elsewhere", f"sqlite:///{tmp_path / 'elsewhere' / 'control.db'}")
    elsewhere.configure("shop")  # the same name in another store is another pipeline
    elsewhere.want("shop")
    elsewhere.agent()
    other = elsewhere.started("shop")
    assert other["store"] != note["store"]
    first.kill()
    stage.agent()
    stage.store.set_desired("shop", "stopped")
    wait_until(lambda: not alive(note))
    assert alive(other)


def test_an_agent_whose_store_was_deleted_ends_with_its_consumers(stage: Stage) -> None:
    stage.configure("shop")
    stage.want("shop")
    agent = stage.agent()
    note = stage.started("shop")
    for file in Path(stage.store.address.database or "").parent.iterdir():
        file.unlink()
    wait_until(lambda: not alive(note))
    assert agent.said() == "ended"


def test_a_locked_store_stops_nothing(stage: Stage) -> None:
    stage.configure("shop", "other")
    stage.want("shop")
    stage.agent()
    note = stage.started("shop")
    with sqlite3.connect(stage.store.address.database or "", isolation_level=None) as blocker:
        blocker.execute("begin exclusive")
        wait_until(lambda: last_beat(stage) > BEAT_EVERY_S + 0.5)  # the agent waits for the store
        assert alive(note)
        blocker.rollback()
    stage.want("other")
    stage.started("other")
    assert len(stage.notes("shop")) == 1


def last_beat(stage: Stage) -> float:
    """How many seconds ago the agent beat."""
    (agent,) = stage.store.live_agents()
    return (datetime.now(UTC) - agent.at).total_seconds()


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


# Several hosts


def test_hosts_share_the_pipelines_and_take_over_from_a_dead_one(build: Build, postgres_url: str) -> None:
    one, two = build("one", postgres_url), build("two", postgres_url)
    one.configure("shop")
    one.want("shop")
    first = one.agent(host="host1")
    note = one.started("shop")
    two.agent(host="host2")
    wait_until(lambda: len(one.store.live_agents()) == 2)
    time.sleep(HELD_S + 1)  # longer than host1 holds it without renewing
    assert two.notes("shop") == []
    first.kill()
    os.kill(note["pid"], signal.SIGKILL)
    two.started("shop")
    assert len(one.notes("shop")) == 1


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
