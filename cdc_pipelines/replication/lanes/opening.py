"""Beginning a lane, or taking over one that was begun, and giving one up."""

import logging
from collections.abc import Collection

import msgspec
import psycopg

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.postgres import existing
from cdc_pipelines.replication.databases.postgres.connection import server_errors
from cdc_pipelines.replication.databases.postgres.lane_store import PHASES, Lane, LaneStore
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError, FencedError
from cdc_pipelines.replication.lanes.runtime import LaneRuntime
from cdc_pipelines.replication.operations.runtime import Runtime

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def open_lane(lane: LaneRuntime, log: Log, table: MappedTable, reason: str) -> Lane:
    """The lane, from now on this process's: one that still works on it is fenced off.

    `table` is the mapping that the table is to have; a lane that was begun for another one begins anew. Raises
    ConfigurationError where the pipeline does not stream, or the target table is somebody else's.
    """
    name = lane.main.name
    with lane.main.target("lane") as (conn, state), server_errors("opening a lane"):
        state.ensure_schema()
        facts = state.load()
        if facts is None:
            raise ConfigurationError(f"pipeline {name} was never started", f"run `cdc start {name}`.")
        conn.commit()
        with conn.transaction():
            state.require_epoch(facts.epoch, facts.generation)
            lanes = LaneStore(conn, name)
            found = lanes.get(table.name)
            if found is not None and not _fits(lane, found, table):
                log.info("table %s: its mapping changed since its lane began; it begins anew", table.name)
                lanes.close(table.name)
                found = None
            if found is None:
                _claim(conn, state, name, table)
                lanes.open(table, reason=reason)
            lane.epoch = TargetState(conn, lane.name).raise_epoch()
        row = lanes.get(table.name)
        if row is None:
            raise FencedError(f"pipeline {name}, table {table.name}: its lane is gone", "nothing was changed.")
    if found is not None:
        log.info("table %s: its lane goes on (%s)", table.name, row.phase)
    return row


def _claim(conn: psycopg.Connection, state: TargetState, name: str, table: MappedTable) -> None:
    """The target table is ours, or nobody's and empty."""
    if not existing.is_ours(conn, table, name) and (wrong := existing.misfits(conn, table)):
        raise ConfigurationError(
            f"table {table.name}: {table.target_schema}.{table.target_name} on the target {'; '.join(wrong)}",
            "give the table another target name in the pipeline's file, or drop that one yourself.",
        )
    state.claim_table(table)


def _fits(lane: LaneRuntime, found: Lane, table: MappedTable) -> bool:
    if found.phase in ("detached", "merged"):
        return True  # nearly there: a new mapping is a matter of the next lane
    with lane.target("lane") as (_, state):
        (mapped,) = state.mapped_tables()
    wanted = msgspec.structs.replace(table, target_schema="_cdc", target_name=found.shadow)
    return (found.target_schema, found.target_name) == (table.target_schema, table.target_name) and (
        [(c.source.name, c.target_name, c.target_type, c.shape) for c in mapped.columns]
        == [(c.source.name, c.target_name, c.target_type, c.shape) for c in wanted.columns]
        and mapped.added == wanted.added
        and mapped.source.key == wanted.source.key
        and mapped.rows.asked == wanted.rows.asked
    )


def abandon(main: Runtime, table: str) -> str | None:
    """Forget a table's lane; its worker is fenced off. What left the stream for it stays apart.

    Returns the name of its shadow; None: there is no lane.
    """
    return _close(main, table, PHASES)


def given_up(main: Runtime, table: str) -> str | None:
    """Likewise, but one that is nearly there stays, to be finished."""
    return _close(main, table, ("copying", "following"))


def _close(main: Runtime, table: str, phases: Collection[str]) -> str | None:
    with main.target("lane") as (conn, state):
        if state.load() is None:
            return None
        conn.commit()
        with conn.transaction():
            lanes = LaneStore(conn, main.name)
            lane = lanes.get(table)
            if lane is None or lane.phase not in phases:
                return None
            lanes.close(table)
    return lane.shadow
