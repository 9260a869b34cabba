"""What a pipeline rests on, looked at for its status: the source's history, the change log, the connector as made.

Each function raises the error that says what is wrong and what mends it; the same is found by a consumer at work (its
watch), but a pipeline that is stopped, or whose consumer is dead, must not look well either.
"""

from datetime import UTC, datetime
from typing import Any

from cdc_pipelines.replication.control.store import Heartbeat
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.operations.consumer_state import connector_covers
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.stream import connector_life
from cdc_pipelines.replication.stream.connector_seal import lost_topics, require_sealed
from cdc_pipelines.replication.stream.log_topic import LogTopics

Facts = dict[str, Any]

SILENT_AFTER_S = 150.0
"""An idle MySQL or MariaDB sends its replicas a heartbeat about every 48 s, and the connector's own hang on it."""
_LOOK_S = 5.0


def source_history(rt: Runtime, target: Facts, connector: Facts) -> None:
    """Whether the source's log still leads on from what was applied, and from what the connector has read."""
    if not target.get("position"):
        return
    applied = MySqlPosition.from_json(target["position"])
    rt.source.require_same_history(applied)
    if connector["state"] in ("UNREACHABLE", "FAILED"):
        return  # of one that fails at its start, Connect answers a question for offsets with that failure
    if connector["healthy"]:
        return  # it is reading
    read = connector_life.source_offset(rt.connect, rt.pipeline.connector_name)
    # What the connector has read is in the change log: the source may have purged it.
    rt.source.require_reachable(MySqlPosition.from_connect_offset(read, applied) if read else applied)


def change_log(rt: Runtime, target: Facts) -> Facts:
    """`topic`, `begin`, `end` (offsets), `records` that are kept (Kafka's own marks count as well), `bytes_estimate`.

    The bytes are those of the records before compression, judged by a sample.
    """
    topic = target.get("log_topic")
    if not topic:
        return {}
    topics = LogTopics(rt.pipeline, deadline_s=_LOOK_S)
    topics.require_same(topic, target["log_topic_id"])
    offset = target.get("log_offset")
    begin, end = topics.offsets(topic) if offset is None else topics.require_offset(topic, offset)
    size = topics.size_estimate(topic, begin, end)
    return {"topic": topic, "begin": begin, "end": end, "records": end - begin, "bytes_estimate": size}


def connector_as_made(rt: Runtime, target: Facts) -> None:
    """Whether the connector is ours, as we made it, with its own topics."""
    config = rt.connect.config(rt.pipeline.connector_name)
    if config is None or rt.record.generation is None:
        return
    connector_life.require_ours(rt.connect, rt.pipeline, config, rt.record.generation, target.get("identity"))
    require_sealed(rt.pipeline, config)
    lost = lost_topics(LogTopics(rt.pipeline, deadline_s=_LOOK_S), config)
    if lost:
        raise ConfigurationError(
            f"connector {rt.pipeline.connector_name}: its schema history or its offsets were deleted "
            f"({', '.join(lost)}); it can't be restarted without",
            f"run `cdc start {rt.name}`: it makes the connector anew, from the applied position.",
        )


def connector_speaks(rt: Runtime, target: Facts, connector: Facts, beat: Heartbeat | None) -> None:
    """Whether a connector that says it runs also sends something, where the source has something new."""
    if not connector["healthy"] or not target.get("position") or beat is None or beat.state != "streaming":
        return
    # A consumer that began after the silence did has seen no record yet.
    last = beat.last_heartbeat_event_at or target.get("last_sync_at")
    silent_s = (beat.at - last).total_seconds() if last is not None else 0.0
    if silent_s < SILENT_AFTER_S or (datetime.now(UTC) - beat.at).total_seconds() > SILENT_AFTER_S:
        return
    now, applied = rt.source.position(), MySqlPosition.from_json(target["position"])
    if applied.includes(now) or connector_covers(rt, now, applied):
        return
    raise RetryableError(
        f"connector {rt.pipeline.connector_name} says RUNNING, but has sent nothing for {silent_s:.0f} s, not even a "
        "heartbeat, while the source's log went on",
        f"its connection to the source may be dead, or its task hung: run `cdc restart {rt.name}`; where that does not "
        "help, restart the Connect worker, and look at its log.",
    )
