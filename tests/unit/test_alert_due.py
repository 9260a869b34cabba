"""What people are told of an incident, and when: pure, with a clock of the test's own."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdc_pipelines.replication.alerts.due import GRACE_S, due
from cdc_pipelines.replication.alerts.settings import Alerts
from cdc_pipelines.replication.control.records import Incident, Message

BEGAN = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
OPEN = Incident(1, "shop", "degraded", "degraded", (), BEGAN, BEGAN, raised_at=BEGAN)
FAILED = replace(OPEN, severity="failed", worst="failed")
OVER = replace(OPEN, resolved_at=BEGAN + timedelta(hours=1))


def message(event: str, hours: float | None, severity: str = "degraded") -> Message:
    told_at = None if hours is None else BEGAN + timedelta(hours=hours)
    return Message(f"{event}{hours}", "shop", 1, event, severity, "{}", 1, BEGAN, told_at)


def event(incident: Incident, *messages: Message, hours: float = 0.0, run_seen: bool = True, **settings: Any) -> str:
    """The name of what is due, empty for nothing."""
    found = due(incident, messages, Alerts(**settings), BEGAN + timedelta(hours=hours), run_seen=run_seen)
    return found.name if found else ""


def test_an_incident_is_told_once_its_run_failed_or_was_not_seen_in_time() -> None:
    assert event(OPEN) == "opened"
    assert event(OPEN, run_seen=False) == ""
    assert event(OPEN, run_seen=False, hours=GRACE_S / 3600) == "opened"
    assert event(replace(OPEN, raised_at=None), hours=1) == "", "it may mend itself yet"
    assert event(OPEN, message("opened", 0.01), hours=0.02) == ""


def test_below_the_minimum_nobody_is_told() -> None:
    assert event(OPEN, minimum="failed") == ""
    assert event(FAILED, minimum="failed") == "opened"
    assert event(FAILED, minimum="failed", run_seen=False, hours=1) == "opened", "it became worse later"
    assert event(OVER, minimum="failed") == ""


def test_what_becomes_worse_is_told_once() -> None:
    assert event(FAILED, message("opened", 0), hours=0.1) == "escalated"
    assert event(FAILED, message("opened", 0, "failed"), hours=0.1) == ""
    assert event(FAILED, message("opened", 0), message("escalated", 0.1, "failed"), hours=0.2) == ""
    calmer = replace(FAILED, severity="degraded")
    assert event(calmer, message("opened", 0), hours=0.1) == "", "it is not worse any more"


@pytest.mark.parametrize(
    ("pauses", "expected"),
    [
        (1, [1, 2, 3, 4, 5, 6, 7, 8]),
        ([0.5, 2, 3], [0.5, 2.5, 5.5]),
        (None, []),
        ([], []),
    ],
)
def test_reminders_come_at_their_hours(pauses: Any, expected: list[float]) -> None:
    messages, reminded = [message("opened", 0)], []
    for minute in range(8 * 60 + 1):
        if name := event(OPEN, *messages, hours=minute / 60, remind_hours=pauses):
            assert name == f"reminder-{len(reminded) + 1}"
            reminded.append(minute / 60)
            messages.append(message("reminder", minute / 60))
    assert reminded == expected


def test_an_hour_of_looks_every_second_gives_four_reminders_a_quarter_apart() -> None:
    messages, reminded = [message("opened", 0)], []
    for second in range(3601):
        if event(OPEN, *messages, hours=second / 3600, remind_hours=0.25):
            reminded.append(second)
            messages.append(message("reminder", second / 3600))
    assert reminded == [900, 1800, 2700, 3600]


def test_while_it_looks_healthy_nobody_is_reminded() -> None:
    calm = replace(OPEN, calm_since=BEGAN + timedelta(hours=5))
    assert event(OPEN, message("opened", 0), hours=5) == "reminder-1"
    assert event(calm, message("opened", 0), hours=5) == ""
    assert event(calm, hours=5, run_seen=False) == "", "it will be over before anybody heard of it"


def test_whoever_can_see_the_failed_run_is_told_however_soon_it_is_over() -> None:
    assert event(replace(OPEN, calm_since=BEGAN)) == "opened"
    assert event(OVER, hours=1) == "recovered", "one message tells the whole story"
    assert event(OVER, message("recovered", 1), hours=1) == ""
    assert event(OVER, hours=1, minimum="failed") == ""


def test_the_end_is_told_once_and_to_those_who_heard_of_it() -> None:
    assert event(OVER, message("opened", 0), hours=1) == "recovered"
    assert event(OVER, message("opened", 0), message("recovered", 1), hours=2) == ""
    assert event(OVER, hours=1, run_seen=False) == "", "nobody heard of it"
    assert event(OVER, message("opened", None), hours=1) == "recovered", "its message could not be told: now the whole"
    assert event(OVER, message("opened", 0), message("recovered", None), hours=2) == "recovered", "it is tried again"
    assert event(OVER, message("opened", 0), hours=30) == "", "too late to be news"
