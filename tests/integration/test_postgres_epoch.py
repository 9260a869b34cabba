"""Who may write: an older epoch is fenced off, and a table is one pipeline's."""

import threading
import time

import psycopg
import pytest

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import (
    ConfigurationError,
    FencedError,
    RetryableError,
)
from tests.integration.target_stage import ORDERS, USERS, Open, conn, open_, scalar, spec

__all__ = ["conn", "open_", "spec"]  # fixtures


def test_epochs_are_not_used_again_after_a_teardown(conn: psycopg.Connection) -> None:
    state = TargetState(conn, "shop")
    old = state.new_generation(1, "a", [])
    state.drop()
    conn.commit()
    with pytest.raises(FencedError, match="gone"):
        state.require_epoch(old)
    new = state.new_generation(1, "a", [])
    conn.commit()
    assert new != old
    with pytest.raises(FencedError, match=str(new)):
        state.require_epoch(old)


def test_old_epoch_and_generation_are_fenced(conn: psycopg.Connection) -> None:
    state = TargetState(conn, "shop")
    old = state.new_generation(1, "a", [])
    state.require_epoch(old, 1)
    with pytest.raises(FencedError):
        state.require_epoch(old, 2)
    new = state.raise_epoch()
    state.require_epoch(new, 1)
    with pytest.raises(FencedError, match=f"epoch is {new}"):
        state.require_epoch(old)


def test_whoever_raises_the_epoch_waits_for_a_short_transaction(conn: psycopg.Connection, open_: Open) -> None:
    state = TargetState(conn, "shop")
    epoch = state.new_generation(1, "a", [USERS])
    ddl.create_table(conn, USERS)
    conn.commit()
    worker = open_("shop:copy")
    TargetState(worker, "shop").require_epoch(epoch)
    worker.execute("insert into users values (1, 'x')")
    threading.Timer(0.5, worker.commit).start()
    state.raise_epoch()
    conn.commit()
    assert scalar(conn, "select count(*) from users") == 1


def test_whoever_raises_the_epoch_ends_a_worker_that_holds_on(conn: psycopg.Connection, open_: Open) -> None:
    state = TargetState(conn, "shop")
    epoch = state.new_generation(1, "a", [USERS])
    ddl.create_table(conn, USERS)
    conn.commit()
    worker, other = open_("shop:copy"), open_("shopping:copy")
    TargetState(worker, "shop").require_epoch(epoch)
    worker.execute("insert into users values (1, 'x')")
    other.execute("select 1 from _cdc.pipeline for key share")  # holds a lock too, but is another pipeline's
    other.commit()
    state.new_generation(2, "a", [USERS])
    conn.commit()
    with pytest.raises(psycopg.OperationalError):
        worker.execute("insert into users values (2, 'x')")
    assert scalar(conn, "select count(*) from users") == 0
    assert scalar(other, "select 1") == 1
    assert scalar(conn, "show lock_timeout") == "0"


def test_a_stranger_on_the_row_is_named_not_ended(conn: psycopg.Connection, open_: Open,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    from cdc_pipelines.replication.databases.postgres import epoch_lock

    monkeypatch.setattr(epoch_lock, "_TRIES", 2)
    monkeypatch.setattr(epoch_lock, "_WAIT_MS", 100)
    state = TargetState(conn, "shop")
    state.new_generation(1, "a", [])
    conn.commit()
    stranger = open_("somebody")
    stranger.execute("select 1 from _cdc.pipeline for update")
    with pytest.raises(RetryableError, match="somebody"):
        state.raise_epoch()
    assert scalar(stranger, "select 1") == 1


def test_the_epoch_is_not_raised_outside_a_transaction(conn: psycopg.Connection, open_: Open) -> None:
    state = TargetState(conn, "shop")
    state.new_generation(1, "a", [])
    conn.commit()
    with pytest.raises(RuntimeError, match="inside the caller's transaction"):
        TargetState(open_(autocommit=True), "shop").raise_epoch()


def test_two_pipelines_cannot_have_one_table(conn: psycopg.Connection) -> None:
    TargetState(conn, "shop").new_generation(1, "a", [USERS, ORDERS])
    conn.commit()
    with pytest.raises(ConfigurationError, match=r"public\.orders belongs to pipeline shop"):
        TargetState(conn, "other").new_generation(1, "b", [ORDERS])
    conn.rollback()
    TargetState(conn, "shop").new_generation(2, "a", [USERS])  # lets go of orders
    TargetState(conn, "other").new_generation(1, "b", [ORDERS])
    conn.commit()
    TargetState(conn, "shop").drop(keep_claims=True)
    conn.commit()
    with pytest.raises(ConfigurationError, match="belongs to pipeline shop"):
        TargetState(conn, "third").new_generation(1, "c", [USERS])


def test_two_pipelines_claiming_at_once_get_one_winner(conn: psycopg.Connection, open_: Open) -> None:
    outcomes: dict[str, ConfigurationError | None] = {}

    def claim(name: str, tables: list[MappedTable]) -> None:
        mine = open_(f"{name}:plan")
        try:
            TargetState(mine, name).new_generation(1, name, tables)
            time.sleep(0.3)
            mine.commit()
            outcomes[name] = None
        except ConfigurationError as error:
            mine.rollback()
            outcomes[name] = error

    threads = [
        threading.Thread(target=claim, args=("one", [USERS, ORDERS])),
        threading.Thread(target=claim, args=("two", [ORDERS, USERS])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(e).__name__ for e in outcomes.values()) == ["ConfigurationError", "NoneType"]
