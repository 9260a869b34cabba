"""The kinds of schedules: each launches one of the jobs, with the settings that a person would give it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.schedules import Schedule


@dataclass(frozen=True)
class Kind:
    """`name` is the setting's in the file, `job` what is launched, always with `settings` beside the file's own."""

    name: str
    job: str
    does: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of(self, pipeline: Pipeline) -> Schedule | None:
        """The pipeline's schedule of this kind."""
        schedule: Schedule | None = getattr(pipeline.schedules, self.name)
        return schedule

    def schedule_name(self, pipeline: str) -> str:
        return f"{self.name}__{pipeline}"

    def run_config(self, pipeline: Pipeline) -> dict[str, Any]:
        """What the job's Launchpad asks for. All that a schedule says beside its time is a setting of its job."""
        schedule = self.of(pipeline)
        own = schedule.model_dump(exclude=set(Schedule.model_fields), exclude_none=True) if schedule else {}
        return {"pipeline": pipeline.name, **self.settings, **own}


RESYNC = Kind(
    "resync", "start_replication", "Copies every table of pipeline {} anew, into emptied tables", {"force_resync": True}
)
VERIFY = Kind("verify", "verify_replication", "Compares both sides of pipeline {} while it runs")
KINDS = (RESYNC, VERIFY)
