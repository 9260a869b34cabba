"""The consumer on a real broker and a real target. The connector is played: the test writes the log itself."""

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.state import TargetState, ensure_schema
from cdc_pipelines.replication.errors import FencedError, ResyncRequiredError, RetryableError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream import lead
from cdc_pipelines.replication.stream.consumer import Consumer
from cdc_pipelines.replication.stream.log_topic import LogTopics
from cdc_pipelines.stack.settings import StackSettings
from tests.unit.log_reading import KEYED, at
from tests.unit.log_records import Log

NAME = "played"
_numbers = itertools.count(1)


class Running(threading.Thread):
    """A consumer in a thread of its own; `error` is how it ended."""

    def __init__(self, record: Any) -> None:
        super().__init__(daemon=True)
        self.consumer = Consumer(record, SimpleNamespace(beat=lambda beat: None), logging.getLogger("test"))  # type: ignore[arg-type]
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.consumer.run()
        except BaseException as error:  # noqa: BLE001 (looked at by the test)
            self.error = error

    def ended(self, timeout_s: float = 20) -> BaseException | None:
        self.join(timeout_s)
        assert not self.is_alive(), "the consumer goes on"
        return self.error


class Stage:
    """A pipeline whose tables were copied empty at `at(1)`, whose log is empty, and no consumer."""

    def __init__(self, pipeline: Pipeline, tables: Sequence[MappedTable] = (KEYED,)) -> None:
        self.pipeline, self.topics = pipeline, LogTopics(pipeline)
        self.topic = pipeline.log_topic(1)
        self.topics.create_log(self.topic)
        self.conn = connect(pipeline.target, purpose=f"{NAME}:test", autocommit=True)
        self.state = TargetState(self.conn, NAME)
        ensure_schema(self.conn)
        with self.conn.transaction():
            self.state.new_generation(1, "s", tables)
            for table in tables:
                ddl.create_table(self.conn, table)
            self.state.save_plan(
                [Chunk(table.name, 0, None, None, 0, state="done", position=at(1).to_json()) for table in tables]
            )
            self.state.set_log_topic(self.topic, self.topics.topic_id(self.topic) or "")
            self.state.init_offset(0, at(1).to_json())
        self.log = Log()
        self._sent = 0
        self.consumers: list[Running] = []

    def record(self, generation: int = 1) -> Any:
        return SimpleNamespace(name=NAME, generation=generation, consumer_group="group", spec=self.pipeline)

    def start(self, generation: int = 1) -> Running:
        self.consumers.append(Running(self.record(generation)))
        self.consumers[-1].start()
        return self.consumers[-1]

    def send(self) -> None:
        """What `log` has more than was sent."""
        producer = Producer({"bootstrap.servers": self.pipeline.kafka.bootstrap_servers, "log_level": 0})
        for record in self.log.records[self._sent :]:
            producer.produce(self.topic, record.value(), headers=record.headers())
        assert producer.flush(30) == 0
        self._sent = len(self.log.records)

    def insert(self, *numbers: int) -> None:
        """A transaction each, with the row of its number."""
        for n in numbers:
            self.log.transaction(n, ("c", "t", None, {"id": n, "v": "a"}))
        self.send()

    def ids(self) -> list[int]:
        return [n for (n,) in self.conn.execute("select id from t order by id")]

    def barrier(self) -> str | None:
        row = self.conn.execute("select state from _cdc.barrier where pipeline = %s", [NAME]).fetchone()
        return row[0] if row else None

    def ask(self, *, seconds: float) -> None:
        self.conn.execute(
            "insert into _cdc.barrier values (%s, 'mine', 'requested', null, null, "
            "clock_timestamp() + %s * interval '1 second')", [NAME, seconds],
        )  # fmt: skip

    def end(self) -> None:
        for running in self.consumers:
            running.consumer.stop.set()
        for running in self.consumers:
            running.join(30)
            running.consumer.pulse.end("stopped")
        self.conn.close()
        self.topics.delete(self.topics.list(self.pipeline.topic_prefix))


def played(stack: StackSettings, target_database: str, **apply: Any) -> Pipeline:
    """A pipeline of the stack that only this test has."""
    return Pipeline.model_validate({
        "name": NAME, "client": 79, "config": os.getpid() * 1000 + next(_numbers),
        "source": {"type": "mysql", "host": "127.0.0.1", "port": 1, "database": "shop", "user": "u",
                   "password": "${env:NONE}"},
        "target": {"type": "postgres", "host": stack.postgres.host, "port": stack.postgres.port,
                   "database": target_database, "user": stack.postgres.user,
                   "password": "${env:CDC_STACK_POSTGRES_PASSWORD}"},
        "connect": {"url": stack.connect_url}, "kafka": {"bootstrap_servers": stack.kafka_bootstrap},
        "apply": {"idle_commit_seconds": 0.2} | apply,
    })


@pytest.fixture
def stage(stack: StackSettings, target_database: str) -> Iterator[Stage]:
    made = Stage(played(stack, target_database))
    yield made
    made.end()


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for: {what}"
        time.sleep(0.02)


