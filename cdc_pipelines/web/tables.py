"""Single tables of a running pipeline: who may be asked for what, and the API's paths for it."""

from collections.abc import Collection
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.convertors import Convertor, register_url_convertor

from cdc_pipelines.replication.control.store import PipelineRecord
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.lanes.requests import with_table
from cdc_pipelines.replication.operations.mapping import resolve_table
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.web import documents as d
from cdc_pipelines.web.launch import ADD, REMOVE, RESYNC
from cdc_pipelines.web.parts import Id, Parts
from cdc_pipelines.web.problems import ProblemError

Run = dict[str, Any]
TableName = Annotated[
    str, Path(min_length=1, max_length=200, description="The table's name on the source, percent-encoded.")
]


class _NameConvertor(Convertor[str]):
    """A table's name as a part of a path: it may hold slashes and line ends."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("table", _NameConvertor())


def resync(parts: Parts, record: PipelineRecord, table: str) -> Run:
    """Launch a new copy of one table, beside the stream."""
    require(record, table)
    return _launch(parts, record, RESYNC, table, {"tables": [table]})


def add(parts: Parts, record: PipelineRecord, options: d.NewTable) -> Run:
    """Launch the taking in of a table, once the source was seen to have it in a form that can be replicated."""
    _require_stream(record)
    spec = with_table(record.spec, options.table, options.target)
    with Runtime(record, parts.store, impatient=True) as rt:
        mapped = resolve_table(spec, rt.source.tables(), options.table)
    if options.target not in (None, mapped.target_name):
        raise ConfigurationError(
            f"table {options.table} of pipeline {record.name} lands in {mapped.target_name}, by its configuration",
            f"leave `target` out, instead of {options.target}; or name the table in the pipeline's file.",
        )
    return _launch(parts, record, ADD, options.table, {"table": options.table, "target": options.target or ""})


def remove(parts: Parts, record: PipelineRecord, table: str, *, drop_table: bool) -> Run:
    """Launch the leaving out of a table, or of what an earlier try has left of it on the target."""
    require(record, table, {each["table"] for each in parts.watch.status(record).get("tables", [])})
    if [each.name for each in record.tables] == [table]:
        raise ConfigurationError(
            f"{table} is the only table of pipeline {record.name}", f"`cdc teardown {record.name}` ends the pipeline."
        )
    return _launch(parts, record, REMOVE, table, {"table": table, "drop_table": drop_table})


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
    _require_stream(record)


def _require_stream(record: PipelineRecord) -> None:
    if record.status != "running":
        raise ProblemError(
            HTTPStatus.CONFLICT, "not_streaming", "The pipeline does not stream",
            f"pipeline {record.name} is {record.status}, and single tables are copied beside its stream",
            "start it first: a start also brings its tables in line with its file.",
        )


def _launch(parts: Parts, record: PipelineRecord, job: str, table: str, config: dict[str, Any]) -> Run:
    lanes = parts.watch.status(record).get("lanes", [])
    lane = next((each for each in lanes if each["table"] == table), None)
    launched = parts.launcher.launch_on_table(record, job, table, config, lane)
    parts.watch.look_again(record.name)
    return launched.to_dict()


def add_to(api: APIRouter, parts: Parts) -> None:
    """The API's actions on single tables: 202, with the run."""
    accepted: dict[str, Any] = {"response_model": d.Accepted, "status_code": HTTPStatus.ACCEPTED}
    store = parts.store

    @api.post(
        "/config/{id}/tables/", summary="Take a table of the source into a running pipeline",
        description="It is copied beside the stream, and then joined to it. Name it in the pipeline's file too.",
        **accepted,
    )
    def add_table(id: Id, options: d.NewTable) -> Any:
        return {"success": True, "run": add(parts, store.by_config(id), options)}

    @api.post(
        "/config/{id}/tables/{table:table}/resync/", summary="Copy one table again",
        description="While everything streams on. Readers see the old rows, and then the new ones.", **accepted,
    )
    def resync_table(id: Id, table: TableName) -> Any:
        return {"success": True, "run": resync(parts, store.by_config(id), table)}

    @api.delete(
        "/config/{id}/tables/{table:table}/", summary="Leave a table out of a running pipeline",
        description="Take it out of the pipeline's file too.", **accepted,
    )
    def remove_table(
        id: Id, table: TableName,
        drop_table: Annotated[bool, Query(description="Drop its target table too, which stays otherwise.")] = False,
    ) -> Any:
        return {"success": True, "run": remove(parts, store.by_config(id), table, drop_table=drop_table)}
