"""A configured pipeline's file, changed on the page: what that comes to is told before it is saved."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from cdc_pipelines.replication.control.store import PipelineRecord
from cdc_pipelines.replication.errors import CdcError, ConfigurationError
from cdc_pipelines.replication.operations.configure import ConfigureResult
from cdc_pipelines.replication.operations.saving import configure_and_write
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from cdc_pipelines.web import facts
from cdc_pipelines.web.files import learn_secrets
from cdc_pipelines.web.pages import Pages
from cdc_pipelines.web.parts import Id
from cdc_pipelines.web.problems import Problem, problem_of


class FilePage:
    """`cdc configure FILE --plan`, then `cdc configure FILE`, in a browser."""

    def __init__(self, pages: Pages) -> None:
        self._pages, self._parts = pages, pages.parts

    def router(self) -> APIRouter:
        routes = APIRouter(include_in_schema=False)
        routes.get("/pipelines/{id}/file")(self.edit)
        routes.post("/pipelines/{id}/file")(self.change)
        return routes

    def edit(self, request: Request, id: Id) -> Response:
        record = self._parts.store.by_config(id)
        file = self._parts.settings.pipelines / f"{record.name}.yaml"
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            text = record.file_text
        return self._shown(request, record, text, unsaved=text != record.file_text)

    async def change(self, request: Request, id: Id) -> Response:
        form = await self._pages.proved(request)
        record = await run_in_threadpool(self._parts.store.by_config, id)
        text, plan = form.get("text", "").replace("\r\n", "\n"), form.get("do") != "save"
        try:
            result = await run_in_threadpool(lambda: self._configured(record, text, plan=plan))
        except CdcError as error:
            return self._shown(request, record, text, problem=problem_of(error))
        if plan:
            return self._shown(request, record, text, result=result)
        self._parts.saved(result)
        return RedirectResponse(f"/pipelines/{id}?saved=1", 303)

    def _configured(self, record: PipelineRecord, text: str, *, plan: bool) -> ConfigureResult:
        file = self._parts.settings.pipelines / f"{record.name}.yaml"
        spec = parse_pipeline(text, file)
        if (spec.name, spec.config) != (record.name, record.config):
            raise ConfigurationError(
                f"the file declares pipeline {spec.name} with config id {spec.config}; this is {record.name} with "
                f"{record.config}", "leave `name` and `config` as they are; a new pipeline is set up by New pipeline.",
            )
        learn_secrets(spec)
        return configure_and_write(text, file, self._parts.store, plan=plan)

    def _shown(
        self, request: Request, record: PipelineRecord, text: str, *, unsaved: bool = False,
        problem: Problem | None = None, result: ConfigureResult | None = None,
    ) -> Response:
        return self._pages.shown(
            request, "file.html", problem.status if problem else 200, pipeline=facts.configured(record), text=text,
            unsaved=unsaved, problem=problem, result=result,
        )
