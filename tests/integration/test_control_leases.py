"""One operation at a time: leases of processes that live, are killed, or lost them."""

import time
from pathlib import Path

import pytest

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import FencedError, LeaseHeldError
from tests.control_fixtures import StartWorker, go, lost, postgres_url, sqlite_url, start_worker, wait_until
from tests.integration.control_stage import raw, store, url, worker

__all__ = ["postgres_url", "sqlite_url", "start_worker", "store", "url", "worker"]  # fixtures


def test_of_two_processes_one_gets_the_lease(worker: StartWorker, store: ControlStore) -> None:
    for attempt in range(3):
        pair = [worker("lease", f"p{attempt}", f"holder{n}", 2, 30) for n in range(2)]
        go(*pair)
        answers = sorted(one.said() for one in pair)
        assert answers[0] == "got"
        assert answers[1].startswith(f"held pipeline p{attempt} is held by holder")


def test_under_a_lease_one_works_at_a_time(worker: StartWorker, store: ControlStore, tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("0")
    workers = [worker("count", "shop", str(file), 15) for _ in range(4)]
    go(*workers)
    assert [one.said() for one in workers] == ["done"] * 4
    assert file.read_text() == "60"


def test_a_held_lease_names_its_holder(store: ControlStore) -> None:
    with store.lease("shop", "run 42", "start", ttl_s=20):
        with pytest.raises(LeaseHeldError, match=r"held by run 42 for `start`.* (19|20) s left"):
            store.lease("shop", "cli", "stop").__enter__()
        with store.lease("other", "cli", "stop"):
            pass
    with store.lease("shop", "cli", "stop") as lease:
        lease.check()
    assert store.lease_info("shop") is None


def test_the_lease_of_a_killed_process_is_free_at_once(worker: StartWorker, store: ControlStore) -> None:
    victim = worker("lease", "shop", "victim", 60, 60)
    go(victim)
    assert victim.said() == "got"
    with pytest.raises(LeaseHeldError):
        store.lease("shop", "me", "start").__enter__()
    victim.kill()
    started = time.monotonic()
    with store.lease("shop", "me", "start"):
        assert time.monotonic() - started < 5


def test_a_lease_of_another_machine_is_waited_for(store: ControlStore, url: str) -> None:
    with store.lease("shop", "far", "start", ttl_s=2, keep=True):
        pass  # kept: no process stands for it, only its expiry
    raw(url, "update cdc_leases set place = 'another machine', pid = 1, born = 'x'")
    started = time.monotonic()
    with pytest.raises(LeaseHeldError):
        store.lease("shop", "me", "start", wait_s=0.5).__enter__()
    with store.lease("shop", "me", "start", wait_s=10):
        assert 1 < time.monotonic() - started < 5


def test_a_lease_is_renewed_while_it_is_held(store: ControlStore) -> None:
    with store.lease("shop", "me", "copy", ttl_s=1) as lease:
        time.sleep(1.3)  # longer than it was taken for: it must not run out meanwhile
        lease.check()
        with pytest.raises(LeaseHeldError):
            store.lease("shop", "you", "stop").__enter__()


def test_a_lost_lease_is_told(store: ControlStore, url: str) -> None:
    with store.lease("shop", "me", "copy", ttl_s=1) as lease:
        raw(url, "update cdc_leases set holder = 'you', expires_at = '2999-01-01 00:00:00'")
        wait_until(lambda: lost(lease))
        with pytest.raises(FencedError, match="no longer held by me"):
            lease.check()
    held = store.lease_info("shop")
    assert held is not None
    assert held.holder == "you"


def test_the_same_holder_enters_again_and_only_the_outermost_gives_back(store: ControlStore, url: str) -> None:
    second = ControlStore.open(url)
    with store.lease("shop", "run", "restart"):
        with second.lease("shop", "run", "start"):
            pass
        assert store.lease_info("shop") is not None
        with pytest.raises(LeaseHeldError):
            store.lease("shop", "other", "stop").__enter__()
    assert store.lease_info("shop") is None


def test_a_kept_lease_stays_the_holders(worker: StartWorker, store: ControlStore) -> None:
    with store.lease("shop", "run 1", "plan", keep=True):
        pass
    other = worker("lease", "shop", "run 2", 0, 30)
    go(other)
    assert other.said().startswith("held pipeline shop is held by run 1 for `plan`")
    same = worker("lease", "shop", "run 1", 0, 30)
    go(same)
    assert same.said() == "got"
    same.process.join()
    assert store.lease_info("shop") is None  # that one was not kept: the run's last step
    with store.lease("shop", "run 3", "plan", keep=True):
        pass
    assert store.release("shop", "run 1") is False
    assert store.release("shop", "run 3") is True
    with store.lease("shop", "run 4", "plan"):
        pass


def test_an_operations_own_error_comes_through(store: ControlStore) -> None:
    with pytest.raises(ValueError, match="mine"), store.lease("shop", "me", "copy"):
        raise ValueError("mine")
    assert store.lease_info("shop") is None
