"""Start a pipeline: validate, copy, connect, consume. Four steps, each of which can be run again.

Every step reads the truth anew from the target and the servers; none trusts what an earlier step handed over. So a
run that died anywhere is finished by the same steps called once more, from any process.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, Queue
from typing import Any

from cdc_pipelines.replication.agent import ensure_agent
from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.copy.chunk import Chunk
from cdc_pipelines.replication.copy.move import copy_chunks
from cdc_pipelines.replication.copy.progress import Progress
from cdc_pipelines.replication.databases.mysql.ranges import is_exact
from cdc_pipelines.replication.errors import (
    CheckResult,
    ConfigurationError,
    IntegrityError,
    PrerequisiteError,
    RetryableError,
)
from cdc_pipelines.replication.operations.check import check
from cdc_pipelines.replication.operations.consumer_state import alive
from cdc_pipelines.replication.operations.generation import open_generation
from cdc_pipelines.replication.operations.runtime import Runtime

_TELL_EVERY_S = 5.0

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


def step_validate(rt: Runtime, log: Log) -> list[CheckResult]:
    """STEP 1/4. Raises PrerequisiteError with all that is not met. Writes nothing."""
    log.info("STEP 1/4: Validating prerequisites of pipeline %s…", rt.name)
    results = check(rt)
    for result in results:
        log.info("  %s %s: %s", "ok " if result.ok else "NOT", result.name, result.message)
    if not all(r.ok for r in results):
        raise PrerequisiteError(rt.name, results)
    log.info("  all %d prerequisites are met", len(results))
    return results


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
    return CopyPlan(plan.generation, plan.tables, plan.chunks, shards)


def step_copy_shard(rt: Runtime, log: Log, *, shard: int, on_chunk: OnChunk) -> None:
    """STEP 2/4, fan-out: copy the chunks of one shard that are not copied yet."""
    _copy(rt, log, lambda chunk: chunk.shard == shard, workers=1, on_chunk=on_chunk, progress=None)


def step_copy_all(rt: Runtime, log: Log, *, on_chunk: OnChunk, progress: Progress | None = None) -> None:
    """STEP 2/4 in one process: all shards, several workers, one position for all of them."""
    _copy(rt, log, lambda _: True, workers=rt.pipeline.copy_.workers, on_chunk=on_chunk, progress=progress)


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
        log.info("table %s, chunk %d is copied already: %d rows", table, ordinal, chunk.rows)
        on_chunk(chunk)
        return
    whole = not is_exact(mapped)
    _copy(
        rt,
        log,
        lambda c: c.table == table and (whole or c.ordinal == ordinal),
        workers=1,
        on_chunk=on_chunk,
        progress=None,
    )


def _copy(
    rt: Runtime,
    log: Log,
    wanted: Callable[[Chunk], bool],
    *,
    workers: int,
    on_chunk: OnChunk,
    progress: Progress | None,
) -> None:
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
    with rt.source.open_snapshot(count, [tables[n].source for n in sorted(names)]) as snapshot:
        log.info("  snapshot of %d tables at %s", len(names), _brief(snapshot.position))

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


def step_check_copy(rt: Runtime, log: Log) -> list[TableCopied]:
    """STEP 2/4, last part: nothing is missing. Raises IntegrityError or RetryableError naming what is."""
    with rt.target("check") as (conn, state):
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
            log.info("  %s: %s rows in %d chunk(s)", name, f"{rows:,}", len(mine))
        conn.commit()
        if not streaming:
            state.analyze(list(tables.values()))
            conn.commit()
    total = sum(c.rows for c in copied)
    log.info("  copied %s rows of %d tables; nothing is missing", f"{total:,}", len(copied))
    return copied


def step_connector(rt: Runtime, log: Log) -> dict[str, Any]:
    """STEP 3/4: the connector starts at exactly the copy's position (or where the stream stands)."""
    from cdc_pipelines.replication.operations.connector import put_connector

    log.info("STEP 3/4: Connector %s…", rt.pipeline.connector_name)
    rt.store.set_status(rt.name, "connecting")
    facts = put_connector(rt, log)
    log.info(
        "  connector %s: task running, position %s, log topic %s", facts["connector"], facts["position"], facts["topic"]
    )
    return facts


