"""Setting a pipeline up in three steps: connect, choose, review and save. Each is a form; nothing is kept between."""

from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.errors import CdcError, ConfigurationError, NotConfiguredError
from cdc_pipelines.replication.operations.discover import Discovery, discover
from cdc_pipelines.replication.operations.mapping import resolve
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from cdc_pipelines.web import draft, facts, files
from cdc_pipelines.web.pages import Pages
from cdc_pipelines.web.problems import Problem, ProblemError, problem_of

Problems = dict[str, Problem]


class Setup:
    """The three steps, over the other pages' parts."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._store = pages.parts.store
        self._folder = pages.parts.settings.pipelines

    def router(self) -> APIRouter:
        routes = APIRouter(include_in_schema=False)
        routes.get("/new")(self.connect)
        routes.post("/new/tables")(self.choose)
        routes.post("/new/review")(self.review)
        routes.post("/new/save")(self.save)
        return routes

    def connect(self, request: Request) -> Response:
        records = self._store.list()
        like = max(records, key=lambda record: record.configured_at).spec if records else None
        return self._step_1(request, draft.defaults(like))

    async def choose(self, request: Request) -> Response:
        """Both servers are asked; then their tables are shown."""
        form = await self._pages.proved(request)
        return await run_in_threadpool(self._connected, request, form)

    async def review(self, request: Request) -> Response:
        """The pipeline's file, made from what was chosen."""
        form = await self._pages.proved(request)
        return await run_in_threadpool(self._chosen, request, form)

    async def save(self, request: Request) -> Response:
        form = await self._pages.proved(request)
        text = form.get("text", "").replace("\r\n", "\n")
        try:
            saved = await run_in_threadpool(files.save, text, self._folder, self._store)
        except (CdcError, ProblemError) as error:
            return self._step_3(request, text, problem_of(error))
        self._pages.parts.saved(saved)
        return RedirectResponse(f"/pipelines/{saved.spec.config}?saved=1", HTTPStatus.SEE_OTHER)

    def _connected(self, request: Request, form: draft.Form) -> Response:
        spec, mistakes = draft.validated(draft.head(form, facts.free_config_id(self._store)))
        if taken := self._taken(form.get("name", "").strip()):
            mistakes.setdefault("name", taken)
        if spec is None or mistakes:
            return self._step_1(request, form, mistakes)
        found, problems = self._ask(spec)
        if found is None or problems:
            return self._step_1(request, form, {}, problems)
        return self._step_2(request, form, found)

    def _chosen(self, request: Request, form: draft.Form) -> Response:
        document = draft.head(form, facts.free_config_id(self._store))
        spec, mistakes = draft.validated(document)
        if spec is None:
            return self._step_1(request, form, mistakes)
        found, problems = self._ask(spec)
        if found is None:
            return self._step_1(request, form, {}, problems)
        tables = draft.choices(found, form)
        try:
            draft.refuse_changed(tables, form)
        except ConfigurationError as error:
            return self._step_2(request, {key: form[key] for key in form if "." not in key or key in _NAMES}, found,
                                problem_of(error))
        try:
            text = draft.text(document, tables)
            resolve(parse_pipeline(text, Path("the form")), found.tables)
        except ConfigurationError as error:
            return self._step_2(request, form, found, problem_of(error))
        return self._step_3(request, text)

    def _ask(self, spec: Pipeline) -> tuple[Discovery | None, Problems]:
        """What the source has; and what is wrong with either server."""
        found, problems = None, {}
        try:
            found = discover(spec.source)
        except (CdcError, ValueError) as error:  # a reference to a port that is no number
            problems["Source"] = _problem(error)
        try:
            connect(spec.target, purpose=f"{spec.name}:setup").close()
        except (CdcError, ValueError) as error:
            problems["Target"] = _problem(error)
        return found, problems

    def _taken(self, name: str) -> str:
        with suppress(NotConfiguredError):
            return f"there is a pipeline {name} already, with config id {self._store.get(name).config}"
        if name and "/" not in name and (self._folder / f"{name}.yaml").exists():
            return f"there is a file {name}.yaml already: run `cdc configure` with it, or choose another name"
        return ""

    def _step_1(
        self, request: Request, values: draft.Form, mistakes: dict[str, str] | None = None,
        problems: Problems | None = None,
    ) -> Response:
        bad = bool(mistakes or problems)
        # A password that was typed in place of its reference is not sent around once more.
        values = {name: "" if name in (mistakes or {}) and "password" in name else values[name] for name in values}
        return self._pages.shown(
            request, "new_connect.html", HTTPStatus.UNPROCESSABLE_ENTITY if bad else HTTPStatus.OK,
            sections=draft.SECTIONS, values=values, mistakes=mistakes or {}, problems=problems or {},
        )

    def _step_2(
        self, request: Request, form: draft.Form, found: Discovery, problem: Problem | None = None
    ) -> Response:
        return self._pages.shown(
            request, "new_choose.html", HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK,
            fields=draft.FIELDS, values=form, tables=draft.choices(found, form), problem=problem,
        )

    def _step_3(self, request: Request, text: str, problem: Problem | None = None) -> Response:
        return self._pages.shown(
            request, "new_review.html", problem.status if problem else HTTPStatus.OK, text=text, problem=problem
        )


_NAMES = frozenset(field.name for field in draft.FIELDS)


def _problem(error: CdcError | ValueError) -> Problem:
    if isinstance(error, CdcError):
        return problem_of(error)
    return problem_of(ConfigurationError("the port is no number", "give a number, or a reference to one."))
