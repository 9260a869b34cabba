"""Schedules on a real daemon: a time comes, its run is launched and happens, the other schedule keeps out of its way.

The instance is this test's own and small, SQLite and no webserver: a daemon that runs already would learn of new
schedules only minutes later.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pymysql
import pytest
from dagster._core.scheduler.instigation import InstigatorTick, InstigatorType, TickStatus

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.operations.configure import configure
from tests.conftest import PROJECT
from tests.integration.dagster_instance import wait_for

EACH_MINUTE = {"cron": "* * * * *"}
JOBS = {"resync": "start_replication", "verify": "verify_replication"}


@pytest.fixture
def pipeline(
    tmp_path: Path, mysql_database: str, mysql: pymysql.Connection, target_database: str,
    pipeline_file: Callable[..., Path],
) -> Iterator[tuple[str, ControlStore]]:
    """A pipeline that counts as active, and can neither be copied nor verified: its runs end soon, by our own words."""
    with mysql.cursor() as cursor:
        cursor.execute("create table customers (id int primary key)")
    file = pipeline_file(
        mysql_database, target_database, connect={"url": "http://127.0.0.1:9"},
        schedules={"resync": EACH_MINUTE, "verify": EACH_MINUTE},
    )
    with contextlib.closing(ControlStore.open(f"sqlite:///{tmp_path / 'control.db'}")) as store:
        configure(file, store)
        store.set_status(file.stem, "running", is_active=True)
        yield file.stem, store


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of a running daemon that looks into this test's control store."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_bytes((PROJECT / "deploy" / "local" / "dagster.yaml").read_bytes())
    environment = {
        **os.environ, "DAGSTER_HOME": str(home), "CDC_HOME": str(tmp_path), "CDC_PIPELINES_DIR": str(home / "none"),
    }  # fmt: skip
    with (home / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-m", "cdc_pipelines.definitions"], cwd=PROJECT,
            env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance
    finally:
        daemon.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait(10)


def ticks(instance: dg.DagsterInstance, pipeline: str) -> dict[str, InstigatorTick]:
    """The first ended tick of each schedule."""
    found = {}
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE):
        ended = [t for t in instance.get_ticks(state.instigator_origin_id, state.selector_id) if t.end_timestamp]
        if ended:
            found[state.instigator_name.removesuffix(f"__{pipeline}")] = ended[-1]
    return found


def test_a_time_comes_and_its_run_happens(
    stack: object, pipeline: tuple[str, ControlStore], instance: dg.DagsterInstance
) -> None:
    name, store = pipeline
    wait_for(lambda: len(ticks(instance, name)) == 2, "the minute's ticks", 120)
    by_status = {tick.status: (kind, tick) for kind, tick in ticks(instance, name).items()}
    assert set(by_status) == {TickStatus.SUCCESS, TickStatus.SKIPPED}, by_status

    # One of the two launched its run, which was then seen to be at work by the other.
    kind, launched = by_status[TickStatus.SUCCESS]
    (run_id,) = launched.run_ids
    assert f"run {run_id} of {JOBS[kind]} on pipeline {name} is " in str(by_status[TickStatus.SKIPPED][1].skip_reason)

    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.job_name == JOBS[kind]
    assert run.tags["cdc/pipeline"] == name
    assert run.tags["dagster/schedule_name"] == f"{kind}__{name}"
    asked = {"resync": {"force_resync": True}, "verify": {"tables": [], "repair": False}}[kind]
    assert run.run_config == {"pipeline": name, **asked}

    # And it really ran: it had the pipeline, and failed for the reason that it must.
    wait_for(lambda: store.history(name), "the run's line in the diary", 60)
    entry = store.history(name)[0]
    assert (entry.holder, entry.outcome) == (run_id, "failed")
    assert {"resync": "prerequisites are not met", "verify": "nothing has been streamed"}[kind] in entry.message
