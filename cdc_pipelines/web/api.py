"""`/cdc/…`: save, start, stop, restart, verify, and everything that can be seen. Documented by /openapi.json."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from cdc_pipelines.replication.operations.discover import discover
from cdc_pipelines.web import documents as d
from cdc_pipelines.web import facts, files, letters, problems, tables_api
from cdc_pipelines.web.answers import Masked
from cdc_pipelines.web.parts import Id, Parts
from cdc_pipelines.web.watch import SAMPLE_EVERY_S

_BODY = {
    "requestBody": {
        "required": True,
        "description": "The pipeline's file; docs/pipeline.md describes every setting. `name` must be in it.",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Pipeline"}},
            "application/yaml": {"schema": {"type": "string"}},
        },
    }
}


def router(parts: Parts) -> APIRouter:
    """The API over these parts."""
    api = APIRouter(prefix="/cdc", responses=problems.OTHERWISE, default_response_class=Masked)
    store, watch = parts.store, parts.watch

    @api.get("/config/", response_model=d.ConfigList, summary="All pipelines")
    def list_() -> Any:
        return {"success": True, "pipelines": [facts.configured(record) for record in store.list()]}

    @api.post(
        "/config/", response_model=d.Saved, status_code=HTTPStatus.CREATED, openapi_extra=_BODY,
        responses={HTTPStatus.OK: {"model": d.Saved, "description": "It was there, and is changed; or a plan"}},
        summary="Save a pipeline, or change one",
        description="It is checked against its live source, written as `pipelines/<name>.yaml` and saved with status "
        "`configured`, inactive. Nothing is made in Kafka Connect or the target.",
    )
    async def save(
        request: Request, response: Response,
        plan: Annotated[bool, Query(description="Save nothing; tell what saving would change, and when.")] = False,
    ) -> Any:
        text = files.text_of(await request.body(), request.headers.get("content-type", ""))
        result = await run_in_threadpool(files.save, text, parts.settings.pipelines, store, plan=plan)
        if not plan:
            parts.saved(result)
        if plan or not result.created:
            response.status_code = HTTPStatus.OK
        return {
            "success": True, "pipeline": facts.configured(result.record) if result.record else None,
            "saved": not plan, "created": result.created,
            "changes": [{"what": each.what, "effect": each.effect} for each in result.changes],
            "needs_resync": result.needs_resync, "file": str(parts.settings.pipelines / f"{result.spec.name}.yaml"),
        }

    @api.post("/discover/", response_model=d.Discovered, summary="Look at a source: tables, columns, sizes")
    def look(options: d.DiscoverOptions) -> Any:
        found = discover(options.source)
        return {"success": True} | facts.discovered(found, options.name, facts.free_config_id(store))

    @api.get("/config/{id}/status/", response_model=d.StatusAnswer, summary="The status of a pipeline")
    def status(id: Id) -> Any:
        return {"success": True, "status": watch.status(store.by_config(id))}

    @api.get("/config/{id}/tables/", response_model=d.Tables, summary="Its tables, in figures")
    def tables(id: Id) -> Any:
        record = store.by_config(id)
        return {"success": True, "tables": facts.tables(record, watch.status(record))}

    @api.get("/config/{id}/incidents/", response_model=d.Incidents, summary="When it was not healthy, the newest first")
    def incidents(id: Id, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> Any:
        return {"success": True, "incidents": facts.incidents(store, store.by_config(id).name, limit)}

    @api.get(
        "/config/{id}/lag/", response_model=d.Lag, summary="How the lag went",
        description="Samples of the last four hours, the oldest first, as long as this server has run.",
    )
    def lag(id: Id) -> Any:
        samples = [each.to_dict() for each in watch.history(store.by_config(id).name)]
        return {"success": True, "every_seconds": SAMPLE_EVERY_S, "samples": samples}

    _actions(api, parts)
    tables_api.add_to(api, parts)
    letters.add_to(api, parts)
    return api


def _actions(api: APIRouter, parts: Parts) -> None:
    """Each launches a Dagster job and answers at once: 202, with the run."""
    store = parts.store
    accepted: dict[str, Any] = {"response_model": d.Accepted, "status_code": HTTPStatus.ACCEPTED}

    @api.post("/config/{id}/start/", summary="Start: validate, copy, connector, consumer", **accepted)
    def start(id: Id, options: d.StartOptions | None = None) -> Any:
        config = (options or d.StartOptions()).model_dump()
        return {"success": True, "run": parts.act(store.by_config(id), "start_replication", config)}

    @api.post("/config/{id}/stop/", summary="Stop: the consumer ends, the connector pauses", **accepted)
    def stop(id: Id) -> Any:
        return {"success": True, "run": parts.act(store.by_config(id), "stop_replication")}

    @api.post("/config/{id}/restart/", summary="Stop and start where it was; nothing is copied", **accepted)
    def restart(id: Id) -> Any:
        return {"success": True, "run": parts.act(store.by_config(id), "restart_replication")}

    @api.post("/config/{id}/verify/", summary="Compare both sides, row by row", **accepted)
    def verify(id: Id, options: d.VerifyOptions | None = None) -> Any:
        config = (options or d.VerifyOptions()).model_dump(exclude_none=True)
        return {"success": True, "run": parts.act(store.by_config(id), "verify_replication", config)}
