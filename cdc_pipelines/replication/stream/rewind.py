"""Let the connector read again from where the target is, behind what the change log holds.

A restart of the connector's task can tear a key change: its first half is in the log, its second never will be. The log
behind the target's offset is then of no use; but the source's own log still has it all. So the connector goes back to
the target's position, and the target goes on where the connector's new records begin. What comes twice is recognised.
"""

import logging

import psycopg

from cdc_pipelines.replication.connect import ConnectClient
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.databases.postgres.identity import target_identity
from cdc_pipelines.replication.databases.postgres.state import PipelineState, TargetState
from cdc_pipelines.replication.errors import IntegrityError, ResyncRequiredError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream.connector_life import require_ours, resume, stop
from cdc_pipelines.replication.stream.connector_seal import require_sealed
from cdc_pipelines.replication.stream.log_topic import LogTopics

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def rewind(
    pipeline: Pipeline, conn: psycopg.Connection, facts: PipelineState, *, client: ConnectClient, topics: LogTopics,
    source: MySqlSource, log: Log,
) -> int:
    """Returns the log offset from which the target goes on: all that it lacks comes there, each transaction whole.

    Killed anywhere, it is called again. The caller holds the pipeline's lease and reads nothing meanwhile. Raises
    ResyncRequiredError where the source's log does not reach back that far, or the connector is not as we made it.
    """
    name, topic, state = pipeline.connector_name, facts.log_topic or "", TargetState(conn, pipeline.name)
    config = client.config(name)
    if config is None or require_ours(client, pipeline, config, facts.generation, target_identity(conn)) \
            != facts.generation:
        raise ResyncRequiredError(
            f"connector {name} is not this generation's; what the change log misses can't be read again by it",
            f"run `cdc start {pipeline.name} --force-resync`.",
        )
    require_sealed(pipeline, config)
    offset = state.offset()
    assert offset is not None
    position = MySqlPosition.from_json(offset.position)
    source.require_reachable(position)
    conn.commit()
    stop(client, name)
    end = topics.offsets(topic)[1]
    place = {"partition": {"server": config["topic.prefix"]}, "offset": position.connect_offset()}
    client.patch_offsets(name, [place])
    if place not in client.offsets(name):
        raise IntegrityError(
            f"connector {name}: its offset was set to {place}, but Kafka Connect gives {client.offsets(name)}",
            "look at the Connect worker's log.",
        )
    resume(client, name)
    state.require_epoch(facts.epoch)
    state.advance_offset(offset.next_offset, end, None, None, 0, 0)
    conn.commit()
    log.warning(
        "connector %s reads again from %s:%d, where the target is; the change log is passed over from offset %d to %d",
        name, position.file, position.pos, offset.next_offset, end,
    )
    return end
