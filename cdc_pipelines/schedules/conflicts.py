"""What else is at work on a pipeline: runs under way or waiting, operations of the command line.

A run that came on top would wait for the pipeline's lease, give up after a minute or two and fail; or wait in the queue
and then copy anew what was copied just now. So a schedule does not even launch it.
"""

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.resources.pipelines import PIPELINE_TAG

JOBS = frozenset(
    (
        "start_replication", "stop_replication", "restart_replication", "verify_replication", "heal_replication",
        "teardown",
    )
)
"""The jobs that have the pipeline to themselves. Runs of assets and checks show by their lease."""

_UNDER_WAY = [
    DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING,
]


def in_the_way(instance: dg.DagsterInstance, store: ControlStore, pipeline: str) -> str | None:
    """Why nothing more can be done with the pipeline now; None where nobody is at work on it."""
    for run in instance.get_runs(RunsFilter(statuses=_UNDER_WAY)):
        # A run that waits has its tag only where a schedule launched it; its settings name the pipeline always.
        names = (run.tags.get(PIPELINE_TAG), run.run_config.get("pipeline"))
        if run.job_name in JOBS and pipeline in names:
            return f"run {run.run_id} of {run.job_name} on pipeline {pipeline} is {run.status.value.lower()}"
    held = store.lease_info(pipeline)
    if held is None:
        return None
    holder = instance.get_run_by_id(held.holder)
    if holder is not None and holder.is_finished:
        return None  # it was killed: the next run takes the pipeline from it
    who = f"run {held.holder}" if holder is not None else held.holder
    return f"pipeline {pipeline} is held by {who} for `{held.operation}` since {held.acquired_at:%Y-%m-%d %H:%M:%S} UTC"
