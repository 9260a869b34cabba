"""The connector's configuration: everything that makes the change log complete, exact and in order."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.pipeline import Kafka, Pipeline, Source
from cdc_pipelines.replication.stream.connector_extra import validate_extra
from cdc_pipelines.replication.stream.ddl_filter import ddl_filter
from cdc_pipelines.replication.table_mapping import follows_new_tables

__all__ = ["GENERATION_KEY", "PIPELINE_KEY", "START_KEY", "connector_class", "connector_config", "validate_extra"]

SnapshotMode = Literal["recovery", "no_data"]

# Ours, not Debezium's: by them we know our own connector again. Connect keeps unknown keys.
PIPELINE_KEY = "cdc.pipeline"
OWNER_KEY = "cdc.owner"
GENERATION_KEY = "cdc.generation"
START_KEY = "cdc.start"
SEAL_KEY = "cdc.seal"
LEFT_OUT_KEY = "cdc.left.out"
# Topics that somebody deleted come back by themselves, without what was in them: the id tells.
HISTORY_ID_KEY = "cdc.history.id"
OFFSETS_ID_KEY = "cdc.offsets.id"

TABLES_KEY = "table.include.list"
LOG_TOPIC_KEY = "transforms.one.replacement"
HISTORY_TOPIC_KEY = "schema.history.internal.kafka.topic"
OFFSETS_TOPIC_KEY = "offsets.storage.topic"
EXACTLY_ONCE_KEY = "exactly.once.support"

_CLASSES = {
    "mysql": "io.debezium.connector.mysql.MySqlConnector",
    "mariadb": "io.debezium.connector.mariadb.MariaDbConnector",
}
_TLS_MODES = {
    "mysql": {"disable": "disabled", "prefer": "preferred", "require": "required", "verify_ca": "verify_ca",
              "verify_identity": "verify_identity"},
    # The MariaDB driver has no "if the server offers it".
    "mariadb": {"disable": "disable", "prefer": "disable", "require": "trust", "verify_ca": "verify-ca",
                "verify_identity": "verify-full"},
}


def connector_class(flavor: str) -> str:
    """Debezium's connector for a kind of source."""
    return _CLASSES[flavor]


def connector_config(
    pipeline: Pipeline,
    tables: Sequence[MappedTable],
    *,
    generation: int,
    log_topic: str,
    history_topic: str,
    snapshot_mode: SnapshotMode,
    offsets_topic: str | None = None,
    start: MySqlPosition | None = None,
    owner: str | None = None,
    exactly_once: bool = True,
    left_out: Collection[str] = (),
) -> dict[str, str]:
    """The whole configuration; the password stands in it as a reference only.

    `start` is the position from which the connector was made to read, `owner` the identity of the target; both are
    kept as marks. `offsets_topic` is where
    its offsets are kept (the worker's own topic otherwise): with exactly-once every batch writes one, up to 100 a
    second, and who starts a connector reads all of them; they must not pile up in a topic made for one a minute.
    `left_out`: what the log has rows of and is no table, where all tables are wanted (sequences of MariaDB).
    Raises ConfigurationError where `connect.config` holds a setting that is not the user's to make.
    """
    validate_extra(pipeline.connect.config)
    config = {
        "connector.class": connector_class(pipeline.source.type),
        "tasks.max": "1",
        "topic.prefix": pipeline.topic_prefix,
        PIPELINE_KEY: pipeline.name,
        GENERATION_KEY: str(generation),
        EXACTLY_ONCE_KEY: "required" if exactly_once else "requested",
        **_database(pipeline.source, pipeline.server_id),
        **_tables(pipeline, tables, sorted(left_out)),
        **_snapshot(pipeline, history_topic, snapshot_mode),
        **_EVENTS,
        **_VALUES,
        **_one_log(pipeline.kafka, log_topic),
        **_PACE,
    }
    if offsets_topic is not None:
        config[OFFSETS_TOPIC_KEY] = offsets_topic
    if start is not None:
        config[START_KEY] = start.to_json()
    if owner is not None:
        config[OWNER_KEY] = owner
    return config | pipeline.connect.config


