"""What a schema change does to the tables of the target and to the state about them, in the applier's transaction."""

from datetime import UTC, datetime

import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.changes.batches import AddTable, Redefine, RemoveTable, RenameTable
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.databases.postgres import alter, carried, ddl, existing, history
from cdc_pipelines.replication.databases.postgres.lane_store import LaneStore
from cdc_pipelines.replication.databases.postgres.state import CLAIMED_FIX, TargetState
from cdc_pipelines.replication.errors import UnsupportedChangeError


def redefine(conn: psycopg.Connection, state: TargetState, pipeline: str, item: Redefine) -> None:
    """Raises ValuesConvertedError where the table must be copied anew instead; see `alter.redefine`."""
    _loosen(conn, pipeline, item)
    alter.redefine(conn, item)
    state.save_mapping(item.after)


def _loosen(conn: psycopg.Connection, pipeline: str, item: Redefine) -> None:
    """Constraints of ours that would stand in the way, or mean something else then; `cdc carry` makes them again."""
    before = {column.source.name: column.target_type for column in item.before.columns}
    after = {column.source.name: column.target_type for column in item.after.columns}
    retyped = any(after[new] != before[old] for new, old in item.origins.items())
    gone = set(before) - set(item.origins.values())
    keys = [c.source.name for c in item.before.key], [item.origins.get(c.source.name) for c in item.after.key]
    why = "the source changed the table's columns"
    if gone or retyped or keys[0] != keys[1]:
        carried.drop_foreign_keys(conn, pipeline, item.before.name, why, own=False)
    if retyped:
        carried.drop_checks(conn, pipeline, item.before.name, why)


def add_table(conn: psycopg.Connection, state: TargetState, pipeline: str, item: AddTable, position: str) -> None:
    """Make the table, and note it as copied (empty) at `position`, which lies before its first row.

    Raises UnsupportedChangeError where a table that is not ours has its name.
    """
    table = item.table
    name = f"{table.target_schema}.{table.target_name}"
    others = state.foreign_claims([table])
    if others:
        raise UnsupportedChangeError(
            f"table {table.name} was made on the source, but {name} belongs to pipeline {others[0][2]}", CLAIMED_FIX
        )
    if not _takes_up_history(conn, pipeline, item):
        _make_room(conn, state, pipeline, table, "was made on the source")
        ddl.create_table(conn, table)
    state.claim(table)
    state.save_mapping(table)
    state.learn_columns(table.name, item.columns)
    done = Chunk(table.name, 0, None, None, 0, state="done", position=position, copied_at=datetime.now(UTC))
    state.save_plan([done])


def _takes_up_history(conn: psycopg.Connection, pipeline: str, item: AddTable) -> bool:
    """Whether the versions of a table that was there before go on in this one: none of them is open."""
    table = item.table
    if not table.rows.history or not existing.is_ours(conn, table, pipeline):
        return False
    kept = history.kept_by(conn, table, None)
    if kept is None:
        return False
    if existing.misfits(conn, table, pipeline=pipeline):
        history.rebuild(conn, table, kept)
    history.close_range(conn, table, item.notes[-1].at_ms if item.notes else None)
    return True


def remove_table(conn: psycopg.Connection, state: TargetState, pipeline: str, item: RemoveTable) -> None:
    """Replicate the table no more. Its copy stays, and stays ours, or goes."""
    _end_lane(conn, pipeline, item.table.name)
    state.forget_table(item.table.name)
    if item.drops:
        ddl.drop_table(conn, item.table)
        state.disclaim(item.table)


def rename_table(conn: psycopg.Connection, state: TargetState, pipeline: str, item: RenameTable) -> None:
    """Raises UnsupportedChangeError where a table that is not ours has the new name."""
    _end_lane(conn, pipeline, item.before.name)
    before, after = item.before, item.after
    if before.target_name != after.target_name:
        _make_room(conn, state, pipeline, after, f"is the new name of {before.name} on the source")
        statement = sql.SQL("alter table {} rename to {}")
        conn.execute(statement.format(ddl.table_name(before), sql.Identifier(after.target_name)))
        state.disclaim(before)
        state.claim(after)
    state.rename_table(before.name, after)


def _end_lane(conn: psycopg.Connection, pipeline: str, table: str) -> None:
    """What it copies is under another name, or gone."""
    lanes = LaneStore(conn, pipeline)
    if lanes.get(table) is not None:
        lanes.close(table)


def _make_room(conn: psycopg.Connection, state: TargetState, pipeline: str, table: MappedTable, why: str) -> None:
    """A copy that was kept, of a table that is gone from the source, gives way. Nothing else does."""
    wrong = existing.misfits(conn, table, pipeline=pipeline)
    if existing.is_ours(conn, table, pipeline):
        ddl.drop_table(conn, table)
    elif wrong or existing.find(conn, table.target_schema, table.target_name) is not None:
        name = f"{table.target_schema}.{table.target_name}"
        raise UnsupportedChangeError(
            f"table {table.name} {why}, but the target has a table {name} that this pipeline did not make"
            + (f" ({'; '.join(wrong)})" if wrong else ""),
            f"rename or drop {name} on the target, then `cdc start NAME`; or leave the table out of the pipeline.",
        )
