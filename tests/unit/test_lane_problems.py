"""What is told of lanes on which nobody works."""

from datetime import UTC, datetime, timedelta

import pytest

from cdc_pipelines.replication.health.judge import lane_problems
from cdc_pipelines.replication.lanes.runtime import SILENT_AFTER_S

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("phase", "silent_s", "kinds"),
    [
        ("copying", SILENT_AFTER_S - 1, []),
        ("merged", SILENT_AFTER_S - 1, []),
        ("copying", SILENT_AFTER_S + 1, ["lane_idle"]),
        ("following", 3600, ["lane_idle"]),
        ("detached", SILENT_AFTER_S + 1, ["table_left_behind"]),
        ("merged", 3600, ["table_left_behind"]),
    ],
)
def test_a_lane_that_nobody_works_on_is_told_with_the_command_that_finishes_it(
    phase: str, silent_s: float, kinds: list[str]
) -> None:
    lane = {"table": "orders", "phase": phase, "last_beat": (NOW - timedelta(seconds=silent_s)).isoformat()}
    found = list(lane_problems("shop", [lane], NOW))
    assert [each.kind for each in found] == kinds
    assert all("cdc resync shop --table orders" in each.next_step for each in found)
