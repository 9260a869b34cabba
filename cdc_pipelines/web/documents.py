"""What the API takes and gives, as its OpenAPI document describes it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cdc_pipelines.replication.pipeline import Source
from cdc_pipelines.replication.strict import Strict


class Open(BaseModel):
    """More fields may join those that are named."""

    model_config = ConfigDict(extra="allow")


class StartOptions(Strict):
    """How to start."""

    force_resync: bool = Field(False, description="Throw the copied state away and copy everything again.")


class VerifyOptions(Strict):
    """What to compare."""

    tables: list[str] = Field([], max_length=1000, description="Tables by their names on the source; empty: all.")
    max_keys: int = Field(100, ge=1, le=10_000, description="How many differing keys are named per table.")
    repair: bool = Field(False, description="Write the rows that differ anew, as the source has them.")
    rows_per_second: int | None = Field(None, ge=1, le=2**31 - 1, description="Read no faster than this.")


class DiscoverOptions(Strict):
    """Where to look."""

    source: Source
    name: str | None = Field(None, pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Name of the proposed pipeline.")


class NewTable(Strict):
    """Which table is to join."""

    table: str = Field(min_length=1, max_length=200, description="Its name on the source.")
    target: str | None = Field(None, min_length=1, max_length=63, description="Its name on the target, if another.")


class Configured(Open):
    """A pipeline as it is saved. `id` is its config id, by which all other paths name it."""

    id: int
    name: str
    status: str
    is_active: bool
    connector_name: str
    kafka_topic_prefix: str
    tables: int
    message: str


class ConfigList(BaseModel):
    success: bool = True
    pipelines: list[Configured]


class Changed(BaseModel):
    what: str = Field(description="A setting with its old and new value, or a table, in words.")
    effect: str = Field(description="When it takes effect.")


class Saved(BaseModel):
    success: bool = True
    pipeline: Configured | None = Field(description="As it is saved now; null where it is new and only planned.")
    saved: bool = Field(description="False where only the plan was asked for.")
    created: bool
    changes: list[Changed] = Field(description="What is other than before.")
    needs_resync: bool = Field(description="The target holds the old mapping: start with `force_resync`.")
    file: str = Field(description="The pipeline's file, which the command line reads as well.")


class Run(BaseModel):
    run_id: str
    job: str
    url: str
    already: bool = Field(description="The run was under way when it was asked for.")


class Accepted(BaseModel):
    success: bool = True
    run: Run


class Status(Open):
    """See docs/operate.md#status."""

    overall: str
    connector: dict[str, Any]
    consumer: dict[str, Any]
    config: dict[str, Any]
    statistics: dict[str, Any]
    timestamp: str


class StatusAnswer(BaseModel):
    success: bool = True
    status: Status


class LaneFacts(Open):
    """A table's way of its own beside the stream."""

    phase: str = Field(description="`copying`, `following`, `detached` (from the stream) or `merged`.")
    reason: str
    doing: str = Field(description="What its worker said last.")
    since: str
    last_beat: str
    idle: bool = Field(description="Nobody has worked on it for a minute.")


class TableFacts(Open):
    table: str
    target: str
    columns: int
    key: list[str]
    lane: LaneFacts | None = Field(description="Null where the table is in the stream alone.")


class Tables(BaseModel):
    success: bool = True
    tables: list[TableFacts]


class IncidentFacts(Open):
    id: int
    worst: str
    opened_at: str
    resolved_at: str | None
    seconds: float
    problems: list[dict[str, Any]]
    actions: list[dict[str, Any]]


class Incidents(BaseModel):
    success: bool = True
    incidents: list[IncidentFacts]


class DeadLetterFacts(Open):
    id: int
    state: str = Field(description="`held`, `skipped`, or `applied`: its table was copied again.")
    table: str
    op: str = Field(description="`c` insert, `u` update, `d` delete, `r` of a copy, `t` truncate, `s` schema change.")
    key: dict[str, Any] | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    error: str = Field(description="What the target said.")


class DeadLetters(BaseModel):
    success: bool = True
    letters: list[DeadLetterFacts]


class Retried(BaseModel):
    success: bool = True
    accepted: bool
    error: str | None = Field(description="What the target has against it.")


class Skipped(BaseModel):
    success: bool = True
    letter: DeadLetterFacts


class SkipOptions(Strict):
    """Why a change may be missing."""

    note: str = Field(min_length=1, max_length=1000, description="Kept with the letter, and in the pipeline's diary.")


class LagSample(BaseModel):
    at: str
    lag_seconds: float | None
    lag_messages: int | None
    overall: str


class Lag(BaseModel):
    success: bool = True
    every_seconds: float
    samples: list[LagSample]


class FoundColumn(BaseModel):
    name: str
    type: str
    nullable: bool
    supported: bool = Field(description="Whether it has a form on the target.")


class FoundTable(BaseModel):
    name: str
    key: list[str]
    rows_estimate: int
    data_bytes: int
    why_not: str | None = Field(description="Why no pipeline can have it, whichever of its columns.")
    columns: list[FoundColumn]


class Discovered(BaseModel):
    success: bool = True
    tables: list[FoundTable]
    file: str = Field(description="A complete pipeline file over all of them, to look over, change and post.")
