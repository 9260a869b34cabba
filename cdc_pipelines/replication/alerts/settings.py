"""What a pipeline's file may say about telling people."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from cdc_pipelines.replication.strict import Strict, require_reference

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"

_Hours = Annotated[float, Field(ge=0.25)]
_HOURS_SCHEMA = {"type": "number", "minimum": 0.25}


def _as_list(value: Any) -> Any:
    """One number is a list of it, null an empty one."""
    if value is None:
        return []
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


Pauses = Annotated[
    list[_Hours],
    BeforeValidator(_as_list),
    WithJsonSchema(
        {"anyOf": [_HOURS_SCHEMA, {"type": "array", "items": _HOURS_SCHEMA}, {"type": "null"}]}, mode="validation"
    ),
]


def _secret(field: str) -> AfterValidator:
    """Addresses of chats and webhooks hold tokens: whoever has one can post there."""
    return AfterValidator(lambda value: require_reference(value, field))


class Webhook(Strict):
    """A receiver of our own JSON document (`docs/alert.schema.json`), by HTTP POST."""

    url: Annotated[str, _secret("url")] = Field(description="A reference to its URL.")
    secret: Annotated[str, _secret("secret")] | None = Field(
        None,
        description="A reference to a secret. With it, every request carries `X-CDC-Signature: sha256=…`, the "
        "HMAC-SHA256 of its body.",
    )


class PagerDuty(Strict):
    """PagerDuty's Events API v2: an incident is triggered, kept up to date and resolved under one key."""

    routing_key: Annotated[str, _secret("routing_key")] = Field(
        description="A reference to the integration key of the service."
    )
    url: str = Field(PAGERDUTY_URL, description="Where events go; in PagerDuty's EU region another host.")


class Alerts(Strict):
    """Who is told when the pipeline is not healthy, when it is again, and when a run of it failed."""

    apprise: list[Annotated[str, _secret("apprise")]] = Field(
        default_factory=list,
        description="References to apprise URLs: Slack, Teams, mail and a hundred other services. One URL each.",
    )
    webhook: Webhook | None = Field(None, description="A receiver of JSON: see `alerts.webhook` below.")
    pagerduty: PagerDuty | None = Field(None, description="A service of PagerDuty: see `alerts.pagerduty` below.")
    minimum: Literal["degraded", "failed"] = Field(
        "degraded", description="How bad an incident must be for people to be told of it."
    )
    remind_hours: Pauses = Field(
        [4],
        description="Hours after which people are told again of an incident that lasts: one number, or the pauses one "
        "after the other, of which the last repeats. `null`: never.",
    )
    on_failed_runs: bool = Field(
        True, description="Whether people are told of failed runs in Dagster too: start, verify, stop and the others."
    )

    @property
    def anybody(self) -> bool:
        """Whether there is somebody to tell."""
        return bool(self.apprise or self.webhook or self.pagerduty)

    def pause_s(self, reminders: int) -> float | None:
        """Seconds from the last message to the next reminder, after so many of them; None: there is none."""
        if not self.remind_hours:
            return None
        return self.remind_hours[min(reminders, len(self.remind_hours) - 1)] * 3600
