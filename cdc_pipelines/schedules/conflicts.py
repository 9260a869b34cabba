"""What else is at work on a pipeline: runs under way or waiting, operations of the command line.

A run that came on top would wait for the pipeline's lease, give up after a minute or two and fail; or wait in the queue
and then copy anew what was copied just now. So a schedule does not even launch it.
"""

from datetime import datetime, timedelta

import dagster as dg
from dagster import DagsterRunStatus, RunRecord, RunsFilter

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.resources.pipelines import PIPELINE_TAG

JOBS = frozenset(
    (
        "start_replication", "stop_replication", "restart_replication", "verify_replication", "heal_replication",
        "resync_tables", "release_tables", "add_table", "remove_table",
        "teardown",
    )
)
"""The jobs that have the pipeline to themselves. Runs of assets and checks show by their lease."""

_UNDER_WAY = [
    DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING,
]
_SILENCE = timedelta(minutes=10)  # far more than a lease lasts, and than a step waits between two tries


def in_the_way(instance: dg.DagsterInstance, store: ControlStore, pipeline: str, now: datetime) -> str | None:
    """Why nothing more can be done with the pipeline now; None where nobody is at work on it."""
    for record in instance.get_run_records(RunsFilter(statuses=_UNDER_WAY)):
        run = record.dagster_run
        # A run that waits has its tag only where a schedule launched it; its settings name the pipeline always.
        names = (run.tags.get(PIPELINE_TAG), run.run_config.get("pipeline"))
        if run.job_name in JOBS and pipeline in names and not _is_silent(instance, record, now):
            return f"run {run.run_id} of {run.job_name} on pipeline {pipeline} is {run.status.value.lower()}"
    held = store.lease_info(pipeline)
    if held is None:
        return None
    holder = instance.get_run_by_id(held.holder)
    if holder is not None and holder.is_finished:
        return None  # it was killed: the next run takes the pipeline from it
    who = f"run {held.holder}" if holder is not None else held.holder
    return f"pipeline {pipeline} is held by {who} for `{held.operation}` since {held.acquired_at:%Y-%m-%d %H:%M:%S} UTC"


def _is_silent(instance: dg.DagsterInstance, record: RunRecord, now: datetime) -> bool:
    """Whether a run under way said nothing for long: Dagster never hears that a machine went down with its runs.

    One that is silent because it has much to do holds the pipeline, and is in the way by that.
    """
    run = record.dagster_run
    if run.status == DagsterRunStatus.QUEUED:
        return False
    newest = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    last = newest[0].timestamp if newest else record.create_timestamp.timestamp()
    return now.timestamp() - last > _SILENCE.total_seconds()