def test_it_applies_what_comes_and_goes_on_where_it_was(stage: Stage) -> None:
    first = stage.start()
    stage.insert(2, 3)
    wait_for(lambda: stage.ids() == [2, 3], "two rows")
    first.consumer.stop.set()
    assert first.ended() is None
    stage.insert(3, 4)  # the connector sends 3 again
    second = stage.start()
    wait_for(lambda: stage.ids() == [2, 3, 4], "the third row")
    assert second.is_alive()
    offset = stage.state.offset()
    assert offset is not None
    assert offset.events == 3, "a repeated transaction was applied again"


def test_a_log_that_was_made_again_is_refused(stage: Stage) -> None:
    """Its offsets begin anew and would pass for the old ones."""
    stage.topics.delete([stage.topic])
    stage.topics.create_log(stage.topic)
    stage.insert(2)
    error = stage.start().ended()
    assert isinstance(error, ResyncRequiredError)
    assert "deleted and made again" in error.message
    assert stage.ids() == []


def test_an_offset_that_the_log_does_not_hold_is_refused(stage: Stage) -> None:
    stage.conn.execute("update _cdc.log_offset set next_offset = 1000")
    error = stage.start().ended()
    assert isinstance(error, ResyncRequiredError)
    assert "holds offsets 0 to 0, the target needs 1000" in error.message


def test_a_consumer_of_another_generation_ends(stage: Stage) -> None:
    stage.insert(2)
    error = stage.start(generation=2).ended()
    assert isinstance(error, FencedError)
    assert stage.ids() == []


def test_one_consumer_leads(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    leader = stage.start()
    stage.insert(2)
    wait_for(lambda: stage.ids() == [2], "the first one to lead")
    monkeypatch.setattr(lead, "PATIENCE_S", 0.5)
    error = stage.start().ended()
    assert isinstance(error, RetryableError)
    assert "holds the lead" in error.message
    assert leader.is_alive()
    leader.consumer.stop.set()
    leader.ended()
    stage.start()
    stage.insert(3)
    wait_for(lambda: stage.ids() == [2, 3], "the next one to lead")


def test_a_zombie_writes_nothing(stage: Stage) -> None:
    zombie = stage.start()
    stage.insert(2)
    wait_for(lambda: stage.ids() == [2], "it to be at work")
    with stage.conn.transaction():
        stage.state.raise_epoch()
    stage.insert(3)
    assert isinstance(zombie.ended(), FencedError)
    assert stage.ids() == [2]


def test_what_stops_the_reader_stops_the_consumer_before_it_does_harm(stage: Stage) -> None:
    """Whole transactions before it are applied; nothing of it is, and nothing behind it."""
    stage.insert(2)
    stage.log.begin(3)
    stage.log.row(3, "c", "t", after={"id": 3, "v": "a"})
    stage.log.end(3, 2)
    stage.insert(4)
    error = stage.start().ended()
    assert isinstance(error, ResyncRequiredError)
    assert "2 rows were announced and 1 are in the change log" in error.message
    assert stage.ids() == [2]


def test_a_barrier_is_reached_exactly(stage: Stage) -> None:
    stage.start()
    stage.insert(2)
    wait_for(lambda: stage.ids() == [2], "it to be at work")
    stage.ask(seconds=60)
    wait_for(lambda: stage.barrier() == "parked", "it to park")
    stage.insert(3, 4, 5)
    time.sleep(0.3)
    assert stage.ids() == [2], "it went on while it was parked"
    stage.conn.execute("update _cdc.barrier set state = 'go', position = %s", [at(4).to_json()])
    wait_for(lambda: stage.barrier() == "reached", "it to get there")
    assert stage.ids() == [2, 3, 4]
    time.sleep(0.3)
    assert stage.ids() == [2, 3, 4], "it went on behind the barrier"
    stage.conn.execute("update _cdc.barrier set state = 'released'")
    wait_for(lambda: stage.ids() == [2, 3, 4, 5], "it to go on")
    assert stage.barrier() is None


def test_a_barrier_whose_requester_died_is_left(stage: Stage) -> None:
    stage.ask(seconds=600)
    stage.start()  # one that was asked of a consumer before this one is no matter of its own
    wait_for(lambda: stage.barrier() is None, "the old one to be gone")
    stage.ask(seconds=2)
    wait_for(lambda: stage.barrier() == "parked", "it to park")
    stage.insert(2)
    wait_for(lambda: stage.ids() == [2], "it to go on by itself", 15)
    assert stage.barrier() is None


def test_a_target_that_went_away_is_worth_another_try(stage: Stage) -> None:
    running = stage.start()
    stage.insert(2)
    wait_for(lambda: stage.ids() == [2], "it to be at work")
    stage.conn.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like %s",
        [f"cdc:{NAME}:consumer@%"],
    )
    stage.insert(3)
    assert isinstance(running.ended(), RetryableError)
    stage.start()
    wait_for(lambda: stage.ids() == [2, 3], "the next one to apply the rest")
    with pytest.raises(psycopg.Error):
        running.consumer._stream.applier.conn.execute("select 1")
