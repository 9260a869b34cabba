"""Dead letters over the API and on their page: look at them, try one again, accept one as it is."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from cdc_pipelines.replication.control.store import PipelineRecord
from cdc_pipelines.replication.operations import dead_letters
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.web import documents as d
from cdc_pipelines.web import facts
from cdc_pipelines.web.pages import Pages
from cdc_pipelines.web.parts import Id, Parts
from cdc_pipelines.web.problems import ProblemError

Letter = Annotated[int, Path(ge=1, le=2**63 - 1, description="The dead letter's number.")]
_HOLDER = "the page or its API"
_NOTE = 1000


def letters(parts: Parts, record: PipelineRecord, table: str | None, *, settled: bool) -> list[dict[str, Any]]:
    """Those of a pipeline, the newest first. Raises RetryableError where its target is out of reach."""
    with Runtime(record, parts.store, impatient=True) as rt:
        return [dead_letters.as_facts(each) for each in dead_letters.letters(rt, table=table, settled=settled)]


def retry(parts: Parts, record: PipelineRecord, letter: int) -> str:
    """What the target has against it now; empty where it would take it."""
    with Runtime(record, parts.store, impatient=True) as rt:
        return dead_letters.retry(rt, letter)


def skip(parts: Parts, record: PipelineRecord, letter: int, note: str) -> dict[str, Any]:
    """Accept it; the diary of the pipeline tells of it."""
    with Runtime(record, parts.store, impatient=True) as rt:
        found = dead_letters.as_facts(dead_letters.skip(rt, letter, note))
    parts.store.record(record.name, "skip dead letter", _HOLDER, "done", f"{letter} (table {found['table']}): {note}")
    parts.watch.look_again(record.name)
    return found


def add_to(api: APIRouter, parts: Parts) -> None:
    """The API's paths. They answer with the outcome: none of them is a run of Dagster."""
    store = parts.store

    @api.get(
        "/config/{id}/deadletters/", response_model=d.DeadLetters, summary="Changes that the target refused",
        description="Whole, the newest first. Their tables are in quarantine until they are copied again.",
    )
    def list_letters(
        id: Id, table: Annotated[str | None, Query(max_length=200, description="Only this table's.")] = None,
        settled: Annotated[bool, Query(description="Also those that were skipped, or settled by a new copy.")] = False,
    ) -> Any:
        return {"success": True, "letters": letters(parts, store.by_config(id), table, settled=settled)}

    @api.post(
        "/config/{id}/deadletters/{letter}/retry/", response_model=d.Retried,
        summary="Try whether the target would take a change now",
        description="Nothing is kept of it: a new copy of the table (`resync`) brings the row.",
    )
    def retry_letter(id: Id, letter: Letter) -> Any:
        why = retry(parts, store.by_config(id), letter)
        return {"success": True, "accepted": not why, "error": why or None}

    @api.post(
        "/config/{id}/deadletters/{letter}/skip/", response_model=d.Skipped, summary="Accept that a change is missing",
        description="Its table stays in quarantine until it is copied again.",
    )
    def skip_letter(id: Id, letter: Letter, options: d.SkipOptions) -> Any:
        return {"success": True, "letter": skip(parts, store.by_config(id), letter, options.note)}


class LetterPages:
    """The page of a pipeline's dead letters."""

    def __init__(self, pages: Pages) -> None:
        self._pages, self._parts = pages, pages.parts

    def router(self) -> APIRouter:
        routes = APIRouter(include_in_schema=False)
        routes.get("/pipelines/{id}/deadletters")(self.all)
        routes.post("/pipelines/{id}/deadletters/retry")(self.retry)
        routes.post("/pipelines/{id}/deadletters/skip")(self.skip)
        return routes

    def all(self, request: Request, id: Id) -> Response:
        return self._shown(request, self._parts.store.by_config(id))

    async def retry(self, request: Request, id: Id) -> Response:
        form = await self._pages.proved(request)
        record, number = self._parts.store.by_config(id), _number(form)

        def tried() -> Response:
            return self._shown(request, record, tried=number, said=retry(self._parts, record, number))

        return await run_in_threadpool(tried)

    async def skip(self, request: Request, id: Id) -> Response:
        form = await self._pages.proved(request)
        note = form.get("note", "").strip()
        if not note:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, "note_missing", "A note is missing",
                "a dead letter is accepted with a note that says why", "go back and write one.",
            )
        record = self._parts.store.by_config(id)
        await run_in_threadpool(lambda: skip(self._parts, record, _number(form), note[:_NOTE]))
        return RedirectResponse(f"/pipelines/{id}/deadletters", HTTPStatus.SEE_OTHER)

    def _shown(self, request: Request, record: PipelineRecord, tried: int = 0, said: str = "") -> Response:
        return self._pages.shown(
            request, "letters.html", pipeline=facts.configured(record), operations=dead_letters.OPERATIONS,
            letters=letters(self._parts, record, None, settled=True), tried=tried, said=said,
        )


def _number(form: dict[str, str]) -> int:
    """The form's letter; 0, which no letter has, where it names none."""
    text = form.get("letter", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
