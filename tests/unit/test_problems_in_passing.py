"""What an operation of ours does to its connector for a moment is no incident; what it can't mean to do is one."""

import pytest

from cdc_pipelines.replication.health.judge import connector_problems, is_in_passing


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
