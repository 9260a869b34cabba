"""Every error in one shape: problem details (RFC 9457), with the next step beside what went wrong."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cdc_pipelines.dagster_client import DagsterClientError
from cdc_pipelines.replication.errors import (
    CdcError,
    ConfigurationError,
    FencedError,
    IntegrityError,
    LeaseHeldError,
    NameTakenError,
    NotConfiguredError,
    PrerequisiteError,
    ResyncRequiredError,
    RetryableError,
    UnsupportedChangeError,
)
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.web.answers import Masked

MEDIA_TYPE = "application/problem+json"
API = ("/cdc/", "/openapi.json", "/metrics")
"""What is for programs."""
_BUSY_S = "5"
_log = logging.getLogger("cdc.web")

# From the most special on: the first that fits is taken.
_ERRORS: tuple[tuple[type[CdcError], HTTPStatus, str], ...] = (
    (NotConfiguredError, HTTPStatus.NOT_FOUND, "No such pipeline"),
    (LeaseHeldError, HTTPStatus.CONFLICT, "Another operation is under way"),
    (RetryableError, HTTPStatus.SERVICE_UNAVAILABLE, "Out of reach or busy"),
    (PrerequisiteError, HTTPStatus.UNPROCESSABLE_ENTITY, "Prerequisites are not met"),
    (NameTakenError, HTTPStatus.CONFLICT, "The name is taken"),
    (ConfigurationError, HTTPStatus.UNPROCESSABLE_ENTITY, "The configuration is not right"),
    (ResyncRequiredError, HTTPStatus.CONFLICT, "A new copy is needed"),
    (UnsupportedChangeError, HTTPStatus.CONFLICT, "The source changed in a way that is not followed"),
    (FencedError, HTTPStatus.CONFLICT, "Something newer is in charge"),
    (IntegrityError, HTTPStatus.INTERNAL_SERVER_ERROR, "Records contradict each other"),
)


class Problem(BaseModel):
    """What went wrong, and what to do."""

    type: str = Field(description="A stable name of the kind of error, as a URN.")
    title: str = Field(description="The kind of error in words.")
    status: int = Field(description="The answer's HTTP status.")
    detail: str = Field(description="What was wrong this time: the thing and the bad value.")
    next_step: str = Field(description="What to do about it; may be empty.")
    mistakes: list[dict[str, str]] = Field([], description="For bad input: `where` and `message` of each mistake.")


class ProblemError(Exception):
    """An error of the page itself, told as it is."""

    def __init__(
        self, status: HTTPStatus, kind: str, title: str, detail: str, next_step: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(
            type=f"urn:cdc:{kind}", title=title, status=status, detail=detail, next_step=next_step, mistakes=[]
        )
        self.headers = headers or {}


def problem_of(error: Exception) -> Problem:
    """The problem that an error stands for. What nobody foresaw is told without its text, which is in the log."""
    if isinstance(error, ProblemError):
        return error.problem
    if isinstance(error, CdcError):
        for kind, status, title in _ERRORS:
            if isinstance(error, kind):
                return _problem(status, _kind(type(error)), title, error.message, error.next_step)
        return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "failed", "Failed", error.message, error.next_step)
    if isinstance(error, DagsterClientError):
        return _problem(
            HTTPStatus.BAD_GATEWAY, "dagster_refused", "Dagster refused the run", str(error),
            "see whether its code location is loaded (Deployment → Code locations) and has this project's version.",
        )
    if isinstance(error, SQLAlchemyError):
        return _problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "control_store", "The control store does not answer",
            f"{type(error).__name__} in the control store", "see whether its database is up and CDC_CONTROL_URL right.",
        )
    return _problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected", "Unexpected error",
        f"{type(error).__name__}, which nobody foresaw", "the log of `cdc web` has the traceback; please report it.",
    )


def answer(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    more = {"Retry-After": _BUSY_S} if problem.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Masked(
        problem.model_dump(), status_code=problem.status, media_type=MEDIA_TYPE, headers=more | (headers or {})
    )


def install(app: FastAPI, page: Callable[[Request, Problem], Response]) -> None:
    """Let every error of the app leave as a problem: as a `page` to who looks at pages, as JSON from the API."""

    def shown(request: Request, problem: Problem, headers: dict[str, str] | None = None) -> Response:
        if request.url.path.startswith(API) or "text/html" not in request.headers.get("accept", ""):
            return answer(problem, headers)
        return page(request, problem)

    async def told(request: Request, error: Exception) -> Response:
        return shown(request, problem_of(error), getattr(error, "headers", None))

    async def unexpected(request: Request, error: Exception) -> Response:
        _log.error("unexpected error", exc_info=error)
        return shown(request, problem_of(error))

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        phrase = HTTPStatus(error.status_code).phrase
        kind = phrase.lower().replace(" ", "_")
        step = "GET /openapi.json describes what there is."
        problem = _problem(HTTPStatus(error.status_code), kind, phrase, str(error.detail), step)
        return shown(request, problem, dict(error.headers or {}))

    async def of_input(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        problem = _problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "bad_input", "The request is not right",
            f"{len(error.errors())} mistake(s) in the request", "mend them; GET /openapi.json describes what is taken.",
        )
        # Without the input itself: it may be a secret.
        problem.mistakes = [
            {"where": ".".join(str(part) for part in each["loc"]), "message": str(each["msg"])}
            for each in error.errors()
        ]
        return shown(request, problem)

    for kind in (CdcError, ProblemError, DagsterClientError, SQLAlchemyError):
        app.add_exception_handler(kind, told)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_input)
    app.add_exception_handler(Exception, unexpected)


def described(app: FastAPI) -> dict[str, Any]:
    """The app's OpenAPI document, in which every other answer is a problem."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = document.setdefault("components", {})
    pipeline = Pipeline.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    schemas = {"Problem": Problem.model_json_schema(), **pipeline.pop("$defs"), "Pipeline": pipeline}
    components["schemas"] = schemas | components.get("schemas", {})
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "CDC_WEB_TOKEN, where one is set."}
    }
    document["security"] = [{"token": []}, {}]
    app.openapi_schema = document
    return document


OTHERWISE: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong, and what to do",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def _problem(status: HTTPStatus, kind: str, title: str, detail: str, next_step: str) -> Problem:
    return Problem(
        type=f"urn:cdc:{kind}", title=title, status=status, detail=detail, next_step=next_step, mistakes=[]
    )


def _kind(error: type[CdcError]) -> str:
    """`NotConfiguredError` → `not_configured`."""
    name = error.__name__.removesuffix("Error")
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
