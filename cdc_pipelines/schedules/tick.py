"""Whether a scheduled time launches its run. Where it doesn't, the reason is what people read at the tick."""

from datetime import datetime, timedelta

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.errors import CdcError, NotConfiguredError, RetryableError
from cdc_pipelines.replication.schedules import Schedule
from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.resources.pipelines import PIPELINE_TAG, PipelinesResource
from cdc_pipelines.schedules.conflicts import in_the_way
from cdc_pipelines.schedules.kinds import Kind
from cdc_pipelines.schedules.missed import Missed, missed

_RELOAD = "reload the code location, which then follows it"


def decide(
    context: dg.ScheduleEvaluationContext, pipelines: PipelinesResource, pipeline: str, kind: Kind, loaded: Schedule,
    now: datetime,
) -> dg.RunRequest | dg.SkipReason:
    """The run, or why there is none. `loaded` is the schedule as this code location knows it.

    Raises RetryableError where the control store can't be read: the tick fails, and Dagster tries it again.
    """
    try:
        with pipelines.store() as store:
            record = store.get(pipeline)
            reason = _why_not(context, store, record, kind, loaded, now)
            reason = reason or in_the_way(context.instance, store, pipeline, now)
    except NotConfiguredError:
        return dg.SkipReason(f"pipeline {pipeline} is not configured: `cdc configure` its file, then start it")
    except (CdcError, SQLAlchemyError, OSError) as error:
        # Without its traceback, which Dagster would store: only these words are redacted.
        name = kind.schedule_name(pipeline)
        raise RetryableError(
            redact(f"{name}: {kind.job(loaded)} is not launched while the control store can't be read: {error}")
        ) from None
    if reason is not None:
        return dg.SkipReason(reason)
    return dg.RunRequest(run_config=kind.run_config(record.spec), tags={PIPELINE_TAG: pipeline})


def _why_not(
    context: dg.ScheduleEvaluationContext, store: ControlStore, record: PipelineRecord, kind: Kind, loaded: Schedule,
    now: datetime,
) -> str | None:
    schedule, time = kind.of(record.spec), context.scheduled_execution_time
    if schedule is None:
        return f"pipeline {record.name} is configured without schedules.{kind.name} now: {_RELOAD}"
    if (schedule.cron, schedule.timezone, kind.job(schedule)) != (loaded.cron, loaded.timezone, kind.job(loaded)):
        what = f"`{schedule.cron}` ({schedule.timezone}), by {kind.job(schedule)},"
        return f"schedules.{kind.name} is {what} now: {_RELOAD}"
    if time < record.configured_at:
        # After a restart Dagster looks back for up to an hour, and may find a time that is the schedule's only since.
        return f"pipeline {record.name} was configured at {record.configured_at:%Y-%m-%d %H:%M} UTC, after that time"
    if not record.is_active:
        return f"pipeline {record.name} is not active (status {record.status}): once it is started, this goes on"
    if now - time > timedelta(minutes=schedule.late_minutes):
        name, job = kind.schedule_name(record.name), kind.job(schedule)
        return missed(context.log, store, record, Missed(record.name, name, job, time, now, schedule.late_minutes))
    return None
