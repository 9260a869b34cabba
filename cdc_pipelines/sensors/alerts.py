"""`alerts` and `alert_follow_ups`: people are told of incidents and of failed runs.

`alerts` sees every failed run of this code location, soon; what takes longer than one look is `alert_follow_ups`':
reminders, incidents that become worse or end, messages that did not go out. Both may tell the same thing: the control
store lets one of them. A run that a person terminated is CANCELED, which is no failure.
"""

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from cdc_pipelines.jobs.dead_letters import retry_dead_letter
from cdc_pipelines.jobs.health import INCIDENT_TAG, heal_replication, replication_health
from cdc_pipelines.replication.alerts.telling import Teller
from cdc_pipelines.replication.errors import CdcError, RetryableError
from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.resources.pipelines import PipelinesResource
from cdc_pipelines.sensors.failed_runs import failed_run, will_be_retried

_OUTAGES = (RetryableError, SQLAlchemyError, OSError)


class TryAgainError(dg.DagsterError):
    """Ends the tick, so that the next one sees the run again.

    After any other error Dagster goes on to the next run, and just when the control store is out of reach, runs fail.
    """


@dg.run_failure_sensor(
    name="alerts", minimum_interval_seconds=15, default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people of failed runs, and of incidents, for which runs of `replication_health` fail: through "
    "the channels in the section `alerts` of the pipeline's file.",
)
def alerts(context: dg.RunFailureSensorContext, pipelines: PipelinesResource) -> None:
    """One failed run. What it tells is told once, even where Dagster shows the run again."""
    run = context.dagster_run
    incident = run.tags.get(INCIDENT_TAG, "")
    if run.job_name in (heal_replication.name, retry_dead_letter.name):
        return  # the incident that it could not mend is told; and whoever tries a letter sees the answer
    try:
        with pipelines.store() as store:
            teller = Teller(store, context.log)
            if run.job_name == replication_health.name and incident.isdecimal():
                teller.incident_raised(int(incident), run.run_id)
            elif not will_be_retried(run) and (failed := failed_run(context)) is not None:
                teller.run_failed(failed)
    except _OUTAGES as error:
        raise TryAgainError(f"run {run.run_id} can't be told yet: {redact(str(error))}") from None


@dg.sensor(
    name="alert_follow_ups", minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reminds people of incidents that last, tells them of those that become worse and of their end, and "
    "tells again what no channel took.",
)
def alert_follow_ups(context: dg.SensorEvaluationContext, pipelines: PipelinesResource) -> dg.SkipReason | None:
    """One look at the control store's incidents and messages, within 40 s."""
    try:
        with pipelines.store() as store:
            told = Teller(store, context.log).follow_up()
    except (CdcError, *_OUTAGES) as error:
        return dg.SkipReason(f"the control store can't be read: {redact(str(error))}")
    return dg.SkipReason(f"{told} message(s) told" if told else "nothing to tell")
