"""Between the steps of a start: each reads the truth from the target, and goes on from there and nowhere else.

The source and the target are real; Kafka and the connector are played.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pymysql
import pytest

from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.control.leases import Lease
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.errors import (
    CheckResult,
    ConfigurationError,
    FencedError,
    IntegrityError,
    LeaseHeldError,
    PrerequisiteError,
    ResyncRequiredError,
    RetryableError,
)
from cdc_pipelines.replication.operations import connector
from cdc_pipelines.replication.operations import start as start_module
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.operations.start import start, step_check_copy, step_copy_all, step_plan
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.stack.settings import StackSettings
from tests.control_fixtures import lost, wait_until
from tests.copied import Copied

LOG = logging.getLogger("tests.between_steps")


class Started(Runtime):
    """Pipeline `between` with table t of three rows and a store of its own."""

    def __init__(self, copied: Copied, store: ControlStore, pipeline: Pipeline) -> None:
        record = store.save_pipeline(pipeline, "", (copied.mapped("t"),))
        super().__init__(record, store)
        self.copied = copied
        self.topic_ids = {"topic": "its id"}
        self.__dict__["source"] = copied.source
        self.__dict__["topics"] = SimpleNamespace(
            create_log=lambda topic: None, topic_id=lambda topic: self.topic_ids["topic"],
            require_same=self._require_same,
            offsets=lambda topic: (40, 47), widen=lambda topic: None,
        )
        self.handed: list[dict[str, Any]] = []

    def _require_same(self, topic: str, topic_id: str | None) -> None:
        if self.topic_ids["topic"] != topic_id:
            raise ResyncRequiredError("another topic")

    def copy(self) -> None:
        step_plan(self, LOG, force_resync=False)
        step_copy_all(self, LOG, on_chunk=lambda chunk: None)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self.copied.target.execute(statement, values or None)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []

    def two_chunks(self, first: MySqlPosition, second: MySqlPosition) -> None:
        """As after a copy that was resumed: two chunks with different positions."""
        with self.target("test") as (_, state):
            [chunk] = state.chunks()
            fingerprint = chunk.fingerprint
            state.save_plan([
                Chunk("t", 0, None, (2,), 1, state="done", position=first.to_json(), fingerprint=fingerprint),
                Chunk("t", 1, (2,), None, 1, state="done", position=second.to_json(), fingerprint=fingerprint),
            ])


@pytest.fixture
def rt(
    stack: StackSettings, mysql: pymysql.Connection, target: psycopg.Connection, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Started]:
    copied = Copied("mysql", stack.mysql, mysql, target)
    copied.run("create table t (id int primary key, v varchar(9))", "insert into t values (1, 'a'), (2, 'b'), (3, 'c')")
    pipeline = Pipeline.model_validate({
        "name": "between", "client": 80, "config": 1, "source": copied.source.spec.model_dump(),
        "target": {"type": "postgres", "host": "127.0.0.1", "port": stack.postgres.port,
                   "database": target.info.dbname, "user": "cdc", "password": "${env:CDC_STACK_POSTGRES_PASSWORD}"},
    })
    made = Started(copied, ControlStore.open(f"sqlite:///{tmp_path}/control.db"), pipeline)

    def hand_over(*_: Any, **facts: Any) -> Any:
        made.handed.append(facts)
        return SimpleNamespace(connector="cdc_80_1", seconds=0.0)

    monkeypatch.setattr(connector, "hand_over", hand_over)
    yield made
    copied.source.close()


# The copy


def test_a_second_start_goes_on_with_what_is_there(rt: Started) -> None:
    rt.copy()
    before = rt.sql("select epoch, generation from _cdc.pipeline"), rt.sql("select copied_at from _cdc.chunk")
    rt.sql("update t set v = 'kept' where id = 1")
    rt.copy()
    assert (rt.sql("select epoch, generation from _cdc.pipeline"), rt.sql("select copied_at from _cdc.chunk")) == before
    assert rt.sql("select v from t where id = 1") == [("kept",)]


def test_a_resync_begins_with_empty_tables_and_a_new_epoch(rt: Started) -> None:
    rt.copy()
    [(epoch, generation)] = rt.sql("select epoch, generation from _cdc.pipeline")
    rt.sql("update t set v = 'old' where id = 1")
    step_plan(rt, LOG, force_resync=True)
    [(newer, later)] = rt.sql("select epoch, generation from _cdc.pipeline")
    assert (newer > epoch, later > generation) == (True, True)
    assert rt.sql("select count(*) from t") == [(0,)]
    step_copy_all(rt, LOG, on_chunk=lambda chunk: None)
    assert rt.sql("select v from t order by id") == [("a",), ("b",), ("c",)]


def test_a_table_with_rows_of_somebody_else_is_not_emptied(rt: Started) -> None:
    """Whatever preflight said: at the moment of emptying, our own claim counts."""
    ddl.create_table(rt.copied.target, rt.tables[0])
    rt.sql("insert into t values (77, 'theirs')")
    with pytest.raises(ConfigurationError, match=r"not ours to empty: public\.t holds rows"):
        step_plan(rt, LOG, force_resync=True)
    assert rt.sql("select id from t") == [(77,)]


def test_a_chunk_that_is_missing_is_named(rt: Started) -> None:
    rt.copy()
    assert [t.rows for t in step_check_copy(rt, LOG)] == [3]
    rt.sql("update _cdc.chunk set state = 'planned'")
    with pytest.raises(RetryableError, match="not copied: t chunk 0"):
        step_check_copy(rt, LOG)
    rt.sql("delete from _cdc.chunk")
    with pytest.raises(RetryableError, match="not copied: t"):
        step_check_copy(rt, LOG)


@pytest.mark.parametrize("change", ["delete from t where id = 2", "insert into t values (9, 'z')"])
def test_other_rows_than_were_copied_are_told(rt: Started, change: str) -> None:
    rt.copy()
    rt.sql(change)
    with pytest.raises(IntegrityError, match="table t: 3 rows were copied"):
        step_check_copy(rt, LOG)


# The connector's position


def later(position: MySqlPosition, transactions: int) -> MySqlPosition:
    """The position behind that many more transactions of its server."""
    gtids = position.gtid_set
    highest = int(position.gtids.rsplit("-", 1)[1].rsplit(":", 1)[-1])
    for n in range(1, transactions + 1):
        gtids.add(f"{position.server}:{highest + n}")
    return MySqlPosition(position.file, position.pos + 500, str(gtids), position.server)


@pytest.mark.parametrize("order", ["first", "last"])
def test_the_connector_begins_at_the_earliest_chunk(rt: Started, order: str) -> None:
    rt.copy()
    now = rt.source.position()
    early, late = MySqlPosition.from_json(now.to_json()), later(now, 3)
    rt.two_chunks(*((early, late) if order == "first" else (late, early)))
    connector.put_connector(rt, LOG)
    assert rt.handed[0]["position"] == early
    [(offset, position)] = rt.sql("select next_offset, position from _cdc.log_offset")
    assert offset == 40, "the log is read from its begin"
    assert MySqlPosition.from_json(position) == early


def test_a_stream_goes_on_from_what_was_applied(rt: Started) -> None:
    """A connector that is made again must send all that is not applied: neither from the copy on nor from now on."""
    rt.copy()
    connector.put_connector(rt, LOG)
    applied = later(rt.source.position(), 5)
    with rt.target("test") as (_, state):
        state.advance_offset(40, 45, applied.to_json(), 1, 1, 1)
    connector.put_connector(rt, LOG)
    assert rt.handed[1]["position"] == applied
    assert rt.sql("select next_offset from _cdc.log_offset") == [(45,)]
    assert rt.handed[1]["attempt"] == rt.handed[0]["attempt"] + 1, "a schema history is never used again"


def test_a_log_that_was_made_again_is_not_streamed_into(rt: Started) -> None:
    rt.copy()
    connector.put_connector(rt, LOG)
    for topic_id in ("another id", None):
        rt.topic_ids["topic"] = topic_id  # type: ignore[assignment]
        with pytest.raises(ResyncRequiredError, match="another topic"):
            connector.put_connector(rt, LOG)
    assert len(rt.handed) == 1


def test_no_connector_before_the_copy_is_complete(rt: Started) -> None:
    step_plan(rt, LOG, force_resync=False)
    with pytest.raises(ConfigurationError, match="the initial copy is not complete"):
        connector.put_connector(rt, LOG)
    assert rt.handed == []


# Before anything is done, and one operation at a time


def test_nothing_is_done_where_a_prerequisite_is_not_met(rt: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [CheckResult("this", True, "fine"), CheckResult("that", False, "is not as it must be", "mend it")]
    monkeypatch.setattr(start_module, "check", lambda *_, **__: results)
    with pytest.raises(PrerequisiteError, match="that: is not as it must be"):
        start(rt, LOG, holder="me")
    assert rt.sql("select to_regclass('_cdc.pipeline')") == [(None,)]
    assert rt.store.get(rt.name).generation is None


def test_a_start_waits_for_nobody_and_does_nothing_beside_another_operation(rt: Started) -> None:
    with rt.store.lease(rt.name, "somebody", "verify"), pytest.raises(LeaseHeldError, match="held by somebody"):
        start(rt, LOG, holder="me")
    assert rt.sql("select to_regclass('_cdc.pipeline')") == [(None,)]


def test_a_start_that_lost_its_lease_ends_before_its_next_step(rt: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was frozen for longer than its lease, and another operation has begun."""
    lease, held = rt.store.lease, []
    thief = lease(rt.name, "thief", "teardown")

    @contextmanager
    def short(*words: Any) -> Iterator[Lease]:
        with lease(*words, ttl_s=1) as mine:
            held.append(mine)
            yield mine

    def frozen(*_: Any, **__: Any) -> None:
        rt.store.release(rt.name, "me")
        thief.__enter__()
        wait_until(lambda: lost(held[0]))  # it wakes, and its lease is looked after once more

    monkeypatch.setattr(rt.store, "lease", short)
    monkeypatch.setattr(start_module, "check", lambda *_, **__: [])
    monkeypatch.setattr(start_module, "step_copy_all", frozen)
    monkeypatch.setattr(start_module, "step_check_copy", lambda *_: [])
    with pytest.raises(FencedError, match="no longer held by me"):
        start(rt, LOG, holder="me")
    assert rt.handed == [], "a connector was made"
    now = rt.store.lease_info(rt.name)
    assert now is not None
    assert now.holder == "thief", "what another operation holds was given back"
    thief.__exit__(None, None, None)
