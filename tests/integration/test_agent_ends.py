"""The agent itself may end, be killed or locked out: its consumers go on, and none runs twice."""

import os
import signal
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

from cdc_pipelines.agent.run import BEAT_EVERY_S
from cdc_pipelines.replication.control.assignments import HELD_S
from tests.agent_stage import Build, Stage, alive, build, stage
from tests.control_fixtures import postgres_url, sqlite_url, start_worker, wait_until

__all__ = ["build", "postgres_url", "sqlite_url", "stage", "start_worker"]  # fixtures


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
