"""Indexes, foreign keys, checks, comments and identities: the target gets what the source has, as the file asks for it.

A comparison of three things: what the source has now, what our record on the target says, what is really there. So it
may be run at any time and any number of times: what is missing is made, what the source has no more is taken away,
what a process that died began is finished. Only what we made ourselves is ever touched.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from cdc_pipelines.replication.carry.settings import KINDS
from cdc_pipelines.replication.carry.wanted import wanted
from cdc_pipelines.replication.databases.postgres import carried
from cdc_pipelines.replication.databases.postgres.carried_store import CarriedStore
from cdc_pipelines.replication.databases.postgres.connection import connect, server_errors
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.operations.carried_outcome import Outcome, words
from cdc_pipelines.replication.operations.carry_work import CarryWork
from cdc_pipelines.replication.operations.runtime import Runtime

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

_OTHERS_S = 600.0


def carry(
    rt: Runtime, *, only: str | None = None, makes: bool = True, again: bool = False, before_stream: bool = False
) -> Outcome:
    """Bring the target in line with the source's tables and the file; `only` one table, of the source's name.

    Without `makes` only what the source has no more, or has otherwise, is taken away. `again`: what was given up is
    tried once more. `before_stream`: nothing is done where the pipeline streams already. Raises RetryableError where a
    server is out of reach or another process carries for long; what is done stays.
    """
    with connect(rt.target_spec, purpose=f"{rt.name}:carry", autocommit=True) as conn, server_errors(
        f"pipeline {rt.name}: carrying indexes and constraints"
    ):
        state = TargetState(conn, rt.name)
        facts = state.load()
        if facts is None:
            raise ConfigurationError(f"pipeline {rt.name} was never copied", f"run `cdc start {rt.name}`.")
        idle = not rt.pipeline.carry.kinds and not CarriedStore(conn, rt.name).all()
        if idle or (before_stream and state.offset() is not None):
            return Outcome()
        with _alone(conn, rt.name):
            work = CarryWork(rt, conn, state, facts, again)
            tables = {only} if only is not None else set(work.tables)
            if rt.pipeline.carry.kinds:
                extras = rt.source.extras(sorted(tables & set(work.tables)))
                wants = [
                    each for name, found in extras.items()
                    for each in wanted(work.tables[name], found, work.tables, rt.pipeline.carry.kinds,
                                       rt.pipeline.source.database)
                ]
                work.take_away(wants, tables)
                if makes:
                    work.make(sorted(wants, key=lambda each: KINDS.index(each.kind)))
            work.outcome.sequences = carried.set_sequences(conn, rt.name)
            summary = [each for each in CarriedStore(conn, rt.name).all() if each.table in work.tables]
        work.outcome.rest = [each for each in summary if each.state != "made"]
        work.outcome.there = {
            kind: count for kind in KINDS
            if (count := sum(each.kind == kind and each.state == "made" for each in summary))
        }
    return work.outcome


def drop_stale(rt: Runtime, log: Log, table: str) -> None:
    """Before a table is copied anew: what its source has no more shall not refuse the copy's rows."""
    try:
        carry(rt, only=table, makes=False)
    except ConfigurationError as error:
        log.warning("table %s: %s", table, error.message, extra={"table": table})


def step_carry(
    rt: Runtime, log: Log, *, only: str | None = None, before_stream: bool = False
) -> Outcome | None:
    """A part of a start or of a table's copy: logged, and never a reason to fail. None where it could not be done."""
    try:
        outcome = carry(rt, only=only, before_stream=before_stream)
    except (RetryableError, ConfigurationError) as error:
        log.warning("  indexes and constraints: %s; `cdc carry %s` makes them", error.message, rt.name)
        return None
    if outcome.made or outcome.dropped or outcome.told:
        log.info("  %s", outcome)
    for each in outcome.told:
        log.info("  not %s: %s", words(each), each.why)
    return outcome


@contextmanager
def _alone(conn: psycopg.Connection, pipeline: str) -> Iterator[None]:
    """One process at a time. Asked again and again: one that waits in the server would hold up concurrent indexes."""
    lock = f"cdc:{pipeline}:carry"
    ends = time.monotonic() + _OTHERS_S
    while True:
        row = conn.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", [lock]).fetchone()
        if row is not None and row[0]:
            break
        if time.monotonic() > ends:
            raise RetryableError(
                f"pipeline {pipeline}: another process makes indexes and constraints", "wait for it, then try again."
            )
        time.sleep(0.3)
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", [lock])
