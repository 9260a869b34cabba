"""What an operation of ours does to its connector for a moment is no incident; what it can't mean to do is one."""

from datetime import UTC, datetime, timedelta

import pytest

from cdc_pipelines.replication.control.records import LeaseInfo
from cdc_pipelines.replication.health.judge import connector_problems, is_in_passing
from cdc_pipelines.replication.health.status import works_on_it

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("state", ["STOPPED", "PAUSED", "MISSING", "RUNNING", "RESTARTING"])
@pytest.mark.parametrize(
    ("operation", "passes"),
    [("add table", True), ("remove table", True), ("resync orders", True), ("restart", True), ("", False),
     ("verify", False), ("carry", False), ("heal", False)],
)  # fmt: skip
def test_a_connector_that_is_being_changed(state: str, operation: str, passes: bool) -> None:
    connector = {"state": state, "healthy": False, "tasks": [], "message": "…"}
    (found,) = connector_problems("shop", "cdc_1_1", connector)
    assert is_in_passing(found, operation) is passes


def test_one_that_failed_is_told_whoever_works_on_it() -> None:
    for connector in (
        {"state": "FAILED", "healthy": False, "tasks": [], "message": "why"},
        {"state": "RUNNING", "healthy": False, "tasks": [{"id": 0, "state": "FAILED"}], "message": "why"},
    ):
        (found,) = connector_problems("shop", "cdc_1_1", connector)
        assert not is_in_passing(found, "add table")


@pytest.mark.parametrize(
    ("minutes_ago", "seconds_left", "works"),
    [(0, 60, True), (4.9, 60, True), (5, 60, False), (300, 60, False), (1, 0, False), (1, -5, False)],
)
def test_an_operation_hides_a_stopped_connector_for_five_minutes_and_while_it_is_alive(
    minutes_ago: float, seconds_left: float, *, works: bool
) -> None:
    held = LeaseInfo("shop", "somebody", "add table", NOW - timedelta(minutes=minutes_ago), seconds_left)
    assert works_on_it(held, NOW) == ("add table" if works else "")
    assert works_on_it(None, NOW) == ""
