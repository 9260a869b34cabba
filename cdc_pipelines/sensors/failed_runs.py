"""From a failed run, as Dagster keeps it, to what people must know: which pipeline, which step, the real reason."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from cdc_pipelines.replication.alerts.message import FailedRun, FailedStep
from cdc_pipelines.resources.pipelines import PIPELINE_TAG

_WILL_RETRY_TAG = "dagster/will_retry"
_NEXT_STEP = "next step"
_WRAPPERS = ("RetryRequested", "RetryRequestedFromPolicy", "DagsterExecutionStepExecutionError")


def will_be_retried(run: dg.DagsterRun) -> bool:
    """Whether Dagster repeats the run by itself: the last try is the one that people must know of."""
    return run.tags.get(_WILL_RETRY_TAG) == "true"


def failed_run(context: dg.RunFailureSensorContext) -> FailedRun | None:
    """None for a run of no pipeline, as of `discover`."""
    run = context.dagster_run
    pipeline = pipeline_of(run)
    if pipeline is None:
        return None
    steps = tuple(_step(event) for event in context.get_step_failure_events())
    # Without a failed step it is Dagster's word: a process that died, a run that could not be started.
    return FailedRun(pipeline, run.job_name, run.run_id, steps, context.failure_event.message or "")


def pipeline_of(run: dg.DagsterRun) -> str | None:
    """By its tag, which the first step sets; a run that never came to one has its config only."""
    config: Mapping[str, Any] = run.run_config
    named = run.tags.get(PIPELINE_TAG) or config.get("pipeline")
    return named if isinstance(named, str) else None


def _step(event: dg.DagsterEvent) -> FailedStep:
    data = event.step_failure_data
    name = event.step_key or "?"
    if data.user_failure_data is not None:  # a `dg.Failure`: words for people
        facts = data.user_failure_data.metadata
        step = facts.get(_NEXT_STEP)
        return FailedStep(name, data.user_failure_data.description or "", str(step.value) if step is not None else "")
    return FailedStep(name, _words(data.error) if data.error is not None else (event.message or ""))


def _words(error: Any) -> str:
    """Of a `SerializableErrorInfo`: the error that the step raised. Dagster wraps it, after retries even twice."""
    while error.cls_name in _WRAPPERS and error.cause is not None:
        error = error.cause
    text = str(error.message).strip()
    module, found, rest = text.partition(f"{error.cls_name}: ")
    return f"{error.cls_name}: {rest}" if found and " " not in module else text
