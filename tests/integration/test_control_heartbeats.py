"""Heartbeats in the control store: whose word counts, and many writers at once."""

import os
import sqlite3
import threading
import time
from datetime import UTC, datetime

import psycopg

from cdc_pipelines.replication.control.store import ControlStore
from tests.control_fixtures import StartWorker, go, postgres_url, sqlite_url, start_worker
from tests.control_specs import make_spec
from tests.integration.control_stage import beat_of, is_sqlite, store, url, worker

__all__ = ["postgres_url", "sqlite_url", "start_worker", "store", "url", "worker"]  # fixtures


def test_a_heartbeat_comes_back(store: ControlStore) -> None:
    store.save_pipeline(make_spec(), "", ())
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    beat = beat_of(
        at=moment, log_offset=2**40, log_end=2**40 + 5, applied_position='{"file": "b.1"}', commit_ms=1_760_000_000_123,
        lag_seconds=0.25, events_total=3, transactions_total=2, last_event_at=moment, message="größe",
    )
    assert store.beat(beat) is True
    assert store.heartbeat("shop") == beat
    assert store.heartbeats() == {"shop": beat}
    assert store.get("shop").last_sync_at == moment
    store.clear_heartbeat("shop")
    assert store.heartbeat("shop") is None


def test_an_old_groups_consumer_does_not_speak_for_the_new_one(store: ControlStore) -> None:
    store.save_pipeline(make_spec(), "", ())
    store.set_desired("shop", "running", group="g1")
    store.beat(beat_of(group="g1"))
    store.set_desired("shop", "running", group="g2")
    store.beat(beat_of(group="g1", message="still there"))
    assert store.heartbeat("shop").message == "still there"
    store.beat(beat_of(group="g2", state="starting"))
    store.beat(beat_of(group="g1", state="stopped"))
    assert (store.heartbeat("shop").group, store.heartbeat("shop").state) == ("g2", "starting")


def test_the_last_word_is_said_once(store: ControlStore) -> None:
    store.beat(beat_of())
    store.close_heartbeat("shop", host="here", pid=os.getpid() + 1, state="failed", message="another process")
    assert store.heartbeat("shop").state == "streaming"
    store.close_heartbeat("shop", host="here", pid=os.getpid(), state="failed", message="killed")
    store.close_heartbeat("shop", host="here", pid=os.getpid(), state="stopped", message="again")
    assert (store.heartbeat("shop").state, store.heartbeat("shop").message) == ("failed", "killed")


def test_ten_consumers_beat_at_once(worker: StartWorker, store: ControlStore) -> None:
    for number in range(10):
        store.save_pipeline(make_spec(f"p{number}", number), "", ())
    workers = [worker("beats", f"p{number}", 30) for number in range(10)]
    go(*workers)
    assert [one.said() for one in workers] == [30] * 10
    assert {beat.log_offset for beat in store.heartbeats().values()} == {29}


def test_a_locked_store_costs_a_beat_and_nothing_else(store: ControlStore, url: str) -> None:
    store.beat(beat_of(message="first"))
    if is_sqlite(store):
        blocker = sqlite3.connect(store.address.database or "", isolation_level=None, check_same_thread=False)
        blocker.execute("begin immediate")
    else:
        blocker = psycopg.connect(url.replace("+psycopg2", ""))
        blocker.execute("lock table cdc_heartbeats in access exclusive mode")
    started = time.monotonic()
    assert store.beat(beat_of(message="second")) is False
    assert time.monotonic() - started < 15
    blocker.rollback()
    blocker.close()
    assert store.heartbeat("shop").message == "first"
    assert store.beat(beat_of(message="third")) is True


def test_a_waiting_writer_gets_its_turn(store: ControlStore) -> None:
    """Several threads of one process write through one store."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(20):
                store.record(f"p{number}", "x", "me", "done")
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [len(store.history(f"p{n}", 100)) for n in range(8)] == [20] * 8


def test_a_forked_process_does_not_disturb_its_parents_connection(store: ControlStore) -> None:
    store.record("shop", "parent", "me", "done")
    with store._read() as connection:
        parents = connection.connection.dbapi_connection
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with store._read() as connection:
                own = connection.connection.dbapi_connection is not parents
            store.record("shop", "child", "me", "done")
            code = 0 if own else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    store.record("shop", "parent again", "me", "done")
    assert [e.operation for e in store.history("shop")] == ["parent again", "child", "parent"]
