"""The page with something to show in every part of every page; `told` stands wherever a server's words may stand."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cdc_pipelines.dagster_client import DagsterClient, SeenRun
from cdc_pipelines.replication.catalog import Column, Table
from cdc_pipelines.replication.control.records import Incident, PipelineRecord, Problem
from cdc_pipelines.replication.operations import dead_letters
from cdc_pipelines.replication.operations.configure import configure_text
from cdc_pipelines.web import setup
from tests.unit.dagster_pipelines import file_text, mapped_table
from tests.unit.test_web_letters import HELD
from tests.unit.test_web_setup import Target
from tests.unit.web_client import Source, Web, facts, open_web

RUN = "0123abcd-0000-4000-8000-0123456789ab"
AT = "2026-01-01T10:00:00.000Z"
STRANGE = Table("shop", "places", (Column("id", "inet6", "inet6", nullable=False),), ("id",))


def full_status(record: PipelineRecord, told: str) -> dict[str, Any]:
    """Everything that a status may have: what is wrong, tables apart, schema changes, indexes that are not there."""
    status = facts(record)
    status["connector"] |= {"message": told}
    status["consumer"] |= {"message": told}
    table = status["tables"][0]
    lane = {
        "table": "orders", "phase": "copying", "reason": "resync", "doing": told, "since": AT,
        "last_beat": AT, "chunks": 8, "chunks_done": 3, "rows_copied": 3000,
    }  # fmt: skip
    compared = {"differences": 0, "at": AT, "complete": True}
    detached = {"kind": "quarantined", "reason": told, "since": AT, "skipped": 2}
    return status | {
        "overall": "degraded",
        "problems": [
            {"kind": kind, "severity": severity, "message": f"`{kind}`: {told}", "next_step": f"`cdc start`: {told}"}
            for kind, severity in (("lag", "degraded"), ("consumer", "failed"))
        ],
        "errors": [told],
        "lanes": [lane],
        "tables": [
            table | {"detached": detached, "dead_letters": 2, "verified": compared | {"differences": 2}},
            table | {"table": "orders"},
            table | {"table": "places", "verified": compared},
        ],
        "statistics": status["statistics"] | {"last_sync_at": AT},
        "schema_changes": [
            {"at": AT, "table": "orders", "what": f"column added {told}", "statement": told, "done": done}
            for done in ("applied", "detached", "stopped")
        ],
        "carried": {
            "made": {"index": 2},
            "not_made": [
                {"kind": "check", "table": "orders", "name": "small", "state": state, "why": told}
                for state in ("making", "waiting", "given_up", "not_made")
            ],
        },
    }


def open_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str = "the server said so", **settings: Any
) -> Iterator[Web]:
    """Like `open_web`: pipeline shop streams, others are stopped and not started; servers answer."""
    monkeypatch.setattr(setup, "connect", Target)
    monkeypatch.setattr(Target, "error", None)
    row = json.dumps({"id": 2, "note": told})
    letters = [
        msgspec.structs.replace(HELD, key=row, before=row, after=row, error=told, note=told),
        msgspec.structs.replace(HELD, id=8, state="skipped", note=told),
    ]
    monkeypatch.setattr(dead_letters, "letters", lambda rt, *, table, settled: letters)
    monkeypatch.setattr(dead_letters, "retry", lambda rt, letter: told)
    monkeypatch.setattr(dead_letters, "skip", lambda rt, letter, note: letters[1])
    there = [*(mapped_table(name).source for name in ("customers", "orders", "fresh")), STRANGE]
    for web in open_web(tmp_path, monkeypatch, **settings):
        monkeypatch.setattr(Source, "tables", tables_or_error(there))
        monkeypatch.setattr(DagsterClient, "failures", lambda *_: [told])
        monkeypatch.setattr(web.watch, "_look", lambda record: full_status(record, told))
        web.pipelines.mkdir()
        configured(web, told)
        for name, config, status in (("ledger", 2, "configured"), ("stock", 3, "stopped")):
            configure_text(file_text(name, config), web.pipelines / f"{name}.yaml", web.store)
            web.store.set_status(name, status, message=told)
        problems = (Problem("lag", "degraded", told, told),)
        opened = datetime(2026, 1, 1, tzinfo=UTC)
        found = web.store.save_incident(Incident(0, "shop", "failed", "failed", problems, opened, opened, run=RUN))
        web.store.record_action(found.id, "restart_task", "failed", told)
        web.store.record("shop", "start", RUN, "failed", told)
        later = datetime.now(UTC).timestamp() + 60
        steps = {"validate_prerequisites": "SUCCESS", "plan_copy": "FAILURE"}
        web.dagster.seen = [SeenRun(RUN, "start_replication", "FAILURE", later, later, steps)]
        for _ in range(3):
            web.watch.sample()
        yield web


def configured(web: Web, told: str = "") -> None:
    """Pipeline shop as it is at the beginning, whatever was done to it."""
    text = f"# {told}\n" + file_text(tables=["customers", "orders"])
    (web.pipelines / "shop.yaml").write_text(text)
    configure_text(text, web.pipelines / "shop.yaml", web.store)
    web.store.set_status("shop", "running", is_active=True, message=told)
    web.dagster.running.clear()


def tables_or_error(there: list[Table]) -> Any:
    def tables(_: Source, names: Any = None) -> list[Table]:
        if Source.error is not None:
            raise Source.error
        return there

    return tables
