"""The Kafka broker: one node, KRaft, everything replicated once."""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from cdc_pipelines.stack.jvm import JvmPart, fetch_jars, jars, java, write_logging
from cdc_pipelines.stack.part import NotReadyError, fingerprint, server_environment
from cdc_pipelines.stack.process import Launch, tail
from cdc_pipelines.stack.settings import HOST

PROBE_TOPIC = "cdc-stack-probe"


class Kafka(JvmPart):
    name = "kafka"

    @property
    def config_file(self) -> Path:
        return self.layout.conf(self.name) / "server.properties"

    def missing(self) -> str | None:
        return None if jars(self.layout).exists() else "Kafka and Kafka Connect (about 60 MB)"

    def fetch(self) -> None:
        fetch_jars(self.name, self.layout)

    def initialize(self, data: Path) -> None:
        config = self.layout.write(self.layout.conf(self.name) / "format.properties", self._config(data))
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if cluster.startswith("-"):
            cluster = "A" + cluster[1:]  # else it reads as an option
        self.run_once(
            "format",
            [*java(self.name, self.layout, "256m"), "kafka.tools.StorageTool", "format",
             "--cluster-id", cluster, "--config", str(config)],
            server_environment(),
        )

    def launch(self) -> Launch:
        config = self._config(self.data)
        self.layout.write(self.config_file, config)
        logging = write_logging(self.layout, self.name)
        argv = (
            *java(self.name, self.layout, "768m", ("-Xms768m", f"-Dlog4j2.configurationFile={logging}")),
            "kafka.Kafka", str(self.config_file),
        )  # fmt: skip
        return Launch(argv, server_environment(), self.data, self.console, str(self.config_file),
                      fingerprint(self.lasting(argv), config))

    def check(self) -> None:
        """Metadata alone is no proof: a broker that can't write answers it too. So write one message."""
        client = {"bootstrap.servers": f"{HOST}:{self.port}", "log_level": 0}
        try:
            admin = AdminClient(client)
            if PROBE_TOPIC not in admin.list_topics(timeout=3).topics:
                topic = NewTopic(PROBE_TOPIC, 1, 1, config={"retention.ms": "60000"})
                admin.create_topics([topic], operation_timeout=5)[PROBE_TOPIC].result(10)
            failures: list[str] = []
            producer = Producer(client | {"message.timeout.ms": 5000, "linger.ms": 0})
            producer.produce(
                PROBE_TOPIC, b"ready?", on_delivery=lambda error, _: failures.append(str(error)) if error else None
            )
            left = producer.flush(6)
        except KafkaException as error:
            raise NotReadyError(str(error)) from error
        if left or failures:
            raise NotReadyError(f"no message could be written: {failures or 'timeout'}")

    def failure_log(self) -> list[str]:
        return (tail(self.console) + tail(self.log))[-20:]

    def _config(self, data: Path) -> str:
        controller = self.values["CDC_STACK_KAFKA_CONTROLLER_PORT"]
        return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{HOST}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{controller}
advertised.listeners=PLAINTEXT://{HOST}:{self.port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""
