"""The kinds of schedules: each launches one of the jobs, with the settings that a person would give it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.schedules import ResyncSchedule, Schedule, VerifySchedule


class Launch(NamedTuple):
    """A job, its settings beside the pipeline's name, and what it does, in words about the pipeline `{}`."""

    job: str
    settings: Mapping[str, Any]
    does: str


@dataclass(frozen=True)
class Kind:
    """`name` is the setting's in the file; what its schedule launches, and in which words."""

    name: str
    launches: Callable[[Any], Launch]

    def job(self, schedule: Schedule) -> str:
        """The job that the schedule launches."""
        return self.launches(schedule).job

    def does(self, schedule: Schedule, pipeline: str) -> str:
        """In words."""
        return self.launches(schedule).does.format(pipeline)

    def of(self, pipeline: Pipeline) -> Schedule | None:
        """The pipeline's schedule of this kind."""
        schedule: Schedule | None = getattr(pipeline.schedules, self.name)
        return schedule

    def schedule_name(self, pipeline: str) -> str:
        return f"{self.name}__{pipeline}"

    def run_config(self, pipeline: Pipeline) -> dict[str, Any]:
        """What the job's Launchpad asks for. All that a schedule says beside its time is a setting of its job."""
        schedule = self.of(pipeline)
        return {"pipeline": pipeline.name} | (self.launches(schedule).settings if schedule is not None else {})


def _resync(schedule: ResyncSchedule) -> Launch:
    if schedule.tables:
        names = ", ".join(schedule.tables)
        return Launch("resync_tables", {"tables": schedule.tables}, f"Copies {names} of pipeline {{}} again, online")
    does = "Copies every table of pipeline {} anew, into emptied tables"
    return Launch("start_replication", {"force_resync": True}, does)


def _verify(schedule: VerifySchedule) -> Launch:
    own = schedule.model_dump(exclude=set(Schedule.model_fields), exclude_none=True)
    return Launch("verify_replication", own, "Compares both sides of pipeline {} while it runs")


RESYNC = Kind("resync", _resync)
VERIFY = Kind("verify", _verify)
KINDS = (RESYNC, VERIFY)
