"""One life of a pipeline: begin it from nothing, or go on with the one that the target knows."""

import logging
import time
from dataclasses import dataclass

import psycopg

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.plan import plan
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres import ddl, existing, history, soft_deletes
from cdc_pipelines.replication.databases.postgres.carried import drop_all
from cdc_pipelines.replication.databases.postgres.state import PipelineState, TargetState
from cdc_pipelines.replication.errors import ConfigurationError, ResyncRequiredError
from cdc_pipelines.replication.operations.early import covers
from cdc_pipelines.replication.operations.mapping import differences
from cdc_pipelines.replication.operations.runtime import Runtime

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


@dataclass(frozen=True)
class Generation:
    generation: int
    tables: list[MappedTable]
    chunks: list[Chunk]


def open_generation(rt: Runtime, log: Log, *, force_resync: bool) -> Generation:
    """The generation to copy into. A new one fences off whatever is older and empties the target tables.

    Raises ConfigurationError where the configuration no longer fits what was copied and no resync was asked for.
    """
    with rt.target("plan") as (conn, state):
        state.ensure_schema()
        facts = state.load()
        if facts is None or force_resync:
            facts = _begin(rt, log, conn, state, facts)
        else:
            _go_on(rt, log, conn, state)
            _replan_purged(rt, log, state)
        tables = state.mapped_tables()
        chunks = state.chunks()
        conn.commit()
        if not chunks:
            chunks = _plan(rt, conn, state, facts, tables)
        rt.store.set_status(rt.name, "copying", is_active=True, message="", generation=facts.generation)
        rt.refresh()
        return Generation(facts.generation, tables, chunks)


def _begin(
    rt: Runtime, log: Log, conn: psycopg.Connection, state: TargetState, before: PipelineState | None
) -> PipelineState:
    _refuse_rows_of_others(conn, rt)
    if before is not None:
        # The agent ends the old consumer; should it be unreachable, the epoch fences it off all the same.
        rt.store.set_desired(rt.name, "stopped")
    generation = max(int(time.time()), before.generation + 1 if before else 0)
    identity = rt.source.identity()
    mapped = {table.name: table for table in state.mapped_tables()}
    state.new_generation(generation, identity, [table.still_keeping(mapped.get(table.name)) for table in rt.tables])
    drop_all(conn, rt.name)
    for table in rt.tables:
        _empty_table(conn, table, rt.name, mapped.get(table.name))
    conn.commit()
    facts = state.load()
    conn.commit()
    assert facts is not None
    log.info("  generation %d begins (epoch %d)", generation, facts.epoch)
    return facts


def _refuse_rows_of_others(conn: psycopg.Connection, rt: Runtime) -> None:
    """What preflight refused is refused here again: a table is emptied on the strength of our own claim only."""
    strange = {
        f"{t.target_schema}.{t.target_name}": wrong
        for t in rt.tables
        if not existing.is_ours(conn, t, rt.name) and (wrong := existing.misfits(conn, t))
    }
    if strange:
        raise ConfigurationError(
            f"pipeline {rt.name}: not ours to empty: "
            + "; ".join(f"{name} {', '.join(wrong)}" for name, wrong in strange.items()),
            "name other target tables, or drop these yourself.",
        )


