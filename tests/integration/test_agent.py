"""The agent with real processes: itself, and consumers that a small stand-in plays; what is desired is done."""

import itertools
import os
import signal
import time

import pytest

from cdc_pipelines.replication import secrets
from tests.agent_stage import Stage, alive, beat, build, stage
from tests.control_fixtures import sqlite_url, start_worker, wait_until
from tests.control_specs import make_spec

__all__ = ["build", "sqlite_url", "stage", "start_worker"]  # fixtures


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
