"""The application: settings and a control store in, ASGI out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.metrics.collector import registry
from cdc_pipelines.web import api, files, problems
from cdc_pipelines.web.access import Access, Failures
from cdc_pipelines.web.file_page import FilePage
from cdc_pipelines.web.guard import Guard
from cdc_pipelines.web.launch import Launcher
from cdc_pipelines.web.letters import LetterPages
from cdc_pipelines.web.pages import Pages
from cdc_pipelines.web.parts import Parts
from cdc_pipelines.web.render import HERE
from cdc_pipelines.web.runs import Runs
from cdc_pipelines.web.settings import WebSettings
from cdc_pipelines.web.setup import Setup
from cdc_pipelines.web.table_pages import TablePages
from cdc_pipelines.web.watch import Watch


def create_app(settings: WebSettings, store: ControlStore, *, watch: Watch | None = None) -> Guard:
    """The API and the pages over one control store, as an ASGI app. Statuses are sampled while its lifespan lasts."""
    if settings.token:
        secrets.remember(settings.token)
    for record in store.list():
        files.learn_secrets(record.spec)
    dagster = settings.dagster_url
    parts = Parts(settings, store, watch or Watch(store), Launcher(dagster, store), Runs(dagster))
    access, failures = Access(settings.token), Failures()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        parts.watch.start()
        yield
        parts.watch.stop()

    app = FastAPI(
        title="cdc_pipelines", version=version("cdc-pipelines"), lifespan=lifespan, docs_url=None, redoc_url=None,
        description="Tables of one database kept equal to tables of another. Actions are runs of Dagster's jobs.",
    )

    def document() -> dict[str, Any]:
        return problems.described(app)

    app.openapi = document  # type: ignore[method-assign]
    app.include_router(api.router(parts))
    metrics = registry(store, _Seen(parts.watch))

    @app.get("/metrics", include_in_schema=False)
    def scrape() -> Response:
        return Response(generate_latest(metrics), media_type=CONTENT_TYPE_LATEST)

    pages = Pages(parts, access, failures)
    app.include_router(Setup(pages).router())
    app.include_router(LetterPages(pages).router())
    app.include_router(FilePage(pages).router())
    app.include_router(TablePages(pages).router())
    app.include_router(pages.router())  # its `/pipelines/{id}/{action}` takes what no other path is
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    problems.install(app, pages.error)
    # Around everything, the answers to unexpected errors too.
    return Guard(app, settings=settings, access=access, failures=failures)


class _Seen:
    """What the pages saw last, for metrics: nobody is asked twice."""

    def __init__(self, watch: Watch) -> None:
        self.last = watch.last_of_all
