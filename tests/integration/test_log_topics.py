"""The pipeline's topics and the client that reads the log, on the real broker: nothing expires, nothing is skipped."""

import itertools
import os
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType

from cdc_pipelines.replication.errors import ConfigurationError, ResyncRequiredError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream.log_client import LogClient
from cdc_pipelines.replication.stream.log_topic import LogTopics
from cdc_pipelines.stack.settings import StackSettings

_numbers = itertools.count(1)


@pytest.fixture
def pipeline(stack: StackSettings) -> Pipeline:
    server = {"host": "127.0.0.1", "port": 1, "database": "d", "user": "u", "password": "${env:NONE}"}
    return Pipeline.model_validate({
        "name": "topics", "client": 78, "config": os.getpid() * 1000 + next(_numbers),
        "source": {"type": "mysql", **server}, "target": {"type": "postgres", **server},
        "connect": {"url": stack.connect_url}, "kafka": {"bootstrap_servers": stack.kafka_bootstrap},
    })


@pytest.fixture
def topics(pipeline: Pipeline) -> Iterator[LogTopics]:
    made = LogTopics(pipeline)
    yield made
    made.delete(made.list(pipeline.topic_prefix))


@pytest.fixture
def log(pipeline: Pipeline, topics: LogTopics) -> str:
    """An empty change log."""
    topics.create_log(pipeline.log_topic(1))
    return pipeline.log_topic(1)


def read_until_end(client: LogClient, timeout_s: float = 30) -> list[bytes]:
    """The values of all records up to the log's end."""
    found: list[bytes] = []
    deadline = time.monotonic() + timeout_s
    while client.end is None:
        found += [record.value() for record in client.read(0.2)]
        assert time.monotonic() < deadline, "the end of the log was not reached"
    return found


def test_nothing_in_the_log_expires(topics: LogTopics, log: str) -> None:
    """A reader that was away for long finds all that it has not read; whatever the broker's own defaults are."""
    resource = ConfigResource(ResourceType.TOPIC, log)
    found = topics._admin.describe_configs([resource])[resource].result(30)
    settings = {name: found[name].value for name in ("retention.ms", "retention.bytes", "cleanup.policy")}
    assert settings == {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}


def refused(topics: LogTopics, log: str) -> str:
    """What is said against the topic, once the broker has made the change known."""
    deadline = time.monotonic() + 30
    while True:
        try:
            topics.check(log)
        except ConfigurationError as error:
            return error.message
        assert time.monotonic() < deadline, "the change was not noticed"
        time.sleep(0.05)


def test_a_log_that_is_made_twice_is_one(topics: LogTopics, log: str) -> None:
    first = topics.topic_id(log)
    topics.create_log(log)
    assert topics.topic_id(log) == first is not None
    topics.delete([log])
    topics.delete([log])
    assert topics.topic_id(log) is None
    topics.create_log(log)
    assert topics.topic_id(log) != first, "a log made again must not pass for the old one"


@pytest.mark.parametrize(
    ("setting", "value"), [("retention.ms", "1000"), ("retention.bytes", "1000"), ("cleanup.policy", "compact"),
                           ("max.message.bytes", "1000000")]
)  # fmt: skip
def test_settings_that_would_lose_records_are_refused(topics: LogTopics, log: str, setting: str, value: str) -> None:
    topics.check(log)
    entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, log, incremental_configs=[entry])
    topics._admin.incremental_alter_configs([change])[change].result(30)
    assert f"topic {log} has settings" in refused(topics, log)
    assert f"{setting} is {value}" in refused(topics, log)


def test_a_second_partition_is_refused(topics: LogTopics, log: str) -> None:
    """It would take records out of their order."""
    topics._admin.create_partitions([NewPartitions(log, 2)])[log].result(30)
    assert "2 partitions" in refused(topics, log)


def test_what_the_connector_took_back_is_not_read(pipeline: Pipeline, log: str) -> None:
    """With exactly-once, Connect sends in transactions of Kafka, and takes back those that it could not finish."""
    producer = Producer({
        "bootstrap.servers": pipeline.kafka.bootstrap_servers, "transactional.id": f"test-{log}", "log_level": 0,
    })
    producer.init_transactions(30)
    for value, kept in ((b"taken back", False), (b"kept", True)):
        producer.begin_transaction()
        producer.produce(log, value)
        assert producer.flush(30) == 0
        (producer.commit_transaction if kept else producer.abort_transaction)(30)
    client = LogClient(pipeline.kafka, log, 0, "test")
    try:
        assert read_until_end(client) == [b"kept"]
    finally:
        client.close()


def test_a_lost_offset_is_told(pipeline: Pipeline, log: str) -> None:
    """Neither the log's beginning nor its end may stand in for it: one repeats, the other skips."""
    producer = Producer({"bootstrap.servers": pipeline.kafka.bootstrap_servers, "log_level": 0})
    producer.produce(log, b"first")
    assert producer.flush(30) == 0
    client = LogClient(pipeline.kafka, log, 1000, "test")
    try:
        with pytest.raises(ResyncRequiredError, match=log):
            read_until_end(client)
    finally:
        client.close()


def test_a_large_record_is_read_in_its_place(pipeline: Pipeline, log: str) -> None:
    """Many times as large as what is fetched at a time."""
    producer = Producer({
        "bootstrap.servers": pipeline.kafka.bootstrap_servers, "message.max.bytes": 60_000_000, "log_level": 0,
    })
    sizes = [10, 40_000_000, 10]
    for size in sizes:
        producer.produce(log, b"x" * size)
    assert producer.flush(60) == 0
    client = LogClient(pipeline.kafka, log, 0, "test")
    try:
        assert [len(value) for value in read_until_end(client, 60)] == sizes
    finally:
        client.close()
