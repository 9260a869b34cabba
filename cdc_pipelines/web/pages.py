"""The pages, made here and whole without JavaScript; with it, they follow what happens."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from cdc_pipelines.replication.control.store import PipelineRecord
from cdc_pipelines.web import facts, render, runs, views
from cdc_pipelines.web.access import COOKIE, SESSION_S, Access, Failures
from cdc_pipelines.web.apart import apart
from cdc_pipelines.web.carried import carried
from cdc_pipelines.web.guard import refuse_guessers
from cdc_pipelines.web.launch import ADD, REMOVE, RESYNC
from cdc_pipelines.web.parts import Parts
from cdc_pipelines.web.problems import Problem, ProblemError

Id = Annotated[int, Path(ge=0, le=2**63 - 1)]
_INCIDENTS = 10
_FRESH_S = 4.0
JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "start": ("start_replication", {"force_resync": False}),
    "resync": ("start_replication", {"force_resync": True}),
    "stop": ("stop_replication", {}),
    "restart": ("restart_replication", {}),
    "verify": ("verify_replication", {}),
}
_LAUNCHED = {ADD, REMOVE, RESYNC, *(name for name, _ in JOBS.values())}


class Pages:
    """The pages over the API's parts."""

    def __init__(self, parts: Parts, access: Access, failures: Failures) -> None:
        self.parts = parts
        self.access = access
        self._failures = failures

    def router(self) -> APIRouter:
        pages = APIRouter(include_in_schema=False)
        get, post = pages.get, pages.post
        get("/")(self.all)
        get("/live")(self.all_live)
        get("/login")(self.login)
        post("/login")(self.log_in)
        post("/logout")(self.log_out)
        get("/pipelines/{id}")(self.one)
        get("/pipelines/{id}/live")(self.one_live)
        get("/pipelines/{id}/resync")(self.ask_resync)
        post("/pipelines/{id}/reload")(self.reload)
        post("/pipelines/{id}/{action}")(self.act)
        return pages

    def shown(self, request: Request, template: str, code: int = HTTPStatus.OK, **values: Any) -> Response:
        """A page with what all of them need."""
        session = request.scope["state"]["session"]
        return render.page(
            template, code, proof=self.access.form_proof(session), dagster=self.parts.settings.dagster_url,
            logged_in=self.access.needed and self.access.is_session(session), **values,
        )

    def error(self, request: Request, problem: Problem) -> Response:
        return self.shown(request, "error.html", problem.status, problem=problem)

    # All pipelines

    def all(self, request: Request) -> Response:
        return self.shown(request, "pipelines.html", pipelines=self._rows())

    def all_live(self, request: Request) -> Response:
        return self.shown(request, "pipelines_live.html", pipelines=self._rows())

    def _rows(self) -> list[dict[str, Any]]:
        """By what was seen last: a list must not wait for the slowest server of all."""
        rows = []
        for record in self.parts.store.list():
            status = self.parts.watch.last(record.name)
            rows.append(
                facts.configured(record) | {
                    "overall": views.overall(record, status), "seen": status,
                    "badges": views.badges(record, status) if status else [],
                    "problems": status["problems"] if status else [],
                }
            )
        return rows

    # One pipeline

    def one(self, request: Request, id: Id, run: str = "", job: str = "", saved: str = "") -> Response:
        launched = run if views.is_run(run) and job in _LAUNCHED else ""
        values = self._facts(self.parts.store.by_config(id))
        if launched in [each.id for each in values["runs"]]:
            launched = ""  # it is told where it is followed
        return self.shown(request, "pipeline.html", launched=launched, job=job, saved=saved[:1], **values)

    def one_live(self, request: Request, id: Id) -> Response:
        return self.shown(request, "pipeline_live.html", **self._facts(self.parts.store.by_config(id)))

    def _facts(self, record: PipelineRecord) -> dict[str, Any]:
        store, watch = self.parts.store, self.parts.watch
        status = watch.status(record, fresh_s=_FRESH_S)
        record = store.get(record.name)  # a start may have gone on while its servers were asked
        lease = store.lease_info(record.name)
        streams = record.status == "running"
        rows = [
            each | {"apart": apart(each, streams=streams)}
            for each in facts.tables(record, status) + facts.leaving(record, status)
        ]
        latest = self.parts.runs.latest(record.name)
        followed = runs.steps(latest, running=streams, since=record.configured_at)
        return {
            "pipeline": facts.configured(record) | {"file": record.file_text}, "status": status,
            "overall": views.overall(record, status), "badges": views.badges(record, status),
            "steps": followed or views.steps(record, lease), "lease": lease, "lease_run": views.run_of(lease),
            "runs": runs.shown(
                latest, store.history(record.name), self.parts.runs.why, since=record.configured_at
            ),
            "left": views.time_left(rows, lease, datetime.fromisoformat(status["timestamp"])), "tables": rows,
            "plot": views.plot(watch.history(record.name)),
            "incidents": facts.incidents(store, record.name, _INCIDENTS),
            "carried": carried(status.get("carried")),
        }

    def ask_resync(self, request: Request, id: Id) -> Response:
        return self.shown(request, "resync.html", pipeline=facts.configured(self.parts.store.by_config(id)))

    async def reload(self, request: Request, id: Id) -> Response:
        """Dagster loads the code location anew: jobs know a new pipeline without that, its assets are shown by it."""
        await self.proved(request)
        await run_in_threadpool(self.parts.launcher.reload)
        return RedirectResponse(f"/pipelines/{id}?saved=2", HTTPStatus.SEE_OTHER)

    async def act(self, request: Request, id: Id, action: str) -> Response:
        """A form's button: the run is launched, the page tells which."""
        await self.proved(request)
        if action not in JOBS:
            raise ProblemError(HTTPStatus.NOT_FOUND, "not_found", "Not Found", f"there is no action {action}")
        job, config = JOBS[action]
        run = await run_in_threadpool(lambda: self.parts.act(self.parts.store.by_config(id), job, config))
        return told(id, run)

    # Logging in and out

    def login(self, request: Request, next: str = "/") -> Response:
        return self.shown(request, "login.html", next=_own_path(next), wrong=False)

    async def log_in(self, request: Request) -> Response:
        form = await form_of(request)
        address = request.client.host if request.client else "?"
        refuse_guessers(self._failures, address)
        if not self.access.is_token(form.get("token", "").strip()):
            self._failures.failed(address)
            return self.shown(
                request, "login.html", HTTPStatus.FORBIDDEN, next=_own_path(form.get("next", "/")), wrong=True
            )
        self._failures.succeeded(address)
        answer = RedirectResponse(_own_path(form.get("next", "/")), HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            COOKIE, self.access.new_session(), max_age=SESSION_S, httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def log_out(self, request: Request) -> Response:
        await self.proved(request)
        answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    async def proved(self, request: Request) -> dict[str, str]:
        """The form's fields, seen to come from a page of this session."""
        form = await form_of(request)
        if not self.access.is_form_proof(request.scope["state"]["session"], form.get("proof", "")):
            raise ProblemError(
                HTTPStatus.FORBIDDEN, "form_expired", "The form has expired",
                "the form does not belong to this session", "open the page again, then repeat it.",
            )
        return form


async def form_of(request: Request) -> dict[str, str]:
    """A form's fields; of several with one name the last."""
    body = (await request.body()).decode("utf-8", "replace")
    return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=50_000))


def told(id: int, run: dict[str, Any]) -> Response:
    """To the pipeline's page, which tells of the run that was launched."""
    return RedirectResponse(f"/pipelines/{id}?run={run['run_id']}&job={run['job']}", HTTPStatus.SEE_OTHER)


def _own_path(path: str) -> str:
    """The path if it leads to this server; else the first page."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain else "/"


