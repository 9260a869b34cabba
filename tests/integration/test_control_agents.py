"""Agents and their consumers in the control store: exits, one agent per host, one host per pipeline."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from cdc_pipelines.agent import run
from cdc_pipelines.replication import processes
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import RetryableError
from tests.control_fixtures import StartWorker, go, postgres_url, sqlite_url, start_worker
from tests.control_specs import make_spec
from tests.integration.control_stage import beat_of, is_sqlite, raw, store, url, worker

__all__ = ["postgres_url", "sqlite_url", "start_worker", "store", "url", "worker"]  # fixtures


def test_exits_are_kept_newest_first_and_not_for_ever(store: ControlStore) -> None:
    for code in range(130):
        store.record_exit("shop", group="g", revision=4, host="h", pid=code, exit_code=code, last_lines="x")
    store.record_exit("other", group="g", revision=1, host="h", pid=1, exit_code=None, last_lines="")
    assert [e.exit_code for e in store.exits("shop", 3)] == [129, 128, 127]
    assert len(store.exits("shop", 1000)) == 100
    assert {name: e.exit_code for name, e in store.last_exits().items()} == {"shop": 129, "other": None}


def test_one_agent_per_host(worker: StartWorker, store: ControlStore) -> None:
    pair = [worker("agent"), worker("agent")]
    go(*pair)
    answers = [one.said() for one in pair]
    assert sorted(a.split()[0] for a in answers) == ["refused", "registered"]
    winner = pair[answers.index("registered")]
    assert [a.pid for a in store.live_agents()] == [winner.pid]
    assert f"refused {winner.pid}" in answers
    winner.kill()
    assert list(store.live_agents()) == []
    third = worker("agent")
    go(third)
    assert third.said() == "registered"


def test_one_agent_per_name_wherever_it_is(
    store: ControlStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.register_agent("mine") is None
    monkeypatch.setattr(processes, "place", lambda: "another container")
    other = store.register_agent("theirs")
    assert other is not None
    assert (other.agent_id, other.here) == ("mine", False)
    stop = threading.Event()
    stop.set()
    with pytest.raises(RetryableError) as caught:
        run._register(store, "theirs", stop)
    assert "in another container or on another machine" in caught.value.message
    assert "CDC_HOST" in caught.value.next_step
    with monkeypatch.context() as named:
        named.setenv("CDC_HOST", "db-2")
        assert store.register_agent("second") is None
    assert {a.host for a in store.live_agents()} == {processes.host(), "db-2"}
    old = datetime.now(UTC) - timedelta(seconds=20)  # it was killed, and could not say so
    raw(url, "update cdc_agents set at = :at", at=old.replace(tzinfo=None) if is_sqlite(store) else old)
    assert store.register_agent("theirs") is None


def test_an_agent_that_was_replaced_is_told(store: ControlStore, url: str) -> None:
    assert store.register_agent("mine") is None
    assert store.agent_beat("mine")
    store.forget_agent("mine")
    assert not store.agent_beat("mine")


def test_an_agent_that_does_not_beat_is_not_live(store: ControlStore, url: str) -> None:
    store.register_agent("mine")
    assert len(store.live_agents()) == 1
    old = datetime.now(UTC) - timedelta(seconds=20)
    raw(url, "update cdc_agents set at = :at", at=old.replace(tzinfo=None) if is_sqlite(store) else old)
    assert list(store.live_agents()) == []


def test_a_pipeline_is_one_hosts(store: ControlStore, url: str) -> None:
    assert store.assign(["a", "b"], "host1") == {"a", "b"}
    assert store.assign(["a", "b", "c"], "host2") == {"c"}
    store.unassign(["a"], "host1")
    assert store.assign(["a", "b", "c"], "host2") == {"a", "c"}
    past = datetime.now(UTC) - timedelta(seconds=1)
    raw(url, "update cdc_assignments set expires_at = :at", at=past.replace(tzinfo=None) if is_sqlite(store) else past)
    store.beat(beat_of("b"))  # its consumer lives on, on host `here`
    assert store.assign(["b"], "host2") == set()
    assert store.assign(["b"], "here") == {"b"}
    store.beat(beat_of("b", state="stopped"))
    store.unassign(["b"], "here")
    assert store.assign(["b"], "host2") == {"b"}


def test_a_host_that_comes_back_from_an_outage_lets_the_others_come_first(store: ControlStore, url: str) -> None:
    assert store.assign(["a"], "host1") == {"a"}
    past = datetime.now(UTC) - timedelta(seconds=1)
    raw(url, "update cdc_assignments set expires_at = :at", at=past.replace(tzinfo=None) if is_sqlite(store) else past)
    assert store.assigned_to("a") is None
    assert store.assign(["a", "new"], "host2", take_over=False) == {"new"}
    assert store.assign(["a"], "host1", take_over=False) == {"a"}
    assert store.assigned_to("a") == "host1"


def test_a_consumer_whose_pipeline_another_host_has_is_not_heard(store: ControlStore) -> None:
    store.save_pipeline(make_spec("shop", 1), "", ())
    store.set_desired("shop", "running", group="g")
    assert store.beat(beat_of(group="g", message="mine"))  # of host `here`
    store.unassign(["shop"], "here")
    assert store.assign(["shop"], "elsewhere") == {"shop"}
    assert store.beat(beat_of(group="g", message="a zombie's")) is False
    assert store.beat(beat_of(group="g", state="failed", message="its last words")) is False
    assert store.heartbeat("shop").message == "mine"
    assert store.assigned_to("shop") == "elsewhere"


def test_a_consumer_of_an_old_group_holds_nothing(store: ControlStore) -> None:
    store.save_pipeline(make_spec("shop", 1), "", ())
    store.set_desired("shop", "running", group="g2")
    store.beat(beat_of(group="g1"))
    assert store.assigned_to("shop") is None
    assert store.assign(["shop"], "elsewhere") == {"shop"}
