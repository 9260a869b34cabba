"""What people must be told of an incident now, if anything. Pure: settings, what was told and a clock come in."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cdc_pipelines.replication.alerts.document import Event
from cdc_pipelines.replication.alerts.settings import Alerts
from cdc_pipelines.replication.control.records import Incident, Message, Severity

GRACE_S = 60.0
"""How long the run that fails for an incident may take to be seen; then people are told without it."""
GIVE_UP = timedelta(days=1)
"""After this long nobody is told any more of what is over."""


class Due(NamedTuple):
    """`name` tells messages of one event apart, as reminders are."""

    event: Event
    name: str


def due(
    incident: Incident, messages: Sequence[Message], settings: Alerts, now: datetime, *, run_seen: bool = False
) -> Due | None:
    """The next message about an incident. `messages`: those told or tried so far. `run_seen`: its run has failed.

    Whoever can see the failed run is told, however soon the incident is over. Else nobody is told that something is
    over of which nobody was to be told. A message that could not be told is followed by the one that it is over: that
    tells the whole story.
    """
    told = [each for each in messages if each.told_at is not None]
    if incident.resolved_at is not None:
        heard = bool(messages) or (run_seen and _bad_enough(incident.worst, settings))
        over = heard and not any(each.event == "recovered" for each in told)
        return Due("recovered", "recovered") if over and now - incident.resolved_at < GIVE_UP else None
    if incident.calm_since is not None and not run_seen:
        return None
    if not told:
        return Due("opened", "opened") if _begins(incident, settings, now, run_seen) else None
    if incident.calm_since is not None:
        return None
    if incident.severity == "failed" and not any(each.severity == "failed" for each in told):
        return Due("escalated", "escalated")
    reminders = sum(each.event == "reminder" for each in told)
    pause_s = settings.pause_s(reminders)
    last = max(each.told_at for each in told if each.told_at is not None)
    if pause_s is not None and (now - last).total_seconds() >= pause_s:
        return Due("reminder", f"reminder-{reminders + 1}")
    return None


def _begins(incident: Incident, settings: Alerts, now: datetime, run_seen: bool) -> bool:
    """An incident is for people once a run was asked to fail for it: before, it may mend itself."""
    if incident.raised_at is None or not _bad_enough(incident.severity, settings):
        return False
    return run_seen or (now - incident.raised_at).total_seconds() >= GRACE_S


def _bad_enough(severity: Severity, settings: Alerts) -> bool:
    return severity == "failed" or settings.minimum == "degraded"
