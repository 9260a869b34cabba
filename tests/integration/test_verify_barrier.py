"""The requester's side of a barrier, against the consumer's own functions, on real databases. Kafka is played."""

import threading
import time
from typing import Any

import msgspec
import pytest

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.stream import parking
from cdc_pipelines.replication.verify import barrier, request, verify
from cdc_pipelines.replication.verify.background import Background
from tests.copied import Copied
from tests.integration.barrier_stage import LOG, NAME, Consumer, FakeRuntime, consumer, rt

__all__ = ["consumer", "rt"]  # fixtures


def far_ahead(copied: Copied) -> str:
    """A position that other tests' commits on the same server do not get past."""
    position = copied.source.position()
    return msgspec.structs.replace(position, gtids=f"{position.server}:1-999999999").to_json()


def verified(copied: Copied) -> list[tuple[Any, ...]]:
    return copied.target.execute("select table_name, rows, differences from _cdc.verified").fetchall()


def rows_of_barrier(copied: Copied) -> list[tuple[Any, ...]]:
    return copied.target.execute("select state from _cdc.barrier").fetchall()


def test_a_running_consumer_stands_still_at_the_sources_position(
    rt: FakeRuntime, copied: Copied, consumer: Consumer
) -> None:
    rt.alive()
    copied.run("insert into t values (3, 'c')")  # not applied yet when the comparison is asked for

    def apply(position: MySqlPosition) -> None:
        assert copied.source.position().includes(position)
        copied.target.execute("insert into t values (3, 'c')")
        # The connector gets there a little later
        threading.Timer(0.5, lambda: setattr(rt, "connector_offset", position.connect_offset())).start()

    consumer.applied = apply
    consumer.start()
    report = verify(rt, LOG)
    assert report.equal
    assert report.tables[0].rows_source == 3
    for _ in range(100):
        if not rows_of_barrier(copied):
            break
        time.sleep(0.05)
    assert consumer.seen == ["parked", "reached", "released"]
    assert consumer.end == 77
    assert rows_of_barrier(copied) == []
    assert verified(copied) == [("t", 3, 0)]


def test_changes_behind_the_meeting_are_not_seen(rt: FakeRuntime, copied: Copied, consumer: Consumer) -> None:
    rt.alive()
    consumer.applied = lambda position: setattr(rt, "connector_offset", position.connect_offset())
    consumer.start()
    with barrier.meet(rt, [t.source for t in rt.tables]) as meeting:
        assert meeting.held_s is not None
        copied.run("insert into t values (4, 'd')")
        copied.target.execute("delete from t")
        assert meeting.source.query("select count(*) from t") == [(2,)]
        assert meeting.target.execute("select count(*) from t").fetchone() == (2,)
        assert consumer.seen[:2] == ["parked", "reached"]


def test_without_a_consumer_both_must_stand_at_one_state(rt: FakeRuntime, copied: Copied) -> None:
    copied.run("insert into t values (3, 'c')")
    with pytest.raises(ConfigurationError, match="no consumer is running"):
        verify(rt, LOG)
    with copied.target.transaction():
        TargetState(copied.target, NAME).advance_offset(5, 6, far_ahead(copied), None, 1, 1)
    for beat in (None, "stopped", "old"):
        if beat == "stopped":
            rt.alive("stopped")
        if beat == "old":
            rt.alive(age_s=120)
        report = verify(rt, LOG)
        assert [(d.kind, d.key) for d in report.tables[0].differences] == [("missing", {"id": 3})]
        assert not report.equal
    assert verified(copied) == [("t", 3, 1)]
    copied.target.execute("insert into t values (3, 'c')")
    assert verify(rt, LOG).equal
    assert verified(copied) == [("t", 3, 0)]


def test_a_pipeline_that_never_streamed_can_not_be_verified(rt: FakeRuntime, copied: Copied) -> None:
    copied.target.execute("delete from _cdc.log_offset")
    with pytest.raises(ConfigurationError, match="nothing has been streamed"):
        verify(rt, LOG)
    copied.target.execute("drop schema _cdc cascade")
    with pytest.raises(ConfigurationError, match="nothing has been streamed"):
        verify(rt, LOG)


