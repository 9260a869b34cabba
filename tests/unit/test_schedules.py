"""Schedules from pipelines' files: what there is in Dagster."""

from pathlib import Path
from typing import Any

import dagster as dg

from cdc_pipelines.jobs.start import start_job
from cdc_pipelines.jobs.tables import resync_tables
from cdc_pipelines.jobs.verify import verify_replication
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.schedules.conflicts import JOBS
from cdc_pipelines.schedules.kinds import RESYNC, VERIFY, Kind
from tests.unit.dagster_pipelines import configure, file_text
from tests.unit.schedule_store import BOTH, RESYNC_AT, VERIFY_AT, loaded, store

__all__ = ["store"]  # fixtures


def test_a_schedule_for_each_that_a_file_declares(store: ControlStore) -> None:
    configure(store, "shop", 1, schedules=BOTH)
    configure(store, "billing", 2, schedules={"verify": VERIFY_AT})
    configure(store, "idle", 3)
    schedules = loaded()
    assert sorted(schedules) == ["resync__shop", "verify__billing", "verify__shop"]
    resync, verify = schedules["resync__shop"], schedules["verify__shop"]
    assert (resync.cron_schedule, resync.execution_timezone) == ("0 3 * * 0", "Europe/Berlin")
    assert (verify.cron_schedule, verify.execution_timezone) == ("30 2 * * *", "UTC")
    assert (resync.job_name, verify.job_name) == ("start_replication", "verify_replication")
    for schedule in schedules.values():
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING, "it runs without a click"
        assert schedule.description
        assert schedule.tags["cdc/pipeline"] == schedule.name.split("__")[1]


def test_they_follow_what_was_configured_or_the_file_if_it_never_was(store: ControlStore, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(file_text(schedules={"verify": VERIFY_AT}))
    assert loaded()["verify__shop"].cron_schedule == "30 2 * * *"
    configure(store, "shop", schedules={"verify": {"cron": "0 5 * * *"}})
    assert loaded()["verify__shop"].cron_schedule == "0 5 * * *"
    (tmp_path / "shop.yaml").write_text(file_text(schedules={"resync": RESYNC_AT}))
    assert list(loaded()) == ["verify__shop"], "edited, not configured"


def test_the_jobs_know_the_settings(store: ControlStore) -> None:
    verify = VERIFY_AT | {"repair": True, "tables": ["orders"], "rows_per_second": 500, "late_minutes": 5}
    configure(store, "shop", schedules={"resync": RESYNC_AT, "verify": verify})
    configure(store, "billing", 2, schedules={"verify": VERIFY_AT})
    chosen = {"resync": RESYNC_AT | {"tables": ["orders"]}}
    configure(store, "audit", 3, schedules=chosen)
    jobs = {
        "start_replication": start_job([]), "verify_replication": verify_replication, "resync_tables": resync_tables
    }
    expected: list[tuple[str, Kind, dict[str, Any]]] = [
        ("audit", RESYNC, {"pipeline": "audit", "tables": ["orders"]}),
        ("shop", RESYNC, {"pipeline": "shop", "force_resync": True}),
        ("shop", VERIFY, {"pipeline": "shop", "tables": ["orders"], "repair": True, "rows_per_second": 500}),
        ("billing", VERIFY, {"pipeline": "billing", "tables": [], "repair": False}),
    ]
    for pipeline, kind, config in expected:
        spec = store.get(pipeline).spec
        assert kind.run_config(spec) == config
        schedule = kind.of(spec)
        assert schedule is not None
        assert dg.validate_run_config(jobs[kind.job(schedule)], config)


def test_every_job_of_one_pipeline_is_in_the_way_of_its_schedules() -> None:
    """Whoever adds a job decides whether it is."""
    from cdc_pipelines.definitions import defs

    configs = {job.name: job.config_mapping.config_schema.config_type for job in defs.jobs or []}  # type: ignore
    looks_on = {"replication_health", "dead_letters", "retry_dead_letter", "skip_dead_letter"}
    assert {name for name, config in configs.items() if "pipeline" in config.fields} - looks_on == JOBS
