"""Whose a connector is, and whether it still is as we made it: marks of ours in its configuration.

Connect lets anybody change a connector's settings. One that captures less, or elsewhere, for a minute leaves a gap in
the change log that nothing in the log shows. So the settings on which completeness rests are sealed: their digest
stands beside them, and a change by hand breaks it.
"""

import hashlib

from cdc_pipelines.replication.connect import Config
from cdc_pipelines.replication.errors import ResyncRequiredError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream.connector import (
    HISTORY_ID_KEY,
    HISTORY_TOPIC_KEY,
    OFFSETS_ID_KEY,
    OFFSETS_TOPIC_KEY,
    OWNER_KEY,
    PIPELINE_KEY,
    SEAL_KEY,
)
from cdc_pipelines.replication.stream.connector_extra import is_fixed
from cdc_pipelines.replication.stream.log_topic import LogTopics

# Fixed as well, but no loss: a login is refused or works, and what the others do shows in the log or in the task's
# state. The next start puts them right.
_HARMLESS = (
    "name", SEAL_KEY, "tasks.max", "database.user", "database.password", "database.server.id", "database.ssl.mode",
    "snapshot.", "topic.creation.", "errors.", "heartbeat.interval.ms", "exactly.once.support", "producer.override.",
    "schema.history.internal.kafka.", "event.processing.failure.handling.mode", "inconsistent.schema.handling.mode",
)


def sealed(config: Config) -> Config:
    """The configuration with the seal that fits it."""
    return config | {SEAL_KEY: _digest(config)}


def seal_is_broken(config: Config) -> bool:
    """Whether somebody changed what decides which events come. A connector without a seal was made before seals."""
    return SEAL_KEY in config and config[SEAL_KEY] != _digest(config)


def require_sealed(pipeline: Pipeline, found: Config, wanted: Config | None = None) -> None:
    """Raises ResyncRequiredError where the seal is broken; `wanted` lets it name the settings."""
    if not seal_is_broken(found):
        return
    keys = _guarded(found).keys() | _guarded(wanted or {}).keys()
    other = sorted(k for k in keys if wanted is not None and found.get(k) != wanted.get(k))
    named = ", ".join(f"{key} is {found.get(key, 'not set')}" for key in other)
    raise ResyncRequiredError(
        f"connector {pipeline.connector_name}: settings that decide which changes are captured were changed by hand"
        f"{f' ({named})' if named else ''}; changes made meanwhile may be missing from the change log",
        f"run `cdc start {pipeline.name} --force-resync`; change the pipeline's file instead, never the connector.",
    )


def foreign_owner(pipeline: Pipeline, config: Config, owner: str | None) -> str:
    """Words for who owns this connector, where it is not this pipeline; empty where it is.

    `owner` is the target's identity, None where it can't be asked: then only the pipeline's name is compared.
    """
    found = config.get(PIPELINE_KEY)
    if found != pipeline.name:
        return f"pipeline {found}" if found else f"somebody else ({config.get('connector.class')})"
    writes_to = config.get(OWNER_KEY)
    if owner is not None and writes_to is not None and writes_to != owner:
        return f"a pipeline of the same name that writes to another target ({writes_to}; this one's is {owner})"
    return ""


def own_topics(config: Config) -> Config:
    """The topics that are a connector's own for its life, and their ids."""
    keys = (HISTORY_TOPIC_KEY, HISTORY_ID_KEY, OFFSETS_TOPIC_KEY, OFFSETS_ID_KEY)
    return {key: config[key] for key in keys if key in config}


def lost_topics(topics: LogTopics, config: Config) -> list[str]:
    """Those of them that were deleted, or deleted and made again."""
    pairs = ((HISTORY_TOPIC_KEY, HISTORY_ID_KEY), (OFFSETS_TOPIC_KEY, OFFSETS_ID_KEY))
    return [
        config[topic] for topic, known in pairs
        if topic in config and known in config and topics.topic_id(config[topic]) != config[known]
    ]


def _guarded(config: Config) -> Config:
    return {key: value for key, value in config.items() if is_fixed(key) and not key.startswith(_HARMLESS)}


def _digest(config: Config) -> str:
    lines = "\n".join(f"{key}={value}" for key, value in sorted(_guarded(config).items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:32]
