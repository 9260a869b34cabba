"""Start a pipeline: validate, copy, connect, consume. Four steps, each of which can be run again.

Every step reads the truth anew from the target and the servers; none trusts what an earlier step handed over. So a
run that died anywhere is finished by the same steps called once more, from any process.
"""

import logging
import time
from datetime import UTC, datetime
from typing import Any

from cdc_pipelines.replication.agent import ensure_agent
from cdc_pipelines.replication.alerts.channels import check_channels
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.progress import Progress
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import (
    CheckResult,
    ConfigurationError,
    IntegrityError,
    PrerequisiteError,
    RetryableError,
)
from cdc_pipelines.replication.lanes.requests import align_tables
from cdc_pipelines.replication.operations.carrying import step_carry
from cdc_pipelines.replication.operations.check import check
from cdc_pipelines.replication.operations.connector import put_connector
from cdc_pipelines.replication.operations.consumer_state import alive, caught_up
from cdc_pipelines.replication.operations.copying import (
    CopyPlan,
    OnChunk,
    ShardPlan,
    TableCopied,
    copy_chunk,
    step_check_copy,
    step_copy_all,
    step_copy_shard,
    step_plan,
)
from cdc_pipelines.replication.operations.runtime import Runtime

__all__ = [
    "CopyPlan",
    "ShardPlan",
    "TableCopied",
    "align_tables",
    "copy_chunk",
    "start",
    "step_carry",
    "step_check_copy",
    "step_connector",
    "step_consumer",
    "step_copy_all",
    "step_copy_shard",
    "step_plan",
    "step_validate",
]

_TELL_EVERY_S = 5.0

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def step_validate(rt: Runtime, log: Log, *, force_resync: bool = False) -> list[CheckResult]:
    """STEP 1/4. Raises PrerequisiteError with all that is not met. Writes nothing."""
    log.info("STEP 1/4: Validating prerequisites of pipeline %s…", rt.name)
    results = check(rt, force_resync=force_resync)
    for result in results:
        log.info("  %s %s: %s", "ok " if result.ok else "NOT", result.name, result.message)
    if not all(r.ok for r in results):
        raise PrerequisiteError(rt.name, results)
    log.info("  all %d prerequisites are met", len(results))
    for channel in check_channels(rt.pipeline.alerts):  # no reason to keep the data waiting
        if not channel.ok:
            log.warning("  people could not be told by %s: %s; %s", channel.name, channel.message, channel.fix)
    return results


def step_connector(rt: Runtime, log: Log) -> dict[str, Any]:
    """STEP 3/4: the connector starts at exactly the copy's position (or where the stream stands)."""
    log.info("STEP 3/4: Connector %s…", rt.pipeline.connector_name)
    rt.store.set_status(rt.name, "connecting")
    facts = put_connector(rt, log)
    log.info(
        "  connector %s: task running, position %s, log topic %s", facts["connector"], facts["position"], facts["topic"]
    )
    return facts


def step_consumer(rt: Runtime, log: Log, *, timeout_s: float = 120) -> dict[str, Any]:
    """STEP 4/4: a consumer under the agent; returns when the way is seen to be open from the source to the target.

    Raises RetryableError where that takes longer than `timeout_s`, or the consumer's own reason where it failed.
    """
    log.info("STEP 4/4: Consumer…")
    record = rt.refresh()
    with rt.target("start") as (_, state):
        facts, offset = state.load(), state.offset()
    if facts is None:
        raise ConfigurationError(f"pipeline {rt.name} was never copied", f"run `cdc start {rt.name}`.")
    before = MySqlPosition.from_json(offset.position) if offset is not None and offset.position else None
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
            if beat.at >= began and caught_up(rt, beat, before):
                seconds = round(time.monotonic() - started, 1)
                rt.store.set_status(rt.name, "running", is_active=True, message="")
                log.info("  consumer of group %s: the way is open from end to end, after %.1f s", group, seconds)
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
    """The four steps in this process, under the pipeline's lease. Running it again finishes or changes nothing.

    Then, beside the stream and without the lease, tables that the configuration has otherwise than what streams.
    Raises FencedError or RetryableError where the lease was lost meanwhile (see `Lease.check`), before the next step.
    """
    began = time.monotonic()
    tell = _telling(log, on_chunk, progress)
    with rt.store.lease(rt.name, holder, "start") as lease:
        with rt.store.failure_noted(rt.name, "start", holder, log):
            step_validate(rt, log, force_resync=force_resync)
            lease.check()
            plan = step_plan(rt, log, force_resync=force_resync)
            if progress is not None:
                progress.plan(plan.chunks)
            step_copy_all(rt, log, on_chunk=tell, progress=progress)
            copied = step_check_copy(rt, log)
            step_carry(rt, log, before_stream=True)
            lease.check()
            connector = step_connector(rt, log)
            lease.check()
            consumer = step_consumer(rt, log)
            carried = step_carry(rt, log)
        rt.store.record(rt.name, "start", holder, "done", f"generation {plan.generation}")
    joined = align_tables(rt, log, holder=holder, on_chunk=tell, progress=progress)
    return {
        "pipeline": rt.name,
        "generation": plan.generation,
        "tables": {c.table.name: c.rows for c in copied} | {j.table.name: j.rows for j in joined},
        "connector": connector,
        "consumer": consumer,
        "carried": carried.facts() if carried is not None else {},
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
