"""What the control store gives and takes: plain values. Every moment is an aware datetime in UTC."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.pipeline import Pipeline

Status = Literal["configured", "copying", "connecting", "starting", "running", "stopped", "failed"]
Desired = Literal["running", "stopped"]
ConsumerState = Literal["starting", "streaming", "barrier", "stopping", "stopped", "failed"]

STATUSES: tuple[Status, ...] = ("configured", "copying", "connecting", "starting", "running", "stopped", "failed")
Severity = Literal["degraded", "failed"]
ENDED_STATES = ("stopped", "failed")


@dataclass(frozen=True)
class PipelineRecord:
    """One configured pipeline. `tables` are as they were resolved against the source when it was configured."""

    name: str
    client: int
    config: int
    spec: Pipeline
    file_text: str
    tables: tuple[MappedTable, ...]
    status: Status
    is_active: bool
    desired: Desired
    desired_revision: int
    generation: int | None
    consumer_group: str | None
    connector: str
    message: str
    configured_at: datetime
    updated_at: datetime
    last_sync_at: datetime | None


@dataclass(frozen=True)
class DesiredState:
    """What the agent needs to know of a pipeline, many times a minute."""

    pipeline: str
    desired: Desired
    revision: int
    group: str | None
    status: Status


@dataclass
class Heartbeat:
    """How a consumer says it is doing. `applied_position` is the JSON of a source position.

    States: starting, streaming, barrier, stopping; stopped and failed are the last words of a process.
    `commit_ms` is the source's time of the last applied commit, in milliseconds since 1970. `measures` is the JSON of a
    `stream.measures.Measures`, `findings` that of a `stream.findings.Findings`.
    """

    pipeline: str
    group: str
    pid: int
    host: str
    version: str
    state: str
    at: datetime
    log_offset: int | None = None
    log_end: int | None = None
    applied_position: str | None = None
    commit_ms: int | None = None
    lag_seconds: float | None = None
    events_total: int = 0
    transactions_total: int = 0
    last_event_at: datetime | None = None
    last_heartbeat_event_at: datetime | None = None
    message: str = ""
    measures: str | None = None
    findings: str | None = None


@dataclass(frozen=True)
class LeaseInfo:
    """Who holds a pipeline, for what. `seconds_left` counts down unless the holder renews; ≤ 0: it ran out."""

    pipeline: str
    holder: str
    operation: str
    acquired_at: datetime
    seconds_left: float


@dataclass(frozen=True)
class AgentInfo:
    """A supervisor of consumers that beat lately. `here`: where its process id means something to us."""

    agent_id: str
    host: str
    pid: int
    version: str
    started_at: datetime
    at: datetime
    here: bool = True


@dataclass(frozen=True)
class ConsumerExit:
    """How a consumer process ended. `exit_code`: negative for a signal, None where nobody could see it."""

    pipeline: str
    group: str | None
    revision: int
    host: str
    pid: int
    exit_code: int | None
    last_lines: str
    at: datetime


@dataclass(frozen=True)
class DiaryEntry:
    """One operation on a pipeline and how it ended."""

    pipeline: str
    operation: str
    holder: str
    outcome: str
    message: str
    at: datetime


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be. `kind` is a row of the table of health (`health.rules`)."""

    kind: str
    severity: Severity
    message: str
    next_step: str = ""


@dataclass(frozen=True)
class Action:
    """One thing that was done about an incident. `outcome`: `done` or `failed`."""

    action: str
    outcome: str
    message: str
    at: datetime


@dataclass(frozen=True)
class Incident:
    """One continuous time in which a pipeline was not healthy. `problems` are those last seen.

    `raised_at`: since when a run shall fail for it, so that people are told; `run` is that run's id. `calm_since`: it
    looks healthy again, but not yet for long enough.
    """

    id: int
    pipeline: str
    severity: Severity
    worst: Severity
    problems: tuple[Problem, ...]
    opened_at: datetime
    seen_at: datetime
    escalated_at: datetime | None = None
    raised_at: datetime | None = None
    calm_since: datetime | None = None
    resolved_at: datetime | None = None
    run: str = ""

    @property
    def seconds(self) -> float:
        """How long it lasted, or has lasted when it was seen last."""
        return ((self.resolved_at or self.seen_at) - self.opened_at).total_seconds()


@dataclass(frozen=True)
class Message:
    """What people are to be told under `key`, once. `document` is the JSON of an `alerts.document.Alert`.

    `told_at`: at least one channel took it. Until then it is tried again, not before `busy_until`.
    """

    key: str
    pipeline: str
    incident: int | None
    event: str
    severity: str
    document: str
    tries: int = 0
    busy_until: datetime | None = None
    told_at: datetime | None = None
