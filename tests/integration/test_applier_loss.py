"""The applier beside what may happen to its session: it is ended, or a start wants the row that it holds."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from cdc_pipelines.replication.changes.batches import Commit, Learn
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.stream.applying import Applier

POSITION = MySqlPosition("binlog.000001", 4).to_json()


@contextmanager
def session(target: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Another one of the same user, with transactions."""
    info = target.info
    with psycopg.connect(
        host=info.host, port=info.port, user=info.user, password=info.password, dbname=info.dbname
    ) as connection:
        yield connection


def test_a_session_that_ends_inside_a_run_is_told_as_such(target: psycopg.Connection) -> None:
    with session(target) as conn:
        state = TargetState(conn, "shop")
        state.ensure_schema()
        state.new_generation(1, "server", [])
        state.set_log_topic("log", "id")
        state.init_offset(0, POSITION)
        conn.commit()
        applier = Applier(conn, "shop", ("mysql", "postgres"), logging.getLogger("test"))
        applier.handle(Learn("t", "[]"))
        target.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
        with pytest.raises(RetryableError, match="the target went away"):
            applier.handle(Commit(7, POSITION, None, 1, 1))
        applier.abandon()  # has nothing left to undo, and must not hide the reason
        assert not applier.in_run


def test_a_run_that_waits_for_the_log_does_not_hold_up_who_makes_its_connector_anew(target: psycopg.Connection) -> None:
    """A connector was deleted in the middle of a transaction, of which the applier holds a part."""
    with session(target) as consumer, session(target) as start:
        state = TargetState(start, "shop")
        state.ensure_schema()
        epoch = state.new_generation(1, "server", [])
        start.commit()
        TargetState(consumer, "shop").require_epoch(epoch)
        start.execute("set lock_timeout = '2s'")
        assert state.next_history_attempt() == 1
        start.commit()
        with pytest.raises(psycopg.errors.LockNotAvailable):  # but the epoch is not raised under it
            start.execute("select 1 from _cdc.pipeline for update")