def _database(source: Source, server_id: int) -> dict[str, str]:
    host = secrets.resolve(source.connect_host) if source.connect_host else source.resolved_host()
    port = secrets.resolve(str(source.connect_port)) if source.connect_port else str(source.resolved_port())
    return {
        "database.hostname": host,
        "database.port": port,
        "database.user": source.resolved_user(),
        "database.password": _password(source),
        "database.server.id": str(server_id),
        "database.ssl.mode": _TLS_MODES[source.type][source.tls.mode],
    }


def _password(source: Source) -> str:
    """The password as the Connect worker's config providers find it. Never the password itself."""
    if source.connect_password is None:
        return secrets.for_connect(source.password)
    if not re.fullmatch(r"\$\{[A-Za-z0-9_]+:[^}]+\}", source.connect_password):
        raise ConfigurationError(
            "source.connect_password must be one reference for a config provider of the Connect worker, "
            "e.g. ${env:NAME} or ${file:/path/secrets.properties:key}; a literal would be shown by Connect's REST",
            "put the password where the worker finds it, and refer to it.",
        )
    return source.connect_password


def _tables(pipeline: Pipeline, tables: Sequence[MappedTable], left_out: Sequence[str]) -> dict[str, str]:
    """Lists of regular expressions, which Debezium matches against whole names, ignoring case.

    Where all tables are wanted, those that are made later are, too.
    """
    database = quote_regex(pipeline.source.database)
    prefix = database + r"\."
    if follows_new_tables(pipeline):
        captured = prefix + _all_but([*pipeline.exclude, *left_out])
    else:
        captured = ",".join(prefix + quote_regex(name) for name in _names(pipeline, tables))
    lists = {"database.include.list": database, TABLES_KEY: captured}
    if left_out:
        lists[LEFT_OUT_KEY] = json.dumps(left_out)
    if not all(t.whole for t in tables):
        columns = []
        for table in tables:
            wanted = table.captured
            names = [r".*"] if wanted is None else [
                quote_regex(c.name) for c in table.source.columns if c.name in wanted
            ]
            columns += [prefix + quote_regex(table.source.name) + r"\." + name for name in names]
        lists["column.include.list"] = ",".join(columns)
    return lists


def captures(config: Mapping[str, str], database: str, table: str) -> bool:
    """Whether a connector of ours with this configuration sends what happens to a table."""
    patterns = re.split(r"(?<!\\),", config.get(TABLES_KEY, ""))
    return any(re.fullmatch(pattern, f"{database}.{table}", re.IGNORECASE) for pattern in patterns)


def _names(pipeline: Pipeline, tables: Sequence[MappedTable]) -> list[str]:
    """Those that are replicated, and those of the file's list that were dropped and may be made again."""
    listed = [] if pipeline.tables == "all" else [choice.source for choice in pipeline.tables]
    return list(dict.fromkeys([*(t.source.name for t in tables), *listed]))


def _all_but(names: Sequence[str]) -> str:
    return f"(?!(?:{'|'.join(map(quote_regex, names))})$).+" if names else ".+"


def quote_regex(name: str) -> str:
    """The name as a Java regular expression that matches it alone; a comma in it does not split the list."""
    return re.sub(r"[^\w]", lambda match: "\\" + match[0] if match[0].isascii() else match[0], name)