def step_consumer(rt: Runtime, log: Log, *, timeout_s: float = 120) -> dict[str, Any]:
    """STEP 4/4: a consumer under the agent; returns when a record has passed through the whole way.

    Raises RetryableError where that takes longer than `timeout_s`, or the consumer's own reason where it failed.
    """
    log.info("STEP 4/4: Consumer…")
    record = rt.refresh()
    with rt.target("start") as (_, state):
        facts = state.load()
    if facts is None:
        raise ConfigurationError(f"pipeline {rt.name} was never copied", f"run `cdc start {rt.name}`.")
    beat = rt.store.heartbeat(rt.name)
    if record.desired == "running" and record.generation == facts.generation and alive(beat, record.consumer_group):
        log.info("  consumer of group %s is at work already", record.consumer_group)
        rt.store.set_status(rt.name, "running", is_active=True, message="")
        return {"group": record.consumer_group, "seconds": 0.0, "already_running": True}
    began = datetime.now(UTC)
    group = rt.pipeline.consumer_group(int(time.time()))
    rt.store.clear_heartbeat(rt.name)
    rt.store.set_status(rt.name, "starting", is_active=True, message="", generation=facts.generation)
    rt.store.set_desired(rt.name, "running", group=group, generation=facts.generation)
    ensure_agent(rt.store)
    started = time.monotonic()
    last = "no heartbeat yet"
    while time.monotonic() - started < timeout_s:
        beat = rt.store.heartbeat(rt.name)
        if beat is not None and beat.group == group:
            last = f"state {beat.state}, {beat.message or 'no message'}"
            if beat.state == "streaming" and beat.applied_position and beat.at >= began:
                seconds = round(time.monotonic() - started, 1)
                rt.store.set_status(rt.name, "running", is_active=True, message="")
                log.info("  consumer of group %s: the first record passed the whole way after %.1f s", group, seconds)
                return {"group": group, "seconds": seconds, "already_running": False}
        if rt.refresh().status == "failed":
            raise IntegrityError(f"the consumer of {rt.name} failed: {rt.record.message}", "see the message above.")
        time.sleep(0.2)
    raise RetryableError(
        f"no record passed from the source to the target of {rt.name} within {timeout_s:.0f} s ({last})",
        "look at `cdc status` and the consumer's log; then start again: nothing that was copied is lost.",
    )


def start(
    rt: Runtime,
    log: Log,
    *,
    force_resync: bool = False,
    holder: str,
    on_chunk: OnChunk | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The four steps in this process, under the pipeline's lease. Running it again finishes or changes nothing."""
    with rt.store.lease(rt.name, holder, "start"):
        began = time.monotonic()
        try:
            step_validate(rt, log)
            plan = step_plan(rt, log, force_resync=force_resync)
            if progress is not None:
                progress.plan(plan.chunks)
            step_copy_all(rt, log, on_chunk=_telling(log, on_chunk, progress), progress=progress)
            copied = step_check_copy(rt, log)
            connector = step_connector(rt, log)
            consumer = step_consumer(rt, log)
        except Exception as error:
            rt.store.record(rt.name, "start", holder, "failed", str(error))
            raise
        rt.store.record(rt.name, "start", holder, "done", f"generation {plan.generation}")
        return {
            "pipeline": rt.name,
            "generation": plan.generation,
            "tables": {c.table.name: c.rows for c in copied},
            "connector": connector,
            "consumer": consumer,
            "seconds": round(time.monotonic() - began, 1),
        }


def _telling(log: Log, on_chunk: OnChunk | None, progress: Progress | None) -> OnChunk:
    """`on_chunk`, and a line of progress now and then: rows, bytes, rows/s, time left."""
    told = time.monotonic()

    def tell(chunk: Chunk) -> None:
        nonlocal told
        if on_chunk is not None:
            on_chunk(chunk)
        if progress is not None and time.monotonic() - told > _TELL_EVERY_S:
            told = time.monotonic()
            log.info("  %s", progress)

    return tell


def _brief(position: Any) -> str:
    text = f"{position.file}:{position.pos}"
    return f"{text} ({position.gtids})" if position.gtids else text
