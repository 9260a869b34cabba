"""Trimming the change log: what every reader has applied, and nobody may need again, is deleted from it."""

import time

import psycopg

from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.state import PipelineState, TargetState
from cdc_pipelines.replication.errors import FencedError, RetryableError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream.log_topic import LogTopics


def trim(pipeline: Pipeline, topics: LogTopics, facts: PipelineState) -> int | None:
    """Delete what is applied and older than kafka.log_keep_hours. Returns the log's new first offset, None if it stays.

    Never beyond what the target would still know to be applied after a crash: its readers begin at that offset.
    Raises FencedError where the target's epoch is no longer that of `facts`.
    """
    keep_hours, topic = pipeline.kafka.log_keep_hours, facts.log_topic
    if keep_hours is None or topic is None:
        return None
    since = topics.offset_since(topic, int((time.time() - keep_hours * 3600) * 1000))
    begin, _ = topics.offsets(topic)
    if since <= begin:
        return None
    before = min(since, _durable_offset(pipeline, facts))
    if before <= begin:
        return None
    topics.trim(topic, before)
    return before


def _durable_offset(pipeline: Pipeline, facts: PipelineState) -> int:
    """How far the slowest reader is, on the target's disk.

    The consumer commits without waiting for the disk. A transaction that does wait, and comes later, brings all before
    it there.
    """
    with connect(pipeline.target, purpose=f"{pipeline.name}:trim") as conn:
        try:
            offset = TargetState(conn, pipeline.name).slowest_offset(facts.epoch)
            conn.execute("set local synchronous_commit = on")
            conn.execute("select pg_logical_emit_message(true, 'cdc', 'trim')")
            conn.commit()
        except psycopg.Error as error:
            raise RetryableError(f"the target can't be asked how far it is: {error}", "it is tried again.") from error
    if offset is None:
        raise FencedError(f"pipeline {pipeline.name}: something newer is in charge of the target")
    return offset
