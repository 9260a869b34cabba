"""The Kafka client that reads a change log: one assigned partition, from a stored offset, nothing automatic."""

from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.errors import ResyncRequiredError, RetryableError
from cdc_pipelines.replication.pipeline import Kafka

_LOST = (
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_ID,  # type: ignore[attr-defined]
)


WAIT_MS = 500


class LogClient:
    """Reads records of one topic's only partition in order. The group is used to publish lag, for nothing else.

    For one thread only: a second one waits seconds for the client's lock while the first polls.
    """

    def __init__(self, kafka: Kafka, topic: str, offset: int, group: str, *, wait_ms: int = WAIT_MS) -> None:
        """`wait_ms`: how long the broker may wait for more before it says that there is none."""
        self.topic = topic
        self.last_error = ""
        self.end: int | None = None
        """Where the log ended when its end was last reached. Nothing that a reader sees is missing before it: the
        broker's own marks of the connector's transactions take offsets too, and are never delivered."""
        limit = kafka.max_message_bytes
        self._consumer = Consumer(
            {
                "bootstrap.servers": secrets.resolve(kafka.bootstrap_servers),
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # A lost offset must be seen; "latest" would skip, "earliest" repeat.
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                # Small buffers keep memory flat; the back-off's default of 1 s stalls a reader with small buffers.
                "queued.max.messages.kbytes": 16_384,
                "fetch.queue.backoff.ms": 5,
                "fetch.max.bytes": 16 * 1024 * 1024,
                "fetch.message.max.bytes": 2 * 1024 * 1024,
                "receive.message.max.bytes": min(2_147_483_647, max(2 * limit, 100_000_000)),
                "fetch.wait.max.ms": wait_ms,
                "error_cb": self._remember,
                "log_level": 3,
                **{key: secrets.resolve_secret(value) for key, value in kafka.client.items()},
            }
        )
        self._consumer.assign([TopicPartition(topic, 0, offset)])

    def _remember(self, error: KafkaError) -> None:
        self.last_error = error.str()

    def read(self, wait_s: float, most: int = 500) -> list[Any]:
        """The records that are there, after waiting up to `wait_s` seconds for the first.

        Not many at a time: each is done with while it is still in the processor's cache.

        Raises ResyncRequiredError where the log no longer holds the offset, RetryableError for other faults.
        """
        first = self._consumer.poll(wait_s)
        if first is None:
            return []
        records = []
        for record in (first, *self._consumer.consume(most, 0)):
            error = record.error()
            if error is None:
                records.append(record)
            elif error.code() == KafkaError._PARTITION_EOF:
                self.end = record.offset()
            else:
                self._raise(error)
        self.last_error = ""
        return records

    def _raise(self, error: KafkaError) -> None:
        if error.code() in _LOST:
            raise ResyncRequiredError(
                f"change log {self.topic} does not hold the offset to go on from: {error.str()}",
                "the topic was deleted, recreated or trimmed; run `cdc start NAME --force-resync`.",
            )
        raise RetryableError(f"change log {self.topic}: {error.str()}", "the consumer will be started again.")

    def end_offset(self) -> int | None:
        """The log's end as the last answer of the broker told it."""
        try:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, 0), cached=True)
        except KafkaException:
            return None
        return high if high >= 0 else None

    def publish(self, offset: int) -> None:
        """Tell the group's offset to the broker, so that the usual tools show lag. Failure does no harm."""
        try:
            self._consumer.commit(offsets=[TopicPartition(self.topic, 0, offset)], asynchronous=True)
        except KafkaException as error:
            self.last_error = str(error)

    def close(self) -> None:
        self._consumer.close()
