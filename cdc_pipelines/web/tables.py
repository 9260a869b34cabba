"""Single tables of a running pipeline: whom one may ask for what, and the launch of what was asked."""

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any

from cdc_pipelines.replication.control.store import PipelineRecord
from cdc_pipelines.web.launch import RESYNC
from cdc_pipelines.web.parts import Parts
from cdc_pipelines.web.problems import ProblemError

Run = dict[str, Any]


def resync(parts: Parts, record: PipelineRecord, table: str) -> Run:
    """Launch a new copy of one table, beside the stream."""
    require(record, table)
    return launch(parts, record, RESYNC, table, {"tables": [table]})


def require(record: PipelineRecord, table: str, also: Collection[str] = ()) -> None:
    """Raises ProblemError unless the pipeline has the table, or it is one of `also`, and streams."""
    names = [each.name for each in record.tables]
    if table not in names and table not in also:
        shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        raise ProblemError(
            HTTPStatus.NOT_FOUND, "no_such_table", "No such table",
            f"pipeline {record.name} has no table {table}; it has {shown}",
            f"POST /cdc/config/{record.config}/tables/ takes one in, as does `cdc add-table {record.name}`.",
        )
    require_stream(record)


def require_stream(record: PipelineRecord) -> None:
    """Raises ProblemError unless the pipeline streams."""
    if record.status != "running":
        raise ProblemError(
            HTTPStatus.CONFLICT, "not_streaming", "The pipeline does not stream",
            f"pipeline {record.name} is {record.status}, and single tables are copied beside its stream",
            "start it first: a start also brings its tables in line with its file.",
        )


def launch(
    parts: Parts, record: PipelineRecord, job: str, table: str, config: dict[str, Any],
    prepare: Callable[[], None] = lambda: None,
) -> Run:
    """Launch a job on one table; `prepare` is done just before, once it is sure that nothing is in the way."""
    lanes = parts.watch.status(record).get("lanes", [])
    lane = next((each for each in lanes if each["table"] == table), None)
    launched = parts.launcher.launch_on_table(record, job, table, config, lane, prepare)
    parts.look_again(record.name)
    return launched.to_dict()
