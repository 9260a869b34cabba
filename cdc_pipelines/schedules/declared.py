"""One Dagster schedule for each that a pipeline's file declares: `resync__shop`, `verify__shop`.

They run from the moment they are loaded: who writes a schedule into a file wants it to happen, without a click. The
times are those that Dagster loaded; whether a run is due is decided at each of them, by what is configured then.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import dagster as dg

from cdc_pipelines.assets.declared import DeclaredPipeline
from cdc_pipelines.replication.schedules import Schedule
from cdc_pipelines.resources.pipelines import PIPELINE_TAG, PipelinesResource
from cdc_pipelines.schedules.kinds import KINDS, Kind
from cdc_pipelines.schedules.tick import decide


def pipeline_schedules(pipelines: Iterable[DeclaredPipeline]) -> Iterator[dg.ScheduleDefinition]:
    """The schedules of all pipelines: as they were configured, or as the file says where it never was."""
    for pipeline in pipelines:
        for kind in KINDS:
            schedule = kind.of(pipeline.spec)
            if schedule is not None:
                yield _definition(pipeline.name, kind, schedule)


def _definition(pipeline: str, kind: Kind, schedule: Schedule) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=kind.schedule_name(pipeline),
        description=f"{kind.does(schedule, pipeline)}: `{kind.job(schedule)}` at `{schedule.cron}` "
        f"({schedule.timezone}), as the pipeline's file says in `schedules.{kind.name}`. A tick that launches nothing "
        "says why.",
        job_name=kind.job(schedule),
        cron_schedule=schedule.cron,
        execution_timezone=schedule.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        tags={PIPELINE_TAG: pipeline},
    )
    def tick(
        context: dg.ScheduleEvaluationContext, pipelines: PipelinesResource
    ) -> dg.RunRequest | dg.SkipReason:
        return decide(context, pipelines, pipeline, kind, schedule, datetime.now(UTC))

    return tick