def test_a_consumer_that_ends_meanwhile_is_noticed(rt: FakeRuntime, copied: Copied) -> None:
    rt.alive()
    threading.Timer(0.5, lambda: rt.alive("failed")).start()
    with pytest.raises(RetryableError, match="the consumer ended"):
        verify(rt, LOG)
    assert rows_of_barrier(copied) == []


def test_a_consumer_that_was_started_anew_is_noticed(rt: FakeRuntime, copied: Copied) -> None:
    rt.alive()
    threading.Timer(0.5, lambda: rt.alive(pid=2)).start()
    with pytest.raises(RetryableError, match="the consumer was started anew"):
        verify(rt, LOG)
    assert rows_of_barrier(copied) == []


def test_a_consumer_that_does_not_stop_is_given_up(rt: FakeRuntime, copied: Copied) -> None:
    rt.alive()
    with pytest.raises(RetryableError, match="did not come to a stop"), barrier.meet(rt, [], deadline_s=0.3):
        pass
    assert rows_of_barrier(copied) == []


def test_a_connector_that_does_not_get_there_is_given_up(
    rt: FakeRuntime, copied: Copied, consumer: Consumer
) -> None:
    rt.alive()
    rt.connector_offset = {"file": "binlog.000001", "pos": 4, "gtids": ""}
    copied.run("insert into t values (3, 'c')")
    consumer.start()
    with pytest.raises(RetryableError, match=r"connector .* did not get to"), barrier.meet(rt, [], deadline_s=1):
        pass
    assert rows_of_barrier(copied) == []


def test_a_failed_connector_is_not_waited_for(rt: FakeRuntime, copied: Copied, consumer: Consumer) -> None:
    rt.alive()
    rt.connector_offset = {"file": "binlog.000001", "pos": 4, "gtids": ""}
    rt.task = "FAILED"
    copied.run("insert into t values (3, 'c')")
    consumer.start()
    with pytest.raises(RetryableError, match="its task failed"), barrier.meet(rt, [], deadline_s=60):
        pass
    assert rows_of_barrier(copied) == []


def test_two_comparisons_do_not_share_a_barrier(
    rt: FakeRuntime, copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "_BUSY_WAIT_S", 0.3)
    copied.target.execute(
        "insert into _cdc.barrier values (%s, 'x', 'parked', null, null, now() + interval '1 minute')", [NAME]
    )
    rt.alive()
    with pytest.raises(RetryableError, match="another comparison"):
        verify(rt, LOG)
    assert rows_of_barrier(copied) == [("parked",)]
    copied.target.execute("update _cdc.barrier set expires_at = now() - interval '1 second'")
    with pytest.raises(RetryableError, match="did not come to a stop"), barrier.meet(rt, [], deadline_s=0.3):
        pass


def test_a_barrier_that_was_taken_away_is_noticed(rt: FakeRuntime, copied: Copied) -> None:
    rt.alive()
    threading.Timer(0.3, lambda: copied.target.execute("delete from _cdc.barrier")).start()
    with pytest.raises(RetryableError, match="stopped or started anew"):
        verify(rt, LOG)


def test_a_long_wait_keeps_the_barrier_alive(rt: FakeRuntime, copied: Copied) -> None:
    rt.alive()
    with request.Request(rt, 5, ttl_s=0.5):
        for _ in range(10):
            time.sleep(0.1)
            seen = parking.current(copied.target, NAME)
            assert seen is not None
            assert not seen.expired


def test_only_the_named_tables_and_only_known_ones(rt: FakeRuntime, copied: Copied) -> None:
    with pytest.raises(ConfigurationError, match="no table nope"):
        verify(rt, LOG, tables=["t", "nope"])
    with copied.target.transaction():
        TargetState(copied.target, NAME).advance_offset(5, 6, far_ahead(copied), None, 1, 1)
    told: list[str] = []
    assert verify(rt, LOG, tables=["t", "t"], on_table=lambda t: told.append(t.table)).equal
    assert told == ["t"]