def _snapshot(pipeline: Pipeline, history_topic: str, mode: SnapshotMode) -> dict[str, str]:
    kafka = pipeline.kafka
    return {
        "snapshot.mode": mode,
        # Fingerprints and the guard's session keep the definitions still; no lock on the source is needed.
        "snapshot.locking.mode": "none",
        "schema.history.internal.kafka.bootstrap.servers": secrets.resolve(
            kafka.connect_bootstrap_servers or kafka.bootstrap_servers
        ),
        HISTORY_TOPIC_KEY: history_topic,
        "schema.history.internal.kafka.query.timeout.ms": "20000",
        "internal.schema.history.internal.ddl.filter": ddl_filter(),
        "schema.history.internal.store.only.captured.databases.ddl": "true",
        # All tables of the database, so that an online schema change's rename is understood, and the character set that
        # new tables have. MariaDB: only the captured ones where some are not wanted, because the parser fails on types
        # it doesn't know (inet6), also of tables nobody asked for.
        "schema.history.internal.store.only.captured.tables.ddl": str(
            pipeline.source.type == "mariadb" and not follows_new_tables(pipeline)
        ).lower(),
    }


# Debezium's defaults drop truncates, and say nothing of schema changes and transactions.
_EVENTS = {
    "include.schema.changes": "true",
    "provide.transaction.metadata": "true",
    # Also: how soon a connector that has just (re)connected to an idle server says where it stands.
    "heartbeat.interval.ms": "100",
    "skipped.operations": "none",
    "tombstones.on.delete": "false",
    # Carries the id of the task's run; the headers of key changes come with or without it.
    "extended.headers.enabled": "true",
    "event.processing.failure.handling.mode": "fail",
    "inconsistent.schema.handling.mode": "fail",
    "errors.tolerance": "none",
}

# One unambiguous JSON form per type. A NULL must not turn into the column's default.
_VALUES = {
    "decimal.handling.mode": "string",
    "bigint.unsigned.handling.mode": "precise",
    "binary.handling.mode": "base64",
    "time.precision.mode": "microseconds",
    # It would turn the year 1 into 2001.
    "enable.time.adjuster": "false",
    **{
        f"{side}.converter{setting}": value
        for side in ("key", "value")
        for setting, value in (
            ("", "org.apache.kafka.connect.json.JsonConverter"),
            (".schemas.enable", "false"),
            (".replace.null.with.default", "false"),
            (".decimal.format", "NUMERIC"),
        )
    },
}


def _one_log(kafka: Kafka, log_topic: str) -> dict[str, str]:
    """Rows, schema changes, transaction bounds and heartbeats in one topic, and room for the largest event."""
    limit = str(kafka.max_message_bytes)
    return {
        "transforms": "one",
        "transforms.one.type": "org.apache.kafka.connect.transforms.RegexRouter",
        "transforms.one.regex": ".*",
        LOG_TOPIC_KEY: log_topic,
        # We create the topic ourselves. Should somebody delete it, it must not come back with other settings.
        "topic.creation.default.partitions": "1",
        "topic.creation.default.replication.factor": str(kafka.replication_factor),
        "topic.creation.default.cleanup.policy": "delete",
        "topic.creation.default.retention.ms": "-1",
        "topic.creation.default.retention.bytes": "-1",
        "topic.creation.default.max.message.bytes": limit,
        # Never above the topic's own limit: the broker would refuse a record and take those behind it.
        "producer.override.max.request.size": limit,
        "producer.override.buffer.memory": str(2 * kafka.max_message_bytes),
        "producer.override.compression.type": "zstd",
    }


# How often the connector looks for changes. Each look that finds some is a transaction of Kafka, 7 ms of CPU. Measured
# on a server on which others commit 45 times a second, the connector's and Kafka's share of a core together, and how
# soon a change was visible (median, 99 %): every 10 ms 62 % (idle 11 %), 34 and 72 ms; 15 ms 40 % (9 %), 48 and 118 ms;
# 25 ms 33 % (8 %), 69 and 123 ms; 50 ms 16 % (5 %), 117 and 392 ms. Debezium's own 500 ms make it 280 ms.
_PACE = {
    "poll.interval.ms": "25",
    "max.batch.size": "4096",
    "max.queue.size": "16384",
    "max.queue.size.in.bytes": str(128 * 1024 * 1024),
    "producer.override.batch.size": "262144",
    "retriable.restart.connector.wait.ms": "3000",
}
