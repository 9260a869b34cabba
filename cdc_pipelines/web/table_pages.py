"""The pages of single tables: copy one again, take one in, leave one out. Each says what it will do, then does it."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from cdc_pipelines.replication.operations.carried_outcome import WORDS
from cdc_pipelines.web import facts, members, tables
from cdc_pipelines.web.pages import Pages, told
from cdc_pipelines.web.parts import Id


class TablePages:
    """A table's name comes in the query or the form: in a path, some names would be another path."""

    def __init__(self, pages: Pages) -> None:
        self._pages, self._parts = pages, pages.parts

    def router(self) -> APIRouter:
        routes = APIRouter(include_in_schema=False)
        get, post = routes.get, routes.post
        get("/pipelines/{id}/tables/resync")(self.ask_resync)
        post("/pipelines/{id}/tables/resync")(self.resync)
        get("/pipelines/{id}/tables/add")(self.ask_add)
        post("/pipelines/{id}/tables/add")(self.add)
        get("/pipelines/{id}/tables/remove")(self.ask_remove)
        post("/pipelines/{id}/tables/remove")(self.remove)
        return routes

    def ask_resync(self, request: Request, id: Id, table: str = "") -> Response:
        record = self._parts.store.by_config(id)
        tables.require(record, table)
        [found] = [each for each in facts.tables(record, self._parts.watch.status(record)) if each["table"] == table]
        return self._pages.shown(request, "resync_table.html", pipeline=facts.configured(record), table=found)

    async def resync(self, request: Request, id: Id) -> Response:
        form = await self._pages.proved(request)
        run = await run_in_threadpool(
            lambda: tables.resync(self._parts, self._parts.store.by_config(id), form.get("table", ""))
        )
        return told(id, run)

    def ask_add(self, request: Request, id: Id, table: str = "", target: str = "") -> Response:
        """Without a table: which there are. With one: what taking it in does."""
        record = self._parts.store.by_config(id)
        pipeline = facts.configured(record)
        if not table:
            found = members.candidates(self._parts, record)
            named = [] if record.spec.tables == "all" else [each.source for each in record.spec.tables]
            return self._pages.shown(request, "add_table.html", pipeline=pipeline, tables=found, named=named,
                                     renames=record.spec.tables != "all")
        plan = members.plan_add(self._parts, record, table, target.strip() or None)
        carried = [words for kind, words in WORDS.items() if kind in plan.spec.carry.kinds]
        return self._pages.shown(
            request, "add_table_plan.html", pipeline=pipeline, plan=plan, target=target.strip(), carried=carried,
            anew=record.spec.source.type == "mariadb",
        )

    async def add(self, request: Request, id: Id) -> Response:
        form = await self._pages.proved(request)
        record = await run_in_threadpool(self._parts.store.by_config, id)
        table, target = form.get("table", ""), form.get("target", "").strip() or None
        return told(id, await run_in_threadpool(members.add, self._parts, record, table, target))

    def ask_remove(self, request: Request, id: Id, table: str = "") -> Response:
        record = self._parts.store.by_config(id)
        plan = members.plan_remove(self._parts, record, table)
        figures = {each["table"]: each for each in self._parts.watch.status(record).get("tables", [])}
        return self._pages.shown(
            request, "remove_table.html", pipeline=facts.configured(record), plan=plan,
            figures=figures.get(table), anew=record.spec.source.type == "mariadb",
        )

    async def remove(self, request: Request, id: Id) -> Response:
        form = await self._pages.proved(request)
        record = await run_in_threadpool(self._parts.store.by_config, id)
        table, drop = form.get("table", ""), form.get("drop") == "1"
        return told(id, await run_in_threadpool(lambda: members.remove(self._parts, record, table, drop_table=drop)))
