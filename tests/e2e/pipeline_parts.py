"""A pipeline's parts in Kafka and Kafka Connect, as somebody with other tools breaks them, and how it then stops."""

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import requests
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cdc_pipelines.replication.connect import ConnectClient
from cdc_pipelines.stack.settings import StackSettings
from tests.e2e.conftest import Pipe, wait_until


class Parts:
    """A pipeline's parts in Kafka and Kafka Connect, as somebody with other tools gets at them."""

    def __init__(self, pipe: Pipe, stack: StackSettings) -> None:
        self.pipe = pipe
        self.name = pipe.status()["config"]["connector_name"]
        self.client = ConnectClient(stack.connect_url)  # patient while Connect's workers rebalance
        self.url = f"{stack.connect_url}/connectors/{self.name}"
        self.brokers = stack.kafka_bootstrap
        self.kafka = AdminClient({"bootstrap.servers": self.brokers})

    @property
    def group(self) -> str:
        return str(self.pipe.status()["consumer_group"])

    @property
    def log(self) -> str:
        return str(self.pipe.status()["position"]["log_topic"])

    def config(self) -> dict[str, str]:
        return self.client.config(self.name) or {}

    def put(self, **changes: str) -> None:
        """Change settings, and wait until the task runs under them."""
        config = self.config() | {key.replace("__", "."): value for key, value in changes.items()}
        with task_starts(self.brokers, self.name) as started:
            # Connect logs in to the source to check it, and calls that a bad request when it takes too long.
            put = f"{self.url}/config"
            wait_until(lambda: requests.put(put, json=config, timeout=90).ok, "the settings to be taken")
            wait_until(started, "the task to run under them")

    def state(self, word: str) -> None:
        requests.put(f"{self.url}/{word}", timeout=90).raise_for_status()
        wanted = {"stop": "STOPPED", "resume": "RUNNING"}[word]
        self.client.wait_state(self.name, wanted, deadline_s=60)

    def state_now(self) -> str:
        return str((self.client.status(self.name) or {})["connector"]["state"])

    def runs(self) -> bool:
        tasks = (self.client.status(self.name) or {}).get("tasks", [])
        return bool(tasks) and all(task["state"] == "RUNNING" for task in tasks)

    def delete_topic(self, topic: str) -> None:
        self.kafka.delete_topics([topic])[topic].result(30)
        wait_until(lambda: topic not in self.kafka.list_topics(timeout=10).topics, "the topic to be gone")

    def make_topic(self, topic: str) -> None:
        self.kafka.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)


@contextlib.contextmanager
def task_starts(brokers: str, connector: str) -> Iterator[Callable[[], bool]]:
    """Whether the connector's task has begun to run since the block was entered, as Connect's own log of states has it.

    What REST says is for a moment still the old task's.
    """
    states = Consumer({"bootstrap.servers": brokers, "group.id": f"test-{connector}", "enable.auto.commit": False})
    topic = "cdc-stack-connect-status"
    states.assign([TopicPartition(topic, 0, states.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1])])

    def started() -> bool:
        while (record := states.poll(0.2)) is not None:
            mine = record.error() is None and record.key() == f"status-task-{connector}-0".encode()
            if mine and record.value() and json.loads(record.value())["state"] == "RUNNING":
                return True
        return False

    try:
        yield started
    finally:
        states.close()


def stops(pipe: Pipe, *words: str, timeout_s: float = 90) -> dict[str, Any]:
    """Wait until the status is failed, with these words and the command that mends it; the start alone refuses."""
    seen: dict[str, Any] = {}

    def told() -> bool:
        seen.update(pipe.status())
        text = " ".join([*seen["errors"], seen["config"]["message"], seen["connector"]["message"]])
        return seen["overall"] == "failed" and all(word in text for word in words)

    try:
        wait_until(told, f"a failed status with {words}", timeout_s)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{seen}\n{pipe.log_tail()}") from None
    return seen


def kinds(status: dict[str, Any]) -> set[str]:
    """What is wrong, by the words of the table of health."""
    return {each["kind"] for each in status["problems"]}


def resync_mends(pipe: Pipe, *, refuses: bool = True) -> None:
    """A start refuses (unless the consumer alone does), naming the way; with it both sides are equal and stay so."""
    if refuses:
        refused = pipe.cdc("start", pipe.name)
        assert refused.code != 0
        assert f"cdc start {pipe.name} --force-resync" in refused.stderr
    pipe.start("--force-resync")
    pipe.run("insert into t values (1000, 'after')")
    pipe.arrives("select count(*) from t where id = 1000", [(1,)])
    assert pipe.status()["overall"] == "healthy", pipe.status()
    pipe.equal()
