"""What a schedule's tick launches, and why it doesn't."""

import importlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import yaml
from dagster import DagsterRunStatus
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test, freeze_time

from cdc_pipelines.assets.declared import declared_pipelines
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.secrets import resolve_secret
from cdc_pipelines.resources.pipelines import PipelinesResource
from cdc_pipelines.schedules import tick as module
from cdc_pipelines.schedules.conflicts import JOBS
from cdc_pipelines.schedules.kinds import RESYNC, VERIFY, Kind
from tests.unit.dagster_pipelines import configure
from tests.unit.schedule_store import BOTH, VERIFY_AT, loaded, store

__all__ = ["store"]  # fixtures


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as instance:
        yield instance


Tick = Callable[..., dg.RunRequest | str | None]


@pytest.fixture
def tick(store: ControlStore, instance: dg.DagsterInstance) -> Iterator[Tick]:
    """Evaluate `resync` or `verify` of the active pipeline `shop` at a time; the run it launches, or the reason."""
    configure(store, "shop", schedules=BOTH)
    store.set_status("shop", "running", is_active=True)
    now = datetime.now(UTC) + timedelta(seconds=1)

    def evaluate(
        kind: Kind = VERIFY, *, late: timedelta = timedelta(0), at: datetime = now
    ) -> dg.RunRequest | str | None:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at)
        schedule = kind.of(declared[0].spec)
        assert schedule is not None
        result = module.decide(context, PipelinesResource(), "shop", kind, schedule, at + late)
        return result if isinstance(result, dg.RunRequest) else result.skip_message

    declared = declared_pipelines()  # as loaded before anything changes
    yield evaluate
    instance.wipe()


def make_run(
    instance: dg.DagsterInstance, job: str, status: str, pipeline: str | None = "shop", **more: Any
) -> dg.DagsterRun:
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("cdc_pipelines"), "__repository__")
    return create_run_for_test(
        instance, job_name=job, status=DagsterRunStatus(status), tags={"cdc/pipeline": pipeline} if pipeline else {},
        remote_job_origin=RemoteJobOrigin(repository, job), **more,
    )


def test_a_tick_launches_the_run(tick: Tick) -> None:
    resync, verify = tick(RESYNC), tick(VERIFY)
    assert isinstance(resync, dg.RunRequest)
    assert resync.run_config == {"pipeline": "shop", "force_resync": True}
    assert resync.tags["cdc/pipeline"] == "shop"
    assert isinstance(verify, dg.RunRequest)
    assert verify.run_config == {"pipeline": "shop", "tables": [], "repair": False}


def test_the_schedule_itself_gives_what_a_tick_decides(store: ControlStore, instance: dg.DagsterInstance) -> None:
    """As the daemon evaluates it, resource and all."""
    configure(store, "shop", schedules={"verify": VERIFY_AT | {"repair": True}})
    store.set_status("shop", "running", is_active=True)
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime.now(UTC), resources={"pipelines": PipelinesResource()}
    )
    (request,) = loaded()["verify__shop"].evaluate_tick(context).run_requests or []
    assert request.run_config["repair"] is True
    assert request.tags["cdc/pipeline"] == "shop"


@pytest.mark.parametrize(
    ("job", "status"),
    [
        *((job, "STARTED") for job in sorted(JOBS)),
        *(("verify_replication", status) for status in ("QUEUED", "STARTING", "CANCELING")),
    ],
)
def test_nothing_comes_on_top_of_a_run(tick: Tick, instance: dg.DagsterInstance, job: str, status: str) -> None:
    run = make_run(instance, job, status)
    for kind in (RESYNC, VERIFY):
        reason = tick(kind)
        assert reason == f"run {run.run_id} of {job} on pipeline shop is {status.lower()}"


def test_a_run_that_waits_untagged_is_known_by_its_settings(tick: Tick, instance: dg.DagsterInstance) -> None:
    """As one launched by hand: it gets its tag when it begins."""
    run = make_run(instance, "verify_replication", "QUEUED", pipeline=None, run_config={"pipeline": "shop"})
    assert run.run_id in str(tick(RESYNC))


