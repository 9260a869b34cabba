"""One look at all pipelines, within a deadline, whoever hangs; and what follows for their incidents."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.connect import ConnectClient
from cdc_pipelines.replication.control.records import Incident, PipelineRecord, Problem
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.daemon_pool import DaemonPool
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.health import incidents
from cdc_pipelines.replication.health.facts import Connectors, consumer, iso
from cdc_pipelines.replication.health.healing import REQUESTED, next_cure
from cdc_pipelines.replication.health.rules import Cure, problem
from cdc_pipelines.replication.health.status import status
from cdc_pipelines.replication.operations.runtime import Runtime

DEADLINE_S = 36.0
"""Of a look, and of what it keeps in the store: within the 40 s that a tick waits for it."""
_ASKING = 5 / 6
_AT_ONCE = 8
_CONNECT_S = 8.0
_NEVER_STARTED = "configured"
_OUTAGES = (CdcError, SQLAlchemyError, OSError)

Facts = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """One pipeline after a look. `cure`: a run must mend its incident. `unkept`: why the store knows nothing of it."""

    record: PipelineRecord
    status: Facts
    incident: Incident | None = None
    cure: Cure = ""
    tries: int = 0
    unkept: str = ""

    @property
    def raised(self) -> bool:
        """A run must fail for its incident, until one has begun: who asked may have died before Dagster heard of it."""
        it = self.incident
        return it is not None and it.raised_at is not None and it.resolved_at is None and not it.run


def look_at_all(store: ControlStore, *, deadline_s: float = DEADLINE_S) -> list[Seen]:
    """The status of every pipeline that was ever started, and its incident, kept in the store.

    One that gives no answer in time is unhealthy for that reason; one that the store does not take, or not before
    `deadline_s` is over, is left to the next look. Raises RetryableError where the store can't be read.
    """
    ends = time.monotonic() + deadline_s
    records = started_pipelines(store)
    found = statuses(store, records, deadline_s * _ASKING)
    open_ = store.open_incidents()
    known = {record.name for record in store.list()}
    for name in open_.keys() - known:  # torn down meanwhile
        with suppress(*_OUTAGES):
            store.save_incident(replace(open_[name], resolved_at=datetime.now(UTC)))
    return [
        _kept(store, record, status, open_.get(record.name), ends)
        for record, status in zip(records, found, strict=True) if record.name in known
    ]


def _kept(store: ControlStore, record: PipelineRecord, found: Facts, before: Incident | None, ends: float) -> Seen:
    """One pipeline's save that fails takes nothing from the others: their runs are to be asked for."""
    if time.monotonic() > ends:
        return Seen(record, found, unkept="it answers too slowly, and no time is left")
    try:
        return follow(store, record, found, before)
    except _OUTAGES as error:
        return Seen(record, found, unkept=secrets.redact(str(error)))


def started_pipelines(store: ControlStore) -> list[PipelineRecord]:
    """Those that have something to look at."""
    return [record for record in store.list() if record.status != _NEVER_STARTED]


def follow(
    store: ControlStore, record: PipelineRecord, found: Facts, before: Incident | None, now: datetime | None = None
) -> Seen:
    """What one status means for the pipeline's incident: kept, raised once, mended while that is of use."""
    now = now or datetime.now(UTC)
    limits = record.spec.health
    incident = incidents.advance(before, record.name, [Problem(**each) for each in found["problems"]], now)
    if incident is None:
        return Seen(record, found)
    if incidents.to_be_raised(incident, limits, now):
        incident = replace(incident, raised_at=now)
    incident = store.save_incident(incident)
    actions = store.actions(incident.id)
    cure = next_cure(incident, actions, limits, now)
    if cure and (record.desired != "running" or store.lease_info(record.name) is not None):
        cure = ""  # somebody works on it, or wants it to stand still
    if cure:
        store.record_action(incident.id, cure, REQUESTED)
    tries = sum(action.outcome == REQUESTED for action in actions) + bool(cure)
    return Seen(record, found, incident, cure, tries)


def statuses(
    store: ControlStore, records: Sequence[PipelineRecord], deadline_s: float = DEADLINE_S
) -> list[Facts]:
    """The status of each, asked at the same time; changes nothing. One that gives no answer in time is told as such."""
    pool = DaemonPool(_AT_ONCE, "health")
    try:
        return _ask(store, records, pool, deadline_s)
    finally:
        pool.leave()


def _ask(
    store: ControlStore, records: Sequence[PipelineRecord], pool: DaemonPool, deadline_s: float
) -> list[Facts]:
    urls = {record.name: _url(record) for record in records}
    asked = {url: pool.submit(_connectors, url) for url in set(urls.values()) if url is not None}

    def look(record: PipelineRecord) -> Facts:
        url = urls[record.name]
        connectors: Connectors = asked[url].result() if url is not None else None
        with Runtime(record, store, impatient=True) as rt:
            return status(rt, connectors)

    futures = [pool.submit(look, record) for record in records]
    wait(futures, timeout=deadline_s)
    return [_outcome(store, record, future, deadline_s) for record, future in zip(records, futures, strict=True)]


def _url(record: PipelineRecord) -> str | None:
    """None where it can't be resolved here: the pipeline's own status tells why."""
    try:
        return secrets.resolve(record.spec.connect.url)
    except CdcError:
        return None


def _connectors(url: str) -> Connectors:
    """One call for all pipelines of a Connect cluster; the error, where there is no answer."""
    try:
        return ConnectClient(url, timeout_s=_CONNECT_S, patience_s=_CONNECT_S / 2).all("status")
    except CdcError as error:
        return error


def _outcome(store: ControlStore, record: PipelineRecord, future: "Future[Facts]", deadline_s: float) -> Facts:
    if future.done() and not future.cancelled() and future.exception() is None:
        return future.result()
    error = future.exception() if future.done() and not future.cancelled() else None
    why = secrets.redact(f"{type(error).__name__}: {error}") if error else f"no answer within {deadline_s:.0f} s"
    found = problem("unanswered", f"the status of {record.name} could not be had: {why}",
                    f"see `cdc status {record.name}`: one of its servers hangs.")
    return {
        "overall": found.severity,
        "consumer": consumer(store.heartbeat(record.name)),
        "lag": {"seconds": None, "messages": None, "source_bytes": None},
        "tables": [],
        "problems": [asdict(found)],
        "errors": [found.message],
        "timestamp": iso(datetime.now(UTC)),
    }

