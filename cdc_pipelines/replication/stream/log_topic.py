"""The pipeline's Kafka topics: made by us before anything writes to them, checked, measured and deleted."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from cdc_pipelines.replication.errors import ConfigurationError, ResyncRequiredError, RetryableError
from cdc_pipelines.replication.stream.kafka_admin import UNKNOWN, KafkaAdmin, code_of

# Kept whole: what the consumer has not read must not go by age, a history without its beginning is worthless.
_SETTINGS = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}

_SPOTS, _SAMPLE = 4, 50


class LogTopics(KafkaAdmin):
    """The topics of one pipeline. RetryableError wherever the brokers stay out of reach for `deadline_s` seconds."""

    # Looking

    def brokers(self) -> int:
        """How many brokers the cluster has."""
        return len(self._metadata().brokers)

    def list(self, prefix: str = "") -> list[str]:
        """Names of the topics that begin with `prefix`, sorted."""
        return sorted(name for name in self._metadata().topics if name.startswith(prefix))

    def topic_id(self, topic: str) -> str | None:
        """The id that a topic keeps for its life; None where there is none. A topic made again has another one."""
        def describe() -> str | None:
            try:
                found = self._admin.describe_topics(TopicCollection([topic]), request_timeout=self._call_s)[topic]
                return str(found.result(self._call_s).topic_id)
            except KafkaException as error:
                if code_of(error) in UNKNOWN:
                    return None
                raise
        return self._insist(f"describe topic {topic}", describe)

    def require_same(self, topic: str, topic_id: str | None) -> None:
        """ResyncRequiredError where the topic is not the one of this id: what the target needs went with that one."""
        found = self.topic_id(topic)
        if found is None or found != topic_id:
            raise ResyncRequiredError(
                f"change log {topic} was {'deleted' if found is None else 'deleted and made again'}",
                f"run `cdc start {self._name} --force-resync`.",
            )

    def require_offset(self, topic: str, needed: int) -> tuple[int, int]:
        """`offsets`; ResyncRequiredError where `needed`, the target's next one, is not among them."""
        begin, end = self.offsets(topic)
        if not begin <= needed <= end:
            raise ResyncRequiredError(
                f"change log {topic} holds offsets {begin} to {end}, the target needs {needed}",
                f"run `cdc start {self._name} --force-resync`.",
            )
        return begin, end

    def offsets(self, topic: str) -> tuple[int, int]:
        """(first offset, next offset behind the last committed record) of the topic's only partition.

        Raises ResyncRequiredError where the topic is gone.
        """
        return self._ask(topic, OffsetSpec.earliest()), self._ask(topic, OffsetSpec.latest())

    def offset_since(self, topic: str, unix_ms: int) -> int:
        """The first record that is not older; the log's end where all are. ResyncRequiredError where it is gone."""
        found = self._ask(topic, OffsetSpec.for_timestamp(unix_ms))
        return found if found >= 0 else self._ask(topic, OffsetSpec.latest())

    def _ask(self, topic: str, spec: OffsetSpec) -> int:
        partition = TopicPartition(topic, 0)

        def answer() -> int:
            futures = self._admin.list_offsets(
                {partition: spec}, request_timeout=self._call_s, isolation_level=IsolationLevel.READ_COMMITTED
            )
            found: Any = futures[partition].result(self._call_s)
            return int(found.offset)

        try:
            return self._insist(f"offsets of topic {topic}", answer)
        except KafkaException as error:
            if code_of(error) in UNKNOWN or topic not in self._metadata().topics:
                raise self._gone(topic) from error
            raise

    def tail(self, topic: str, records: int) -> Sequence[Message]:
        """The last committed records, at most `records`, oldest first."""
        begin, end = self.offsets(topic)
        # Markers of Kafka's transactions take offsets as well, about one for each record of a quiet source.
        found = deque(self._read(topic, max(begin, end - 2 * records), end), maxlen=records)
        return tuple(found)

    def size_estimate(self, topic: str, begin: int, end: int) -> int:
        """Bytes of the records between two offsets, before compression, judged by a few of them in several places."""
        span = (end - begin) // _SPOTS
        total = 0.0
        for spot in range(_SPOTS if span > _SAMPLE else 1):
            first = begin + spot * span
            sample = list(self._read(topic, first, min(end, first + _SAMPLE)))
            if sample:
                read = (sample[-1].offset() or 0) - first + 1
                total += sum(len(m.value() or b"") + len(m.key() or b"") for m in sample) / read
        return int(total / (_SPOTS if span > _SAMPLE else 1) * (end - begin))

    def _read(self, topic: str, first: int, end: int) -> Iterator[Message]:
        """The committed records from offset `first` to before `end`."""
        consumer = Consumer({
            "bootstrap.servers": self._servers, "group.id": "cdc-tail", "enable.auto.commit": False,
            "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": 4096,  # little is asked for
            "fetch.wait.max.ms": 10,  # the end of the log is told only when the broker has waited for more
            "receive.message.max.bytes": min(2_147_483_647, 100_000_000 + self._kafka.max_message_bytes),
            "log_level": 0,
            **self._client_settings(),
        })
        ends = time.monotonic() + self._deadline_s
        try:
            consumer.assign([TopicPartition(topic, 0, first)])
            while time.monotonic() < ends:
                message = consumer.poll(0.2)
                if message is None:
                    continue
                error, offset = message.error(), message.offset() or 0
                if (error is not None and error.code() == KafkaError._PARTITION_EOF) or (not error and offset >= end):
                    return
                if error is None:
                    yield message
                    if offset + 1 >= end:
                        return
        finally:
            consumer.close()
        raise RetryableError(
            f"Kafka at {self._servers}: topic {topic} could not be read within {self._deadline_s:.0f} s",
            "see that the brokers run and are reachable from here, then run the same command again.",
        )

    def _gone(self, topic: str) -> ResyncRequiredError:
        return ResyncRequiredError(
            f"topic {topic} does not exist on {self._servers}", f"run `cdc start {self._name} --force-resync`."
        )

    def check(self, topic: str) -> None:
        """ConfigurationError where the topic would lose, reorder or refuse records; ResyncRequiredError if gone."""
        metadata = self._metadata().topics.get(topic)
        if metadata is None:
            raise self._gone(topic)
        found = self._settings(topic)
        wrong = [f"{key} is {found.get(key)}, not {wanted}" for key, wanted in _SETTINGS.items()
                 if found.get(key) != wanted]
        if len(metadata.partitions) != 1:
            wrong.append(f"it has {len(metadata.partitions)} partitions, not 1")
        if int(found.get("max.message.bytes", "0")) < self._kafka.max_message_bytes:
            wrong.append(f"max.message.bytes is {found.get('max.message.bytes')}, less than kafka.max_message_bytes "
                         f"({self._kafka.max_message_bytes})")
        if wrong:
            raise ConfigurationError(
                f"topic {topic} has settings that would lose or reorder records: {'; '.join(wrong)}",
                f"alter the topic, or delete it (then `cdc start {self._name} --force-resync`).",
            )

    def _settings(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, topic)

        def read() -> dict[str, str]:
            future = self._admin.describe_configs([resource], request_timeout=self._call_s)[resource]
            entries = future.result(self._call_s)
            return {name: str(entry.value) for name, entry in entries.items()}

        return self._insist(f"settings of topic {topic}", read)

    # Changing

    def widen(self, topic: str) -> bool:
        """Let a topic that is there take records of kafka.max_message_bytes; never narrower. Whether that was needed.

        Raises ConfigurationError where the brokers refuse it.
        """
        resource, wanted = ConfigResource(ResourceType.TOPIC, topic), self._kafka.max_message_bytes
        if int(self._settings(topic).get("max.message.bytes", wanted)) >= wanted:
            return False
        resource.add_incremental_config(ConfigEntry(
            "max.message.bytes", str(wanted), incremental_operation=AlterConfigOpType.SET
        ))

        def alter() -> None:
            futures = self._admin.incremental_alter_configs([resource], request_timeout=self._call_s)
            futures[resource].result(self._call_s)

        self._change(
            f"topic {topic}: max.message.bytes can't be raised to {wanted}", alter,
            "raise it yourself, or give the client the right to (ALTER_CONFIGS on the topic).",
        )
        return True

    def trim(self, topic: str, before: int) -> None:
        """Delete the records before offset `before`, for good. ConfigurationError where the brokers refuse it."""
        partition = TopicPartition(topic, 0, before)

        def delete() -> None:
            futures = self._admin.delete_records([partition], request_timeout=self._call_s)
            futures[partition].result(self._call_s)

        self._change(
            f"topic {topic} can't be trimmed", delete,
            "give the client the right to (DELETE on the topic), or set kafka.log_keep_hours to null in the "
            "pipeline's file: then the log is kept whole.",
        )

    # Making

    def create_log(self, topic: str) -> None:
        """The change log: one partition, nothing expires, room for the largest event. One that exists is checked."""
        self._create(topic, _SETTINGS | {"max.message.bytes": str(self._kafka.max_message_bytes)})
        self.check(topic)

    def create_history(self, topic: str) -> None:
        """A schema history. Debezium would make it too, with the broker's default replication."""
        self._create(topic, _SETTINGS)

    def create_offsets(self, topic: str) -> None:
        """A connector's offsets. Small segments, because only a closed one is compacted."""
        self._create(topic, {"cleanup.policy": "compact", "segment.bytes": str(1024 * 1024),
                             "min.cleanable.dirty.ratio": "0.1"})

    def _create(self, topic: str, settings: dict[str, str]) -> None:
        new = NewTopic(topic, 1, self._kafka.replication_factor, config=settings)

        def create() -> None:
            futures = self._admin.create_topics([new], operation_timeout=self._call_s, request_timeout=self._call_s)
            try:
                futures[topic].result(2 * self._call_s)
            except KafkaException as error:
                if code_of(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

        self._change(
            f"topic {topic} can't be created", create,
            "mend what it says: kafka.replication_factor, the client's rights (CREATE on the topic).",
        )
        self._wait(f"topic {topic} to have a leader", lambda: self._has_leader(topic))

    def _has_leader(self, topic: str) -> bool:
        found = self._metadata().topics.get(topic)
        return found is not None and found.error is None and all(p.leader >= 0 for p in found.partitions.values())

    # Deleting

    def delete(self, topics: Iterable[str]) -> None:
        """Delete topics and wait until they are gone; those that don't exist are fine."""
        names = sorted(set(topics) & set(self.list()))
        if not names:
            return

        def delete() -> None:
            futures = self._admin.delete_topics(names, operation_timeout=self._call_s, request_timeout=self._call_s)
            for future in futures.values():
                try:
                    future.result(2 * self._call_s)
                except KafkaException as error:
                    if code_of(error) not in UNKNOWN:
                        raise

        self._change(
            f"topics {', '.join(names)} can't be deleted", delete,
            "mend what it says (delete.topic.enable, DELETE on the topics), or delete them by hand.",
        )
        self._wait(f"topics {', '.join(names)} to be gone", lambda: not set(names) & set(self.list()))