def test_other_runs_are_not_in_the_way(tick: Tick, instance: dg.DagsterInstance) -> None:
    for job, status, pipeline in (
        ("verify_replication", "STARTED", "billing"), ("verify_replication", "SUCCESS", "shop"),
        ("start_replication", "FAILURE", "shop"), ("start_replication", "CANCELED", "shop"),
        ("configure", "STARTED", "shop"),
    ):  # fmt: skip
        make_run(instance, job, status, pipeline)
    assert isinstance(tick(RESYNC), dg.RunRequest)


def test_nothing_comes_on_top_of_the_command_line(tick: Tick, store: ControlStore) -> None:
    with store.lease("shop", "db1.example:4711", "verify"):
        reason = str(tick(RESYNC))
        assert "pipeline shop is held by db1.example:4711 for `verify` since" in reason
    with store.lease("billing", "db1.example:4711", "verify"):
        assert isinstance(tick(RESYNC), dg.RunRequest)


def test_a_lease_that_a_killed_run_left_is_not_in_the_way(
    tick: Tick, store: ControlStore, instance: dg.DagsterInstance
) -> None:
    for status, held in (("STARTED", True), ("FAILURE", False)):
        run = make_run(instance, "__ASSET_JOB", status)
        with store.lease("shop", run.run_id, "check", keep=True):
            pass
        reason = tick(VERIFY)
        assert (f"held by run {run.run_id}" in str(reason)) == held
        assert isinstance(reason, dg.RunRequest) != held
        store.release("shop", run.run_id)


def test_a_run_whose_machine_went_down_is_not_in_the_way_for_ever(
    tick: Tick, store: ControlStore, instance: dg.DagsterInstance
) -> None:
    """Dagster shows it as started until somebody ends it by hand."""
    run = make_run(instance, "verify_replication", "STARTED")
    later, much_later = timedelta(minutes=9), timedelta(minutes=11)
    assert run.run_id in str(tick(RESYNC, late=later))
    assert isinstance(tick(RESYNC, late=much_later), dg.RunRequest)
    with store.lease("shop", run.run_id, "verify"):
        assert run.run_id in str(tick(RESYNC, late=much_later)), "it holds the pipeline: it is a long run"
    with freeze_time(datetime.now(UTC) + later):
        instance.report_engine_event("step up for retry", run)
    assert run.run_id in str(tick(RESYNC, late=much_later)), "it said something two minutes ago"
    make_run(instance, "verify_replication", "QUEUED")
    assert "is queued" in str(tick(RESYNC, late=timedelta(minutes=59))), "one may wait for as long as it must"


@pytest.mark.parametrize("kind", [RESYNC, VERIFY])
def test_what_its_owner_stopped_is_left_alone(tick: Tick, store: ControlStore, kind: Kind) -> None:
    store.set_status("shop", "stopped", is_active=False)
    assert "pipeline shop is not active (status stopped)" in str(tick(kind))
    store.set_status("shop", "failed", is_active=True)
    assert isinstance(tick(kind), dg.RunRequest), "a resync may be what mends it"


def test_what_is_not_configured_any_more_is_left_alone(tick: Tick, store: ControlStore) -> None:
    store.delete("shop")
    assert "pipeline shop is not configured" in str(tick(VERIFY))


def test_a_definition_that_is_out_of_date_launches_nothing(tick: Tick, store: ControlStore) -> None:
    """Until the code location is reloaded: nobody wants a resync at a time that he has just changed."""
    later = datetime.now(UTC) + timedelta(minutes=1)
    configure(store, "shop", schedules={"resync": {"cron": "0 4 * * 0"}, "verify": VERIFY_AT | {"repair": True}})
    assert tick(RESYNC, at=later) == (
        "schedules.resync is `0 4 * * 0` (UTC), by start_replication, now: reload the code location, which then "
        "follows it"
    )
    verify = tick(VERIFY, at=later)
    assert isinstance(verify, dg.RunRequest)
    assert verify.run_config["repair"] is True, "its settings are those that are configured now"
    configure(store, "shop")
    assert "is configured without schedules.verify now" in str(tick(VERIFY, at=later))


