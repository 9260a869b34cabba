"""The JSON document of a message: what a webhook receives, and what every other message is made from."""

import json
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from cdc_pipelines.replication.control.records import Severity

Event = Literal["opened", "escalated", "reminder", "recovered", "run_failed", "schedule_missed", "test"]

Moment = Annotated[
    datetime,
    PlainSerializer(lambda at: at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"), str),
    Field(json_schema_extra={"format": "date-time"}),
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class AlertProblem(_Part):
    """One thing that is not as it should be."""

    kind: str = Field(description="Its name in the table of health, as `consumer_gone`.")
    severity: Severity
    message: str
    next_step: str = Field(description="What a person does about it; may be empty.")


class AlertAction(_Part):
    """One thing that the pipeline did about it by itself."""

    action: str
    outcome: str = Field(description="`done` or `failed`.")
    message: str
    at: Moment


class AlertRun(_Part):
    """The run in Dagster where the whole story stands."""

    id: str
    job: str
    url: str | None = Field(description="Its page; null unless CDC_DAGSTER_URL is set.")


class Alert(_Part):
    """One message to people. Fields may join these; none goes away within a version."""

    version: Literal[1] = 1
    id: str = Field(description="Of this message; one that comes again, after a request that timed out, has the same.")
    thread: str = Field(description="The same for all messages of an incident, and for failures of one job.")
    event: Event
    severity: Literal["failed", "degraded", "recovered", "test"]
    pipeline: str
    title: str = Field(description="One line of at most 150 characters.")
    text: str = Field(description="The whole message as plain text, without the title.")
    at: Moment = Field(description="When the message was made, in UTC.")
    incident: int | None = Field(None, description="Its number, as `cdc incidents` shows it.")
    since: Moment | None = Field(None, description="When the incident began.")
    seconds: float | None = Field(None, description="How long the incident has lasted, or lasted.")
    problems: tuple[AlertProblem, ...] = Field((), description="Of an incident; of one that is over, the last seen.")
    actions: tuple[AlertAction, ...] = Field((), description="What was done about it without a person.")
    next_step: str = Field("", description="What a person does first.")
    run: AlertRun | None = None

    def to_json(self) -> str:
        return self.model_dump_json()


def json_schema() -> str:
    """The JSON Schema of what a webhook receives."""
    schema = Alert.model_json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "cdc_pipelines alert"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
