"""An incident's life: opened, escalated, raised, resolved. Pure: a clock comes in, the next state goes out."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from cdc_pipelines.replication.control.records import Incident, Problem
from cdc_pipelines.replication.health.rules import RULES, worst
from cdc_pipelines.replication.health.settings import Health

CALM_S = 30.0
"""A pipeline must stay healthy for this long before its incident is over: a crash loop is one incident, not many."""


def advance(incident: Incident | None, pipeline: str, problems: Sequence[Problem], now: datetime) -> Incident | None:
    """The incident after one more look; one with id 0 is new. None: there is none, and none is needed."""
    severity = worst(tuple(problems))
    if incident is None:
        if severity == "healthy":
            return None
        return Incident(0, pipeline, severity, severity, tuple(problems), opened_at=now, seen_at=now)
    if severity == "healthy":
        calm_since = incident.calm_since or now
        over = (now - calm_since).total_seconds() >= CALM_S
        return replace(incident, seen_at=now, calm_since=calm_since, resolved_at=calm_since if over else None)
    escalated = severity == "failed" and incident.worst == "degraded"
    return replace(
        incident, severity=severity, worst="failed" if severity == "failed" else incident.worst,
        problems=tuple(problems), seen_at=now, calm_since=None,
        escalated_at=now if escalated else incident.escalated_at,
    )


def to_be_raised(incident: Incident, limits: Health, now: datetime) -> bool:
    """Whether a run must fail for it now. Once per incident: what only a person can mend at once, the rest in time."""
    if incident.raised_at is not None or incident.calm_since is not None:
        return False
    if (now - incident.opened_at).total_seconds() >= limits.grace_seconds:
        return True
    return any(each.severity == "failed" and not (limits.heal and RULES[each.kind].cure) for each in incident.problems)
