"""Pipelines with schedules in their files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from cdc_pipelines.assets.declared import declared_pipelines
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.schedules.declared import pipeline_schedules

RESYNC_AT = {"cron": "0 3 * * 0", "timezone": "Europe/Berlin"}
VERIFY_AT = {"cron": "30 2 * * *"}
BOTH = {"resync": RESYNC_AT, "verify": VERIFY_AT}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlStore]:
    """A control store and a folder of pipeline files of this test's own."""
    monkeypatch.setenv("CDC_HOME", str(tmp_path / "cdc"))
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    monkeypatch.setenv("CDC_PIPELINES_DIR", str(tmp_path))
    with contextlib.closing(ControlStore.open()) as store:
        yield store


def loaded() -> dict[str, dg.ScheduleDefinition]:
    return {schedule.name: schedule for schedule in pipeline_schedules(declared_pipelines())}
