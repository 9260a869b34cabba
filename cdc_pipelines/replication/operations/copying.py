"""Step 2, the initial copy: plan it, copy what is missing with several workers, see that nothing is."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import Any

import psycopg

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.move import copy_chunks
from cdc_pipelines.replication.copy.progress import Progress
from cdc_pipelines.replication.databases.mysql.ranges import is_exact
from cdc_pipelines.replication.databases.postgres import history
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import (
    ConfigurationError,
    IntegrityError,
    ResyncRequiredError,
    RetryableError,
)
from cdc_pipelines.replication.operations.connector import put_connector
from cdc_pipelines.replication.operations.early import estimated_seconds, is_long
from cdc_pipelines.replication.operations.generation import open_generation
from cdc_pipelines.replication.operations.runtime import Runtime

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]
OnChunk = Callable[[Chunk], None]


@dataclass(frozen=True)
class ShardPlan:
    """Chunks that one worker copies under one position."""

    index: int
    chunks: int
    rows_estimate: int
    tables: tuple[str, ...]
    done: bool


@dataclass(frozen=True)
class CopyPlan:
    """What is to be copied in this generation, finished chunks included."""

    generation: int
    tables: list[MappedTable]
    chunks: list[Chunk]
    shards: list[ShardPlan] = field(default_factory=list)


@dataclass(frozen=True)
class TableCopied:
    """One table after the copy. `seconds` is the sum over its chunks."""

    table: MappedTable
    rows: int
    bytes: int
    seconds: float
    chunks: int


def step_plan(rt: Runtime, log: Log, *, force_resync: bool) -> CopyPlan:
    """STEP 2/4, first part: open a generation (or go on with the one there is) and cut its tables into chunks."""
    log.info("STEP 2/4: Initial copy of %d tables…", len(rt.tables))
    plan = open_generation(rt, log, force_resync=force_resync)
    shards = [
        ShardPlan(
            index,
            len(mine := [c for c in plan.chunks if c.shard == index]),
            sum(c.rows_estimate for c in mine),
            tuple(sorted({c.table for c in mine})),
            all(c.state == "done" for c in mine),
        )
        for index in sorted({c.shard for c in plan.chunks})
    ]
    done = sum(c.state == "done" for c in plan.chunks)
    log.info(
        "  generation %d: %d chunks in %d shards, about %s rows%s",
        plan.generation,
        len(plan.chunks),
        len(shards),
        f"{sum(c.rows_estimate for c in plan.chunks):,}",
        f"; {done} chunks are copied already" if done else "",
    )
    if done < len(plan.chunks):
        _connect_early(rt, log, plan.tables)
    return CopyPlan(plan.generation, plan.tables, plan.chunks, shards)


def _connect_early(rt: Runtime, log: Log, tables: list[MappedTable]) -> None:
    with rt.target("plan") as (_, state):
        streaming = state.offset() is not None
    if streaming or not is_long(rt, tables, rt.source.position()):
        return
    log.info(
        "  the copy may take %.1f h: the connector is made first, so that the source need not keep its log that long",
        estimated_seconds(tables) / 3600,
    )
    put_connector(rt, log, early=True)


def step_copy_shard(rt: Runtime, log: Log, *, shard: int, on_chunk: OnChunk) -> None:
    """STEP 2/4, fan-out: copy the chunks of one shard that are not copied yet."""
    copy_missing(rt, log, lambda chunk: chunk.shard == shard, workers=1, on_chunk=on_chunk, progress=None)


def step_copy_all(rt: Runtime, log: Log, *, on_chunk: OnChunk, progress: Progress | None = None) -> None:
    """STEP 2/4 in one process: all shards, several workers, one position for all of them."""
    copy_missing(rt, log, lambda _: True, workers=rt.pipeline.copy_.workers, on_chunk=on_chunk, progress=progress)


def copy_chunk(rt: Runtime, log: Log, table: str, ordinal: int, on_chunk: OnChunk) -> None:
    """One partition. Raises ConfigurationError where the pipeline streams already or has no such chunk."""
    with rt.target("copy") as (_, state):
        chunk = next((c for c in state.chunks(table) if c.ordinal == ordinal), None)
        mapped = next((t for t in state.mapped_tables() if t.name == table), None)
        streaming = state.offset() is not None
    if chunk is None or mapped is None:
        raise ConfigurationError(
            f"pipeline {rt.name}, table {table}: there is no chunk {ordinal} in the plan",
            "launch start_replication first: it plans the chunks.",
        )
    if chunk.state == "done":
        if streaming:
            raise ConfigurationError(
                f"pipeline {rt.name}, table {table}, chunk {ordinal}: the table is streaming; one chunk can't be "
                "copied again under it",
                "launch start_replication with force_resync to copy everything again.",
            )
        log.info("table %s, chunk %d is copied already: %d rows", table, ordinal, chunk.rows, extra={"table": table})
        on_chunk(chunk)
        return
    whole = not is_exact(mapped)
    copy_missing(
        rt,
        log,
        lambda c: c.table == table and (whole or c.ordinal == ordinal),
        workers=1,
        on_chunk=on_chunk,
        progress=None,
    )


def copy_missing(
    rt: Runtime,
    log: Log,
    wanted: Callable[[Chunk], bool],
    *,
    workers: int,
    on_chunk: OnChunk,
    progress: Progress | None,
) -> None:
    """Copy those of the planned chunks that are `wanted` and not copied yet, all under one position of the source.

    Raises what `copy_chunks` and the source's snapshot raise, and ResyncRequiredError where a table was altered since
    it was planned; chunks that are committed stay.
    """
    with rt.target("copy") as (_, state):
        facts = state.load()
        if facts is None:
            raise ConfigurationError(f"pipeline {rt.name} has no plan on the target", f"run `cdc start {rt.name}`.")
        tables = {t.name: t for t in state.mapped_tables()}
        mine = [c for c in state.chunks() if wanted(c)]
    open_tables = {c.table for c in mine if c.state != "done"}
    # Where keys can't be compared here, the rest of a table is not enough: all of it is read under one position.
    whole = {name for name in open_tables if not is_exact(tables[name])}
    todo = [c for c in mine if c.state != "done" or c.table in whole]
    if not todo:
        return
    # Chunks of one shard stay together: a table whose keys we can't compare must be read under one position.
    shards: Queue[list[Chunk]] = Queue()
    for index in sorted({c.shard for c in todo}):
        shards.put([c for c in todo if c.shard == index])
    names = {c.table for c in todo}
    failed: list[BaseException] = []
    stop = threading.Event()
    count = min(workers, shards.qsize())
    lock_wait = rt.pipeline.copy_.lock_wait_seconds
    with rt.source.open_snapshot(
        count, [tables[n].source for n in sorted(names)], lock_wait_seconds=lock_wait
    ) as snapshot:
        _require_planned(rt, [tables[n] for n in sorted(names)])
        count = len(snapshot.sessions)  # a busy server may give fewer at one position
        log.info(
            "  snapshot of %d tables at %s", len(names), _brief(snapshot.position),
            extra={"position": snapshot.position.log_place},
        )

        def work(number: int) -> None:
            try:
                while not stop.is_set():
                    try:
                        chunks = shards.get_nowait()
                    except Empty:
                        return
                    copy_chunks(
                        snapshot.sessions[number],
                        snapshot.position,
                        rt.target_spec,
                        rt.name,
                        facts.generation,
                        facts.epoch,
                        tables,
                        chunks,
                        on_chunk=on_chunk,
                        progress=progress,
                        stop=stop.is_set,
                    )
            except BaseException as error:  # noqa: BLE001 (raised below, in the caller's thread)
                failed.append(error)
                stop.set()

        threads = [threading.Thread(target=work, args=(n,), name=f"copy-{n}") for n in range(1, count)]
        for thread in threads:
            thread.start()
        work(0)
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]


def _require_planned(rt: Runtime, tables: list[MappedTable]) -> None:
    """The tables are as their copy was planned. The open snapshot keeps them so: its sessions have touched them all."""
    there = {t.name: t.fingerprint() for t in rt.source.tables([t.name for t in tables])}
    altered = [t.name for t in tables if there[t.name] != t.source.fingerprint()]
    if altered:
        raise ResyncRequiredError(
            f"pipeline {rt.name}: altered on the source since their copy was planned: {', '.join(altered)}; nothing "
            "is copied by the old definitions",
            f"run `cdc configure FILE`, then `cdc start {rt.name}`.",
        )


def step_check_copy(rt: Runtime, log: Log) -> list[TableCopied]:
    """STEP 2/4, last part: nothing is missing. Raises IntegrityError or RetryableError naming what is."""
    with rt.target("check") as (conn, state):
        if state.offset() is None:
            end_unseen(conn, state)
        chunks = state.chunks()
        tables = {t.name: t for t in state.mapped_tables()}
        streaming = state.offset() is not None
        missing = [f"{c.table} chunk {c.ordinal}" for c in chunks if c.state != "done"]
        without = [name for name in tables if not any(c.table == name for c in chunks)]
        if missing or without:
            raise RetryableError(
                f"pipeline {rt.name}: not copied: {', '.join([*missing[:10], *without])}"
                + (f" and {len(missing) - 10} more" if len(missing) > 10 else ""),
                f"run `cdc start {rt.name}` again: it copies what is missing.",
            )
        copied = []
        for name, table in tables.items():
            mine = [c for c in chunks if c.table == name]
            rows = sum(c.rows for c in mine)
            if not streaming:
                found = state.count_rows(table)
                if found != rows:
                    raise IntegrityError(
                        f"table {name}: {rows:,} rows were copied, "
                        f"{table.target_schema}.{table.target_name} has {found:,}",
                        "something else writes into the target table; stop it, then start with --force-resync.",
                    )
            copied.append(TableCopied(table, rows, sum(c.bytes for c in mine), sum(c.seconds for c in mine), len(mine)))
            log.info("  %s: %s rows in %d chunk(s)", name, f"{rows:,}", len(mine), extra={"table": name})
        conn.commit()
        if not streaming:
            state.analyze(list(tables.values()))
            conn.commit()
    total = sum(c.rows for c in copied)
    log.info("  copied %s rows of %d tables; nothing is missing", f"{total:,}", len(copied))
    return copied


def end_unseen(conn: psycopg.Connection, state: TargetState) -> None:
    """Of tables that are copied to the end: versions of their history that did not come are closed, and committed."""
    histories = [t for t in state.mapped_tables() if t.rows.history]
    facts = state.load()
    if not histories or facts is None:
        return
    state.require_epoch(facts.epoch, facts.generation)
    for table in histories:
        if all(chunk.done for chunk in state.chunks(table.name)):
            history.end_unseen(conn, table)
    conn.commit()


def _brief(position: Any) -> str:
    text = f"{position.file}:{position.pos}"
    return f"{text} ({position.gtids})" if position.gtids else text
