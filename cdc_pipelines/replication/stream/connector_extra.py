"""Which connector settings are a user's to make (`connect.config`), and which the exact hand-over depends on."""

import re
from collections.abc import Mapping

from cdc_pipelines.replication.errors import ConfigurationError

# Said elsewhere in the pipeline's file, or fixed because place, order, form or completeness of events rest on it.
_FIXED = frozenset({
    "name", "connector.class", "tasks.max", "topic.prefix", "topic.naming.strategy",
    "database.hostname", "database.port", "database.user", "database.password", "database.server.id",
    "database.include.list", "database.exclude.list", "database.ssl.mode",
    "include.schema.changes", "provide.transaction.metadata", "heartbeat.interval.ms", "heartbeat.topics.prefix",
    "topic.heartbeat.prefix", "skipped.operations", "tombstones.on.delete", "extended.headers.enabled",
    "exactly.once.support", "transaction.boundary", "offsets.storage.topic", "read.only", "internal.read.only",
    "decimal.handling.mode", "bigint.unsigned.handling.mode", "binary.handling.mode", "time.precision.mode",
    "enable.time.adjuster", "converters", "post.processors", "field.name.adjustment.mode",
    "schema.name.adjustment.mode", "datatype.propagate.source.type",
    "event.processing.failure.handling.mode", "event.converting.failure.handling.mode",
    "inconsistent.schema.handling.mode", "driver.sessionVariables",
    "schema.history.internal", "internal.schema.history.internal.ddl.filter", "producer.override.max.request.size",
    "producer.override.acks", "producer.override.enable.idempotence", "producer.override.transactional.id",
    "predicates", "provider",
})
_FIXED_PREFIXES = (
    "cdc.", "transforms", "predicates.", "key.converter", "value.converter", "header.converter", "snapshot.",
    "table.", "column.", "message.key.", "gtid.", "incremental.snapshot.", "signal.", "topic.creation.", "errors.",
    "schema.history.internal.kafka.",
)
# Parts of the above that do no harm: a secured Kafka, a slow one, and what the parser does with foreign statements.
_FREE = (
    "schema.history.internal.kafka.query.timeout.ms", "schema.history.internal.kafka.create.timeout.ms",
    "schema.history.internal.kafka.recovery.", "errors.max.retries", "errors.retry.delay.", "errors.log.",
    "snapshot.lock.timeout.ms", "snapshot.fetch.size",
)
_SECRET = re.compile(r"password|passphrase|secret|jaas\.config|\.key$", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{[A-Za-z0-9_]+:[^}]+\}")


def is_fixed(key: str) -> bool:
    """Whether the setting is not the user's to make."""
    if key.startswith(_FREE):
        return False
    return key in _FIXED or key.startswith(_FIXED_PREFIXES)


def validate_extra(config: Mapping[str, str]) -> None:
    """Raises ConfigurationError naming every setting that is refused, and every secret that stands there in clear."""
    fixed = sorted(key for key in config if is_fixed(key))
    # jaas lines hold more than the secret, so one reference anywhere in the value is enough.
    clear = sorted(key for key, value in config.items() if _SECRET.search(key) and not _REFERENCE.search(value))
    mistakes = []
    if fixed:
        mistakes.append(
            f"connect.config may not set {', '.join(fixed)}: the hand-over and the consumer depend on "
            f"{'it' if len(fixed) == 1 else 'them'}"
        )
    if clear:
        mistakes.append(
            f"connect.config holds {', '.join(clear)} in clear; Connect's REST interface shows every setting"
        )
    if mistakes:
        raise ConfigurationError(
            "; ".join(mistakes),
            "take the settings out" + (
                "; write secrets as references that the worker resolves, e.g. ${env:NAME}." if clear else "."
            ),
        )