def test_a_time_before_it_was_configured_launches_nothing(tick: Tick) -> None:
    assert "was configured at" in str(tick(RESYNC, at=datetime.now(UTC) - timedelta(minutes=5)))


@pytest.mark.parametrize(("minutes", "due"), [(59, True), (60, True), (61, False)])
def test_what_comes_too_late_is_left_out(
    tick: Tick, monkeypatch: pytest.MonkeyPatch, minutes: int, due: bool
) -> None:
    told: list[module.Missed] = []
    tell = module.missed
    monkeypatch.setattr(module, "missed", lambda *given: (told.append(given[-1]), tell(*given))[1])
    at = (datetime.now(UTC) + timedelta(minutes=1)).astimezone(ZoneInfo("Europe/Berlin"))
    result = tick(RESYNC, at=at, late=timedelta(minutes=minutes))
    assert isinstance(result, dg.RunRequest) == due
    if due:
        assert told == []
        return
    (what,) = told
    assert (what.pipeline, what.schedule, what.time) == ("shop", "resync__shop", at)
    assert "1 h 1 min late" in str(result)
    assert f"{at:%Y-%m-%d %H:%M %Z}" in str(result)
    assert "launch start_replication for pipeline shop" in str(result)


def test_what_is_missed_is_a_warning_and_waits_to_be_told(
    store: ControlStore, caplog: pytest.LogCaptureFixture
) -> None:
    configure(store, "shop", 1, schedules=BOTH, alerts={"apprise": ["${env:CHAT}"]})
    configure(store, "quiet", 2, schedules=BOTH)
    shop, quiet = store.get("shop"), store.get("quiet")
    time = datetime(2026, 5, 3, 3, 0, tzinfo=UTC)
    what = module.Missed("shop", "resync__shop", "start_replication", time, time + timedelta(days=2, seconds=20), 60)
    with caplog.at_level(logging.WARNING):
        assert module.missed(logging.getLogger("t"), store, shop, what) == caplog.messages[0]
        module.missed(logging.getLogger("t"), store, shop, what)
        module.missed(logging.getLogger("t"), store, quiet, replace(what, pipeline="quiet"))
    assert "2 d 1 min late" in caplog.text
    (waiting,) = store.waiting_messages(datetime.now(UTC) + timedelta(days=3))
    assert (waiting.pipeline, waiting.event) == ("shop", "schedule_missed"), "one, and only of who listens"
    assert "2 d 1 min late" in waiting.document


def test_a_stopped_pipeline_misses_nothing(tick: Tick, store: ControlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "missed", lambda *_: pytest.fail("told as missed"))
    store.set_status("shop", "stopped", is_active=False)
    assert "not active" in str(tick(RESYNC, late=timedelta(days=3)))


def test_a_store_out_of_reach_fails_the_tick(tick: Tick, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it shows as failed and is tried again; a tick that is skipped would be the end of it."""
    monkeypatch.setenv("CDC_CONTROL_URL", "postgresql+psycopg2://cdc:sup3rs3cret@127.0.0.1:1/control")
    with pytest.raises(RetryableError, match="verify__shop: verify_replication is not launched while") as caught:
        tick(VERIFY)
    assert "control store postgresql" in str(caught.value)
    assert "sup3rs3cret" not in str(caught.value)
    assert caught.value.__suppress_context__, "what is below it is not stored either"

    def refuse(*_: object, **__: object) -> ControlStore:
        raise RetryableError("no route for kn0wns3cret", "")

    resolve_secret("${env:PASSWORD}", {"PASSWORD": "kn0wns3cret"})
    monkeypatch.setattr(ControlStore, "open", refuse)
    with pytest.raises(RetryableError, match=r"no route for \*+"):
        tick(VERIFY)


@pytest.mark.parametrize("file", ["dagster.yaml", "deploy/local/dagster.yaml"])
def test_a_failed_tick_is_tried_again(file: str) -> None:
    scheduler = yaml.safe_load((Path(__file__).resolve().parents[2] / file).read_text())["scheduler"]
    found = getattr(importlib.import_module(scheduler["module"]), scheduler["class"])
    assert found(**scheduler["config"]).max_tick_retries >= 5