def _empty_table(
    conn: psycopg.Connection, table: MappedTable, pipeline: str, before: MappedTable | None = None
) -> None:
    """The target table, ours by the claim, with the mapped columns and no rows; with soft deletes they stay.

    All versions of a history stay, too. `before` is the mapping that the table had.
    """
    name = f"{table.target_schema}.{table.target_name}"
    if table.rows.history and (kept := history.kept_by(conn, table, before)) is not None:
        history.require_same_key(conn, table, kept)
        wrong = existing.misfits(conn, table, pipeline=pipeline)
        if wrong:
            try:
                history.rebuild(conn, table, kept, before)
            except psycopg.errors.DependentObjectsStillExist as error:
                raise _not_dropped(name, wrong, error) from error
        history.reopen(conn, table)
        return
    if table.rows.history:
        history.require_none(conn, table)
    if table.rows.soft and soft_deletes.keeps_deleted(conn, table):
        wrong = existing.misfits(conn, table, pipeline=pipeline)
        if wrong:
            try:
                soft_deletes.rebuild(conn, table)
            except psycopg.errors.DependentObjectsStillExist as error:
                raise _not_dropped(name, wrong, error) from error
        return
    if existing.find(conn, table.target_schema, table.target_name) is not None:
        ddl.truncate(conn, table)
        wrong = existing.misfits(conn, table)
        if not wrong:
            return
        try:
            ddl.drop_table(conn, table)
        except psycopg.errors.DependentObjectsStillExist as error:
            raise _not_dropped(name, wrong, error) from error
    ddl.create_table(conn, table)


def _not_dropped(name: str, wrong: list[str], error: psycopg.Error) -> ConfigurationError:
    return ConfigurationError(
        f"table {name} has another definition ({'; '.join(wrong)}) and can't be dropped: {error}",
        f"drop what depends on it, or alter {name} yourself; then start again.",
    )


def _go_on(rt: Runtime, log: Log, conn: psycopg.Connection, state: TargetState) -> None:
    """A pipeline that streams goes on as it is; single tables are brought in line beside the stream (lanes).

    One that is still being copied does so where its connector was made first: a table that has another definition by
    now is copied again, and the others are not. Without, its events from before the change could not be read.
    """
    if state.offset() is not None:
        return
    before = {t.name: t for t in state.mapped_tables()}
    changed = differences(list(before.values()), rt.tables)
    if not changed:
        return
    again = [t for t in rt.tables if t.name in {each.table for each in changed}]
    if not all(_lands_alike(before.get(t.name), t) for t in again) or not covers(rt, log, state.load()):
        raise ConfigurationError(
            f"pipeline {rt.name} is being copied under another mapping: {'; '.join(map(str, changed))}",
            f"`cdc start {rt.name} --force-resync` copies everything again under the new one.",
        )
    state.raise_epoch()  # whoever still copies by the old definitions writes nothing more
    for table in again:
        log.warning(
            "  table %s has other columns by now: it is copied again", table.name, extra={"table": table.name}
        )
        state.save_mapping(table)
        _empty_table(conn, table, rt.name, before.get(table.name))
    facts = state.load()
    assert facts is not None
    _plan(rt, conn, state, facts, again)


def _lands_alike(before: MappedTable | None, after: MappedTable) -> bool:
    """Whether a table has its place on the target already."""
    return before is not None and (before.target_schema, before.target_name) == (
        after.target_schema, after.target_name
    )


def _replan_purged(rt: Runtime, log: Log, state: TargetState) -> None:
    """Chunks from whose position on the source no longer has its log are copied again, while nothing has streamed."""
    if state.offset() is not None or covers(rt, log, state.load()):
        return
    gone = []
    for position in sorted({c.position for c in state.chunks() if c.state == "done" and c.position}):
        try:
            rt.source.require_reachable(MySqlPosition.from_json(position))
        except ResyncRequiredError as error:
            log.warning("  %s", error.message)
            gone.append(position)
    if gone:
        log.warning("  %d chunks that were copied there are copied again", state.replan_at(gone))


def _plan(
    rt: Runtime, conn: psycopg.Connection, state: TargetState, facts: PipelineState, tables: list[MappedTable]
) -> list[Chunk]:
    settings = rt.pipeline.copy_
    with rt.source.open_snapshot(
        1, [t.source for t in tables], lock_wait_seconds=settings.lock_wait_seconds
    ) as snapshot:
        chunks = plan(snapshot.sessions[0], tables, chunk_bytes=settings.chunk_mb << 20, shards=settings.shards)
    state.require_epoch(facts.epoch)
    state.save_plan(chunks)
    conn.commit()
    return chunks
