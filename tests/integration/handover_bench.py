"""A pipeline as after its copy, to hand over on the real stack, and what its log then holds."""

import itertools
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.connect import ConnectClient
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.operations.mapping import resolve
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream import connector_life, handover
from cdc_pipelines.replication.stream.log_topic import LogTopics
from cdc_pipelines.stack.settings import StackSettings
from tests.integration.conftest import SourceServer

LOG = logging.getLogger("tests.handover")
_configs = itertools.count(1)


class Killed(Exception):  # noqa: N818
    """Stands for kill -9: the hand-over ends at this step, with nothing tidied up in Kafka Connect."""


@dataclass
class Record:
    offset: int
    key: Any
    headers: dict[str, bytes]
    value: dict[str, Any]

    @property
    def kind(self) -> str:
        value = self.value
        if "op" in value:
            return str(value["op"])
        if "tableChanges" in value:
            return "schema" if value["source"]["snapshot"] else "ddl"
        return str(value.get("status", "heartbeat"))


@dataclass
class Bench:
    """A pipeline on one server's database, without a target: what it takes to hand over and read the log."""

    server: SourceServer
    pipeline: Pipeline
    source: MySqlSource
    client: ConnectClient
    topics: LogTopics
    generation: int
    tables: Sequence[MappedTable] = ()
    fingerprints: dict[str, str] = field(default_factory=dict)
    position: MySqlPosition | None = None
    attempts: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def name(self) -> str:
        return self.pipeline.connector_name

    @property
    def log_topic(self) -> str:
        return self.pipeline.log_topic(self.generation)

    def copied(self) -> None:
        """As after a copy: the definitions and the position are known, the log is made."""
        self.tables = resolve(self.pipeline, self.source.tables())
        self.fingerprints = {t.name: t.source.fingerprint() for t in self.tables}
        self.position = self.source.position()
        self.topics.create_log(self.log_topic)

    def hand_over(self, **changes: Any) -> handover.HandOver:
        arguments: dict[str, Any] = {
            "client": self.client, "topics": self.topics, "source": self.source, "position": self.position,
            "generation": self.generation, "log_topic": self.log_topic, "attempt": next(self.attempts),
            "fingerprints": self.fingerprints, "log": LOG, "deadline_s": 180,
        }
        return handover.hand_over(self.pipeline, self.tables, **(arguments | changes))

    def log_until(self, done: Callable[[list[Record]], bool], timeout_s: float = 90) -> list[Record]:
        """The log from its beginning until `done`, then for half a second more; only our own database's part."""
        consumer = Consumer({
            "bootstrap.servers": self.pipeline.kafka.bootstrap_servers, "group.id": "handover-test",
            "enable.auto.commit": False, "auto.offset.reset": "error", "isolation.level": "read_committed",
            "log_level": 0,
        })
        consumer.assign([TopicPartition(self.log_topic, 0, 0)])
        records: list[Record] = []
        ends, settles = time.monotonic() + timeout_s, None
        try:
            while settles is None or time.monotonic() < settles:
                message = consumer.poll(0.1)
                if message is not None:
                    assert message.error() is None, message.error()
                    records.append(Record(
                        message.offset(), json.loads(message.key() or b"null"), dict(message.headers() or ()),
                        json.loads(message.value()),
                    ))
                if settles is None and message is not None and done(records):
                    settles = time.monotonic() + 0.5
                assert time.monotonic() < ends, f"not in the log: {[r.value for r in records if 'op' in r.value][-5:]}"
        finally:
            consumer.close()
        return records

    def rows_until(self, last: int) -> list[Record]:
        """The row events up to the one with id `last`."""
        return [r for r in self.log_until(lambda records: row_id(records[-1]) == last) if row_id(r) is not None]

    def state(self) -> dict[str, Any]:
        return connector_life.connector_state(self.client, self.name)


def row_id(record: Record) -> int | None:
    if record.kind not in ("c", "u", "d"):
        return None
    return int((record.value["after"] or record.value["before"])["id"])


def ids(records: Sequence[Record]) -> list[int | None]:
    return [row_id(r) for r in records]


def distinct(records: Sequence[Record]) -> list[int | None]:
    """The rows' ids, those that were sent again left out, as the consumer does: by transaction and order."""
    seen: dict[tuple[str, int], int | None] = {}
    for record in records:
        transaction = record.value["transaction"]
        seen.setdefault((transaction["id"], transaction["total_order"]), row_id(record))
    return list(seen.values())


def _pipeline(stack: StackSettings, server: SourceServer, **sections: Any) -> Pipeline:
    return Pipeline.model_validate({
        "name": f"handover_{next(_configs)}", "client": 77, "config": os.getpid() * 1000 + next(_configs),
        "source": server.source.spec.model_dump(),
        "target": {"type": "postgres", "host": "127.0.0.1", "port": 1, "database": "d", "user": "u",
                   "password": "${env:CDC_STACK_POSTGRES_PASSWORD}"},
        "connect": {"url": stack.connect_url}, "kafka": {"bootstrap_servers": stack.kafka_bootstrap},
    } | sections)


@pytest.fixture
def make_bench(stack: StackSettings) -> Iterator[Callable[..., Bench]]:
    """Make benches; their connectors, offsets and topics are gone afterwards."""
    made: list[Bench] = []

    def make(server: SourceServer, **sections: Any) -> Bench:
        pipeline = _pipeline(stack, server, **sections)
        bench = Bench(
            server, pipeline, MySqlSource(pipeline.source), ConnectClient(stack.connect_url), LogTopics(pipeline),
            int(time.time()),
        )
        made.append(bench)
        return bench

    yield make
    for bench in made:
        connector_life.teardown_connector(bench.client, bench.topics, bench.pipeline)
        bench.source.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench], server: SourceServer) -> Bench:
    """Two tables with a row each, copied; then rows 2 and 3 are written."""
    server.run(
        "create table item (id int primary key, name varchar(40) default 'none', v int)",
        "create table note (id int primary key, body varchar(40))",
        "insert into item values (1, 'before', 1)", "insert into note values (1, 'before')",
    )
    bench = make_bench(server)
    bench.copied()
    server.run("insert into item values (2, 'between', 1)", "insert into note values (3, 'between')")
    return bench
