"""Step 3: from which position the connector starts, into which log, and what both remember of it."""

import logging
from collections.abc import Collection
from typing import Any

import psycopg

from cdc_pipelines.replication.catalog import Column, MappedTable, Table
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres.identity import target_identity
from cdc_pipelines.replication.databases.postgres.lane_store import LaneStore, state_name
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError, ResyncRequiredError, RetryableError
from cdc_pipelines.replication.operations.early import covers
from cdc_pipelines.replication.operations.mapping import differences
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.stream.handover import hand_over
from cdc_pipelines.replication.table_mapping import mapping_of

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def put_connector(
    rt: Runtime, log: Log, *, early: bool = False, anew: bool = False, left_out: Collection[str] = ()
) -> dict[str, Any]:
    """Create the log and the connector, or find them at work. Idempotent, also after a kill at any point.

    `early`: before the copy is complete, from a position that no chunk is read before. `anew`: a connector that is at
    work is made again, from what is applied; it learns all definitions from the source. `left_out`: see `hand_over`.
    """
    with rt.target("connector") as (conn, state):
        facts = state.load()
        chunks = state.chunks()
        if facts is None or not chunks or (not early and any(c.state != "done" for c in chunks)):
            raise ConfigurationError(
                f"pipeline {rt.name}: the initial copy is not complete",
                f"run `cdc start {rt.name}`: it copies the rest.",
            )
        tables, apart = _captured(conn, rt, state)
        offset = state.offset()
        topic = facts.log_topic or rt.pipeline.log_topic(facts.generation)
        if offset is None:
            # Nothing was applied yet: the log may be made here, and it starts at the earliest chunk's position.
            copied = [MySqlPosition.from_json(c.position or "") for c in chunks if c.state == "done"]
            position = earliest([*copied, *([rt.source.position()] if early else [])])
            if not covers(rt, log, facts):
                _require_log_from(rt, position)
            rt.topics.create_log(topic)
            state.require_epoch(facts.epoch)
            state.set_log_topic(topic, rt.topics.topic_id(topic) or "")
            if not early:  # an offset says that the copy is complete
                state.init_offset(rt.topics.offsets(topic)[0], position.to_json())
        else:
            position = MySqlPosition.from_json(offset.position)
            rt.topics.require_same(topic, facts.log_topic_id)
            rt.topics.widen(topic)
        attempt = state.next_history_attempt()
        owner = target_identity(conn)
        conn.commit()
    done = hand_over(
        rt.pipeline,
        tables,
        client=rt.connect,
        topics=rt.topics,
        source=rt.source,
        position=position,
        generation=facts.generation,
        log_topic=topic,
        attempt=attempt,
        fingerprints=_fingerprints(rt, tables, apart, chunks),
        owner=owner,
        anew=anew,
        left_out=left_out,
        log=log,
    )
    return {
        "connector": done.connector,
        "seconds": done.seconds,
        "topic": topic,
        "position": f"{position.file}:{position.pos}",
        "gtids": position.gtids,
    }


def _captured(
    conn: psycopg.Connection, rt: Runtime, state: TargetState
) -> tuple[list[MappedTable], set[str]]:
    """The tables whose changes must come: those that stream and those in lanes. With the names of the latter.

    One that stands apart and is gone from the source has no changes.
    """
    tables = {t.name: t for t in state.mapped_tables()}
    apart = set(state.detached())
    streamed = tables.keys() - apart
    for lane in LaneStore(conn, rt.name).all():
        if lane.table not in streamed:
            apart.add(lane.table)
            (tables[lane.table],) = TargetState(conn, state_name(rt.name, lane.table)).mapped_tables()
    if apart:
        there = {t.name for t in rt.source.tables(sorted(apart))}
        tables = {name: table for name, table in tables.items() if name not in apart or name in there}
    return [tables[name] for name in sorted(tables)], apart


def _require_log_from(rt: Runtime, position: MySqlPosition) -> None:
    """Nothing has streamed yet, so a log that was purged meanwhile costs the copied chunks only."""
    try:
        rt.source.require_reachable(position)
    except ResyncRequiredError as error:
        raise RetryableError(
            f"pipeline {rt.name}: {error.message}",
            f"run `cdc start {rt.name}` again: the chunks that were read there are copied again. Let the source keep "
            "its log for longer than a copy takes (binlog_expire_logs_seconds).",
        ) from error


def earliest(positions: list[MySqlPosition]) -> MySqlPosition:
    """The position that all others include. One server's positions are a chain, so there is one."""
    first = positions[0]
    for position in positions[1:]:
        if first.includes(position):
            first = position
    return first


def _fingerprints(
    rt: Runtime, tables: list[MappedTable], apart: set[str], chunks: list[Chunk]
) -> dict[str, str]:
    """Per table the definition that its events must have: the one it was copied with.

    A table that gained columns through the log since then is compared by its mapping instead. Of those that stand
    `apart` from the stream nothing is applied by these definitions: a lane looks after its own.
    """
    copied = {c.table: c.fingerprint for c in chunks if c.fingerprint}
    live = {t.name: t for t in rt.source.tables()}
    found = {}
    for table in tables:
        now, mapped = live.get(table.name), table.source.fingerprint()
        found[table.name] = copied.get(table.name, mapped)
        if now is not None and (
            table.name in apart or (mapped != copied.get(table.name) and _reads_alike(rt, table, now))
        ):
            found[table.name] = now.fingerprint()
    return found


def _reads_alike(rt: Runtime, table: MappedTable, now: Table) -> bool:
    """Whether a table that the log has changed is, on the source, as the log has left it."""
    try:
        mapped = mapping_of(rt.pipeline, now)
    except ConfigurationError:
        return False
    if mapped is None or differences([table], [mapped]):
        return False
    return [_read_by(c) for c in table.source.columns] == [_read_by(c) for c in now.columns]


def _read_by(column: Column) -> tuple[object, ...]:
    """What the decoding of a column in the source's log depends on."""
    bounded = column.type in ("char", "varchar", "binary", "varbinary", "bit")
    return (
        column.name, column.type, column.unsigned, column.nullable, column.charset, column.labels, column.precision,
        column.scale, column.fraction, column.length if bounded else None,
    )
