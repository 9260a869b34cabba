"""Stop, restart and tear down. Each may be called at any time and any number of times."""

import logging
import os
import signal
import time
from typing import Any

import psutil

from cdc_pipelines.replication import processes
from cdc_pipelines.replication.control.records import ENDED_STATES
from cdc_pipelines.replication.databases.postgres.carried import set_sequences
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.operations.consumer_state import STALE_AFTER_S, age_seconds
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.operations.start import step_connector, step_consumer
from cdc_pipelines.replication.stream import connector_life

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

_STOP_WAIT_S = 30.0
_RESTART_PAUSE_S = 2.0


def stop(rt: Runtime, log: Log) -> dict[str, Any]:
    """Consumer stopped, connector paused. The connector's task is not restarted: a restart could tear a transaction."""
    rt.store.set_desired(rt.name, "stopped")
    consumer = stop_consumer(rt, log)
    paused = connector_life.pause(rt.connect, rt.pipeline, rt.owner())
    log.info("connector %s: %s", rt.pipeline.connector_name, "paused" if paused else "there is none of this pipeline")
    if rt.refresh().generation is not None:
        rt.store.set_status(rt.name, "stopped", is_active=False, message="")
    rt.store.record(rt.name, "stop", _holder(), "done", consumer)
    return {"pipeline": rt.name, "consumer": consumer, "connector": "paused" if paused else "missing"}


def stop_consumer(rt: Runtime, log: Log) -> str:
    """Wait until the consumer has ended; where no agent does it, end it from here."""
    deadline = time.monotonic() + _STOP_WAIT_S
    told = False
    while True:
        beat = rt.store.heartbeat(rt.name)
        if beat is None or beat.state in ENDED_STATES:
            word = "stopped" if beat is not None else "was not running"
            log.info("consumer: %s", word)
            return word
        here = beat.host == processes.host()
        if here and not processes.alive(beat.pid):
            log.info("consumer: process %d is gone already", beat.pid)
            return "was gone"
        if not here and age_seconds(beat) > STALE_AFTER_S:
            log.info("consumer: no heartbeat from %s for %.0f s", beat.host, age_seconds(beat))
            return "was gone"
        if here and not told and (not rt.store.live_agents() or time.monotonic() > deadline - _STOP_WAIT_S / 2):
            _terminate(beat.pid, rt.name)
            told = True
        if time.monotonic() > deadline:
            raise RetryableError(
                f"consumer of {rt.name} (process {beat.pid} on {beat.host}) did not stop within {_STOP_WAIT_S:.0f} s",
                "it may be in a long transaction; try again, or look at its log.",
            )
        time.sleep(0.1)


def _terminate(pid: int, name: str) -> None:
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return  # it has just ended
    if "consume" in words and name in words:  # pids are used again: be sure that it is ours
        os.kill(pid, signal.SIGTERM)


def restart(rt: Runtime, log: Log) -> dict[str, Any]:
    """Stop, a moment, start where it was: nothing is copied."""
    with rt.target("restart") as (_, state):
        if rt.record.generation is None or state.offset() is None:
            raise ConfigurationError(
                f"pipeline {rt.name} was never started to the end; there is nothing to restart",
                f"run `cdc start {rt.name}`.",
            )
    stop(rt, log)
    time.sleep(_RESTART_PAUSE_S)
    connector = step_connector(rt, log)
    consumer = step_consumer(rt, log)
    rt.store.record(rt.name, "restart", _holder(), "done", "")
    return {"pipeline": rt.name, "connector": connector, "consumer": consumer}


def teardown(rt: Runtime, log: Log, *, drop_tables: bool = False) -> dict[str, Any]:
    """Connector, its offsets, topics and our records gone. Target tables stay, unless asked.

    The claim on kept tables stays too, so that a later start may fill them anew. Whoever writes to them from now on
    gets values from their sequences that are not taken.
    """
    rt.store.set_desired(rt.name, "stopped")
    consumer = stop_consumer(rt, log)
    connector_life.teardown_connector(rt.connect, rt.topics, rt.pipeline, rt.owner())
    log.info("connector %s and the topics %s.* are gone", rt.pipeline.connector_name, rt.pipeline.topic_prefix)
    with rt.target("teardown") as (conn, state):
        state.ensure_schema()
        if state.load() is not None:
            state.raise_epoch()
            for column, largest in set_sequences(conn, rt.name).items():
                log.info("the sequence of %s goes on behind %d", column, largest)
        dropped = state.drop_tables() if drop_tables else []
        state.drop(keep_claims=not drop_tables)
        conn.commit()
    for name in dropped:
        log.info("table %s is dropped", name)
    rt.store.delete(rt.name)
    return {"pipeline": rt.name, "consumer": consumer, "dropped": dropped}


def _holder() -> str:
    return f"{processes.host()}:{os.getpid()}"
