"""Kafka Connect: one distributed worker with Debezium's connectors.

Passwords reach connectors through the worker's environment: a connector's configuration says
`${env:CDC_STACK_MYSQL_PASSWORD}`, and that is also all that the REST interface ever returns.
"""

from __future__ import annotations

import os
from pathlib import Path

import requests

from cdc_pipelines.stack.downloads import maven_archive
from cdc_pipelines.stack.jvm import JvmPart, fetch_jars, java, write_logging
from cdc_pipelines.stack.part import NotReadyError, fingerprint, server_environment
from cdc_pipelines.stack.process import Launch, tail
from cdc_pipelines.stack.settings import HOST, passwords

_PLUGINS = {
    "io.debezium.connector.mysql.MySqlConnector": ("debezium-connector-mysql", "3.6.1.Final"),
    "io.debezium.connector.mariadb.MariaDbConnector": ("debezium-connector-mariadb", "3.5.0.Final"),
    "io.debezium.connector.postgresql.PostgresConnector": ("debezium-connector-postgres", "3.7.0.Final"),
}
_JDBC_SINK = {"io.debezium.connector.jdbc.JdbcSinkConnector": ("debezium-connector-jdbc", "3.6.0.Final")}


class Connect(JvmPart):
    name = "connect"
    needs = ("kafka",)

    @property
    def config_file(self) -> Path:
        return self.layout.conf(self.name) / "worker.properties"

    @property
    def plugins(self) -> dict[str, Path]:
        """Connector class -> folder. The JDBC sink only where asked for, and from then on."""
        wanted = dict(_PLUGINS)
        sink = {name: self._folder(*artifact) for name, artifact in _JDBC_SINK.items()}
        if os.environ.get("CDC_STACK_JDBC_SINK") == "1" or all(folder.exists() for folder in sink.values()):
            wanted |= _JDBC_SINK
        return {name: self._folder(*artifact) for name, artifact in wanted.items()}

    def missing(self) -> str | None:
        absent = [folder.name for folder in self.plugins.values() if not folder.exists()]
        return f"{', '.join(absent)} (about 30 MB each)" if absent else None

    def fetch(self) -> None:
        fetch_jars(self.name, self.layout)
        for artifact, version in (_PLUGINS | _JDBC_SINK).values():
            folder = self._folder(artifact, version)
            if folder in self.plugins.values():
                maven_archive(self.name, folder, f"io.debezium:{artifact}:{version}:tar.gz:plugin")

    def initialize(self, data: Path) -> None:
        """Nothing: a worker's state is in Kafka. The folder is for connectors' files (schema histories)."""

    def launch(self) -> Launch:
        config = self._config()
        self.layout.write(self.config_file, config)
        logging = write_logging(self.layout, self.name)
        argv = (
            *java(self.name, self.layout, "1g", ("-Xms512m", f"-Dlog4j2.configurationFile={logging}")),
            "org.apache.kafka.connect.cli.ConnectDistributed", str(self.config_file),
        )  # fmt: skip
        secrets = passwords(dict(self.values))
        told = sorted(f"{key}={value}" for key, value in secrets.items())
        return Launch(argv, server_environment(secrets), self.data, self.console, str(self.config_file),
                      fingerprint(self.lasting(argv), config, told))

    def check(self) -> None:
        """The worker is of use once it has joined its group and lists every connector."""
        url = f"http://{HOST}:{self.port}"
        try:
            health = requests.get(f"{url}/health", timeout=5)
            listed = requests.get(f"{url}/connector-plugins", timeout=5)
            loaded = {plugin["class"] for plugin in listed.json()} if listed.ok else set()
        except requests.RequestException as error:
            raise NotReadyError(str(error)) from error
        if health.status_code != requests.codes.ok or listed.status_code != requests.codes.ok:
            raise NotReadyError(f"REST answers {health.status_code}: {health.text[:200]}")
        absent = set(self.plugins) - loaded
        if absent:
            raise NotReadyError(f"connectors not loaded: {', '.join(sorted(absent))}")

    def failure_log(self) -> list[str]:
        return (tail(self.console) + tail(self.log))[-20:]

    def _folder(self, artifact: str, version: str) -> Path:
        return self.layout.parts / f"{artifact}-{version}"

    def _config(self) -> str:
        path = ",".join(str(folder) for folder in self.plugins.values())
        return f"""bootstrap.servers={self.values["CDC_STACK_KAFKA_BOOTSTRAP"]}
group.id=cdc-stack-connect
listeners=http://{HOST}:{self.port}
rest.advertised.host.name={HOST}
rest.advertised.port={self.port}
plugin.path={path}
plugin.discovery=service_load
exactly.once.source.support=enabled
connector.client.config.override.policy=All
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
config.providers=env,file,directory
config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider
config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider
config.providers.directory.class=org.apache.kafka.common.config.provider.DirectoryConfigProvider
config.storage.topic=cdc-stack-connect-configs
config.storage.replication.factor=1
offset.storage.topic=cdc-stack-connect-offsets
offset.storage.replication.factor=1
offset.storage.partitions=5
status.storage.topic=cdc-stack-connect-status
status.storage.replication.factor=1
status.storage.partitions=1
offset.flush.interval.ms=1000
scheduled.rebalance.max.delay.ms=3000
"""
