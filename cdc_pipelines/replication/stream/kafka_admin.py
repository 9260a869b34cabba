"""Talking to Kafka's brokers as an administrator, patiently: what a moment mends is tried again."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.pipeline import Pipeline

T = TypeVar("T")

CALL_S = 10.0
POLL_S = 0.05
# Faults that a moment mends: an election, a request that got lost, metadata that is still on its way.
PASSING = frozenset({
    KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._WAIT_COORD,
    KafkaError._RESOLVE, KafkaError.REQUEST_TIMED_OUT, KafkaError.NOT_CONTROLLER,
    KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.BROKER_NOT_AVAILABLE, KafkaError.NETWORK_EXCEPTION,
    KafkaError.KAFKA_STORAGE_ERROR,
})
UNKNOWN = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})


class KafkaAdmin:
    """One pipeline's brokers. RetryableError wherever they stay out of reach for `deadline_s` seconds."""

    def __init__(self, pipeline: Pipeline, *, deadline_s: float = 30.0) -> None:
        self._name = pipeline.name
        self._kafka = pipeline.kafka
        self._servers = secrets.resolve(pipeline.kafka.bootstrap_servers)
        self._deadline_s = deadline_s
        self._call_s = min(CALL_S, deadline_s)
        self._admin_client: AdminClient | None = None

    @property
    def _admin(self) -> AdminClient:
        if self._admin_client is None:
            self._admin_client = AdminClient({
                "bootstrap.servers": self._servers,
                "log_level": 0,  # what matters is raised
                "socket.timeout.ms": int(self._call_s * 1000),
                **self._client_settings(),
            })
        return self._admin_client

    def _client_settings(self) -> dict[str, str]:
        return {key: secrets.resolve_secret(value) for key, value in self._kafka.client.items()}

    def _metadata(self) -> Any:
        return self._insist("cluster metadata", lambda: self._admin.list_topics(timeout=self._call_s))

    def _insist(self, what: str, call: Callable[[], T]) -> T:
        """Call until it is answered; faults that don't pass are raised as they are."""
        ends = time.monotonic() + self._deadline_s
        while True:
            try:
                return call()
            except (KafkaException, TimeoutError) as error:
                if isinstance(error, KafkaException) and code_of(error) not in PASSING:
                    raise
                if time.monotonic() > ends:
                    raise RetryableError(
                        f"Kafka at {self._servers}: {what}: no answer within {self._deadline_s:.0f} s ({error})",
                        "see that the brokers run and are reachable from here, then run the same command again.",
                    ) from error
            time.sleep(POLL_S)

    def _change(self, refusal: str, call: Callable[[], None], mend: str) -> None:
        """Call until it is answered. ConfigurationError where the brokers refuse: `refusal`, why, and what mends it."""
        try:
            self._insist(refusal, call)
        except KafkaException as error:
            raise ConfigurationError(f"{refusal} on {self._servers}: {text_of(error)}", mend) from error

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        ends = time.monotonic() + self._deadline_s
        while not condition():
            if time.monotonic() > ends:
                raise RetryableError(
                    f"Kafka at {self._servers}: waited {self._deadline_s:.0f} s in vain for {what}",
                    "look at the brokers' logs, then run the same command again.",
                )
            time.sleep(POLL_S)


def code_of(error: KafkaException) -> int:
    cause = error.args[0]
    return cause.code() if isinstance(cause, KafkaError) else KafkaError._FAIL


def text_of(error: KafkaException) -> str:
    cause = error.args[0]
    return cause.str() if isinstance(cause, KafkaError) else str(cause)