def test_a_column_that_the_stream_added_is_compared(rt: FakeRuntime, copied: Copied) -> None:
    """The mapping as of the target's snapshot counts, not the one that was configured."""
    copied.run("alter table t add column later int default 7")
    copied.target.execute("alter table t add column later int default 7")
    with copied.target.transaction():
        state = TargetState(copied.target, NAME)
        state.save_mapping(copied.mapped("t"))
        state.advance_offset(5, 6, far_ahead(copied), None, 1, 1)
    assert verify(rt, LOG).equal
    copied.target.execute("update t set later = 8 where id = 2")
    [table] = verify(rt, LOG).tables
    assert [(d.kind, d.key, d.columns) for d in table.differences] == [("differs", {"id": 2}, ("later",))]


def test_a_table_that_was_renamed_or_dropped_just_now(
    rt: FakeRuntime, copied: Copied, consumer: Consumer
) -> None:
    """The stream comes to it before the sides are compared; what it has then is what is compared."""
    rt.alive()
    copied.run("create table u (id int primary key)")
    u = copied.copy("u")
    with copied.target.transaction():
        TargetState(copied.target, NAME).save_mapping(u)
    rt.record.tables = (*rt.tables, u)
    copied.run("rename table t to t2", "drop table u")

    def apply(position: MySqlPosition) -> None:
        copied.target.execute("alter table t rename to t2")
        with copied.target.transaction():
            state = TargetState(copied.target, NAME)
            state.rename_table("t", copied.mapped("t2"))
            state.forget_table("u")
        rt.connector_offset = position.connect_offset()

    consumer.applied = apply
    consumer.start()
    report = verify(rt, LOG)
    assert [(t.table, t.rows_target, t.equal) for t in report.tables] == [("t2", 2, True)]
    with copied.target.transaction():
        TargetState(copied.target, NAME).advance_offset(5, 6, far_ahead(copied), None, 1, 1)
    rt.beat = None
    (table,) = verify(rt, LOG, tables=["t"]).tables
    assert (table.equal, table.left_out) == (False, "was dropped or renamed on the source, and the stream has followed")


def test_a_table_that_is_gone_unseen_keeps_no_other_from_being_compared(rt: FakeRuntime, copied: Copied) -> None:
    """Of a RENAME into another database the change log says nothing."""
    copied.run("create table gone (id int primary key)")
    gone = copied.copy("gone")
    with copied.target.transaction():
        state = TargetState(copied.target, NAME)
        state.save_mapping(gone)
        state.advance_offset(5, 6, far_ahead(copied), None, 1, 1)
    rt.record.tables = (*rt.tables, gone)
    copied.run("drop table gone")
    report = verify(rt, LOG, repair=True)
    assert {t.table: (t.equal, t.left_out[:24]) for t in report.tables} == {
        "t": (True, ""), "gone": (False, "is gone from the source,"),
    }
    copied.target.execute("delete from _cdc.verified")
    background = Background(lambda: rt, LOG, threading.Event())
    assert background.slice(rt) is not None
    assert verified(copied) == [("t", 2, 0)]
    assert background.slice(rt) is None


def test_a_table_that_stands_apart_is_left_out_and_told(rt: FakeRuntime, copied: Copied) -> None:
    """It differs, of course; nothing of that is recorded, and its repair would be undone by its own copy."""
    copied.run("insert into t values (3, 'c')")
    with copied.target.transaction():
        state = TargetState(copied.target, NAME)
        state.advance_offset(5, 6, far_ahead(copied), None, 1, 1)
        state.detach("t", "value too long", "quarantined")
    report = verify(rt, LOG, tables=["t"], repair=True)
    (table,) = report.tables
    assert not report.equal
    assert (table.complete, table.difference_count) == (False, 0)
    assert table.left_out.startswith("is in quarantine since")
    assert "value too long" in table.left_out
    assert verified(copied) == []
    assert copied.target.execute("select count(*) from t").fetchone() == (2,)
    assert Background(lambda: rt, LOG, threading.Event()).slice(rt) is None
