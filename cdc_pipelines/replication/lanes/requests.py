"""What people ask of single tables of a running pipeline: copy one again, take one in, leave one out."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.progress import Progress
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.lane_store import LaneStore
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.lanes.joining import detach_early, meet_stream
from cdc_pipelines.replication.lanes.worker import Joined, run_lane
from cdc_pipelines.replication.operations.carrying import drop_stale, step_carry
from cdc_pipelines.replication.operations.connector import put_connector
from cdc_pipelines.replication.operations.mapping import differences, resolve_table
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.pipeline import Pipeline, TableChoice
from cdc_pipelines.replication.table_mapping import wants

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]
OnChunk = Callable[[Chunk], None]


def resync_table(
    rt: Runtime, log: Log, name: str, *, holder: str, reason: str = "resync", on_chunk: OnChunk = lambda chunk: None,
    progress: Progress | None = None,
) -> Joined:
    """Copy one table again, as the pipeline's configuration has it now, while everything streams on.

    Raises ConfigurationError where the pipeline does not have the table, and what `run_lane` raises.
    """
    streamed = _streamed(rt)
    if name not in streamed and _has_lane(rt, name):
        return _add(rt, log, name, None, holder, on_chunk, progress)
    if name not in streamed:
        raise ConfigurationError(
            f"pipeline {rt.name} has no table {name}; it has {', '.join(sorted(streamed)) or 'none'}",
            f"`cdc add-table {rt.name} {name}` takes it in.",
        )
    table = resolve_table(rt.pipeline, rt.source.tables(), name)

    def capture() -> None:
        """Of other columns, those of before must be out of the stream's sight first. Wrong ones must be learnt."""
        if _must_be_learnt(rt, name):
            with rt.store.lease(rt.name, holder, f"resync {name}"):
                put_connector(rt, log, anew=True)
                _is_learnt(rt, name)
        elif table.captured != _streamed(rt)[name].captured:
            with rt.store.lease(rt.name, holder, f"resync {name}"):
                detach_early(rt, name)
                put_connector(rt, log)

    return _run(rt, log, table, "resync", holder, reason, on_chunk, progress, capture)


def add_table(
    rt: Runtime, log: Log, name: str, *, holder: str, target: str | None = None,
    on_chunk: OnChunk = lambda chunk: None, progress: Progress | None = None,
) -> Joined | None:
    """Take one more table of the source into a running pipeline. None where it streams already.

    A table that the configuration does not name yet is added to it, under the name `target` on the target. Raises
    ConfigurationError where the source has no such table or it can't be replicated, and what `run_lane` raises.
    """
    if name in _streamed(rt):
        log.info("table %s: the pipeline has it already", name, extra={"table": name})
        return None
    return _add(rt, log, name, target, holder, on_chunk, progress)


def _add(
    rt: Runtime, log: Log, name: str, target: str | None, holder: str, on_chunk: OnChunk, progress: Progress | None
) -> Joined:
    with rt.store.lease(rt.name, holder, "add table"):
        rt.refresh()  # another table may have been taken in since this runtime was opened
        spec = with_table(rt.pipeline, name, target)
        table = resolve_table(spec, rt.source.tables(), name)
        _save(rt, spec, [*(t for t in rt.tables if t.name != name), table])

    def capture() -> None:
        with rt.store.lease(rt.name, holder, "add table"):
            put_connector(rt, log)

    return _run(rt, log, table, "add table", holder, "new", on_chunk, progress, capture)


def remove_table(rt: Runtime, log: Log, name: str, *, holder: str, drop: bool = False) -> bool:
    """Leave a table out of a running pipeline from now on. False where it has no such table.

    The target's table stays with its rows, and ours, so that it may be taken in again; unless `drop`. Raises
    ConfigurationError where it is the only one.
    """
    with rt.store.lease(rt.name, holder, "remove table"):
        rt.refresh()
        streamed = _streamed(rt)
        configured = [t for t in rt.tables if t.name != name]
        if name not in streamed and len(configured) == len(rt.tables):
            return False
        if not configured:
            raise ConfigurationError(
                f"{name} is the only table of pipeline {rt.name}", f"`cdc teardown {rt.name}` ends the pipeline."
            )
        if len(configured) < len(rt.tables):
            _save(rt, without_table(rt.pipeline, name), configured)
        table = streamed.get(name)

        def change(state: TargetState, lanes: LaneStore) -> None:
            if lanes.get(name) is not None:
                lanes.close(name)
            state.forget_table(name)
            if drop and table is not None:
                state.disclaim(table)

        if table is not None:
            meet_stream(rt, change)
            put_connector(rt, log)
            if drop:
                with rt.target("remove") as (conn, _):
                    ddl.drop_table(conn, table)
                    conn.commit()
        rt.store.record(rt.name, "remove table", holder, "done", name)
    words = "its target table is dropped" if drop else "its target table stays"
    log.info("table %s: left out; %s", name, words, extra={"table": name})
    return True


