"""What Dagster shows of configured pipelines, in short: by it one sees that it was loaded before the last change."""

from collections.abc import Iterable

from cdc_pipelines.assets.declared import DeclaredPipeline
from cdc_pipelines.schedules.kinds import KINDS

Shown = dict[str, dict[str, str]]
"""Pipeline → each of its tables and schedules by name → the table's target; the schedule's time and job, in words."""


def shown(pipelines: Iterable[DeclaredPipeline]) -> Shown:
    """Of those that are configured. All else that is configured counts without being loaded anew."""
    return {each.name: _tables(each) | schedules_of(each) for each in pipelines if each.configured}


def _tables(pipeline: DeclaredPipeline) -> dict[str, str]:
    return {f"table {table.name}": f"{table.target_schema}.{table.target_name}" for table in pipeline.tables}


def schedules_of(pipeline: DeclaredPipeline) -> dict[str, str]:
    """The pipeline's schedules by name: time and job, in words."""
    found = {kind: kind.of(pipeline.spec) for kind in KINDS}
    return {
        kind.schedule_name(pipeline.name): f"`{schedule.cron}` ({schedule.timezone}), by {kind.job(schedule)}"
        for kind, schedule in found.items() if schedule is not None
    }
