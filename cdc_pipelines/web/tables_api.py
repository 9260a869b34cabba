"""The API's paths for single tables of a running pipeline."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.convertors import Convertor, register_url_convertor

from cdc_pipelines.web import documents as d
from cdc_pipelines.web import members, tables
from cdc_pipelines.web.parts import Id, Parts

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


def add_to(api: APIRouter, parts: Parts) -> None:
    """The API's actions on single tables: 202, with the run."""
    accepted: dict[str, Any] = {"response_model": d.Accepted, "status_code": HTTPStatus.ACCEPTED}
    store = parts.store

    @api.post(
        "/config/{id}/tables/", summary="Take a table of the source into a running pipeline",
        description="It is copied beside the stream, and then joined to it. The pipeline's file names it then, "
        "if that is as it was configured, and this server may write it; else name it there yourself.",
        **accepted,
    )
    def add_table(id: Id, options: d.NewTable) -> Any:
        return {"success": True, "run": members.add(parts, store.by_config(id), options.table, options.target)}

    @api.post(
        "/config/{id}/tables/{table:table}/resync/", summary="Copy one table again",
        description="While everything streams on. Readers see the old rows, and then the new ones.", **accepted,
    )
    def resync_table(id: Id, table: TableName) -> Any:
        return {"success": True, "run": tables.resync(parts, store.by_config(id), table)}

    @api.delete(
        "/config/{id}/tables/{table:table}/", summary="Leave a table out of a running pipeline",
        description="It is taken out of the pipeline's file as well, if that is as it was configured, and this server "
        "may write it.", **accepted,
    )
    def remove_table(
        id: Id, table: TableName,
        drop_table: Annotated[bool, Query(description="Drop its target table too, which stays otherwise.")] = False,
    ) -> Any:
        return {"success": True, "run": members.remove(parts, store.by_config(id), table, drop_table=drop_table)}