def align_tables(
    rt: Runtime, log: Log, *, holder: str, on_chunk: OnChunk = lambda chunk: None, progress: Progress | None = None
) -> list[Joined]:
    """Bring the tables of a running pipeline in line with its configuration, one after the other.

    New ones are taken in, those left out are left out (their target tables stay), those with another mapping are
    copied again. Returns the tables that were copied.
    """
    joined = []
    streamed = _streamed(rt)

    def followed(name: str) -> bool:
        """A table that was made since the pipeline was configured."""
        return name in streamed and wants(rt.pipeline, name)

    for table, kind, words in differences(list(streamed.values()), rt.tables, followed=followed):
        if kind == "new" and not rt.source.tables([table]):
            continue  # it was dropped since the pipeline was configured
        log.info("table %s %s", table, words, extra={"table": table})
        if kind == "left out":
            remove_table(rt, log, table, holder=holder)
            continue
        act = add_table if kind == "new" else resync_table
        done = act(rt, log, table, holder=holder, on_chunk=on_chunk, progress=progress)
        joined += [done] if done is not None else []
    return joined


def streams(rt: Runtime, name: str) -> bool:
    """Whether the table was copied, and its changes follow: a part of it can't be copied by itself any more."""
    with rt.target("lane") as (_, state):
        return state.load() is not None and state.offset() is not None and name in state.table_marks()


def copied_since(rt: Runtime, name: str, moment: datetime) -> bool:
    """Whether the whole table was copied after `moment`."""
    with rt.target("lane") as (_, state):
        chunks = state.chunks(name)
    return bool(chunks) and all(c.copied_at is not None and c.copied_at > moment for c in chunks)


def _run(
    rt: Runtime, log: Log, table: MappedTable, operation: str, holder: str, reason: str, on_chunk: OnChunk,
    progress: Progress | None, capture: Callable[[], None] = lambda: None,
) -> Joined:
    with rt.store.failure_noted(rt.name, f"{operation} {table.name}", holder, log):
        drop_stale(rt, log, table.name)
        joined = run_lane(rt, log, table, reason=reason, capture=capture, on_chunk=on_chunk, progress=progress)
    rt.refresh()
    _save(rt, rt.pipeline, [*(t for t in rt.tables if t.name != table.name), joined.table])
    rt.store.record(rt.name, f"{operation} {table.name}", holder, "done", f"{joined.rows} rows, {joined.how}")
    step_carry(rt, log, only=table.name)
    return joined


def _must_be_learnt(rt: Runtime, name: str) -> bool:
    with rt.target("lane") as (_, state):
        apart = state.detached().get(name)
    return apart is not None and apart.relearn


def _is_learnt(rt: Runtime, name: str) -> None:
    with rt.target("lane") as (conn, state):
        state.learnt(name)
        conn.commit()


def _has_lane(rt: Runtime, name: str) -> bool:
    with rt.target("lane") as (conn, _):
        return LaneStore(conn, rt.name).get(name) is not None


def _streamed(rt: Runtime) -> dict[str, MappedTable]:
    with rt.target("lane") as (_, state):
        if state.load() is None or state.offset() is None:
            raise ConfigurationError(f"pipeline {rt.name} does not stream yet", f"run `cdc start {rt.name}`.")
        return {t.name: t for t in state.mapped_tables()}


def _save(rt: Runtime, spec: Pipeline, tables: list[MappedTable]) -> None:
    rt.store.save_pipeline(spec, rt.record.file_text, sorted(tables, key=lambda t: t.name))
    rt.refresh()


def with_table(spec: Pipeline, name: str, target: str | None) -> Pipeline:
    """The pipeline with one table more. Of `tables: all` it is no longer excluded."""
    if isinstance(spec.tables, str):
        changed: dict[str, Any] = {"exclude": [n for n in spec.exclude if n != name]}
    elif any(choice.source == name for choice in spec.tables):
        changed = {}
    else:
        changed = {"tables": [*spec.tables, TableChoice(source=name, target=target)]}
    return spec.model_copy(update=changed)


def without_table(spec: Pipeline, name: str) -> Pipeline:
    """The pipeline with one table less."""
    if isinstance(spec.tables, str):
        return spec.model_copy(update={"exclude": [*(n for n in spec.exclude if n != name), name]})
    return spec.model_copy(update={"tables": [choice for choice in spec.tables if choice.source != name]})
