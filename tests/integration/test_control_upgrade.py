"""A control store that an older version made is brought up to date when it is opened, with all that is in it."""

import contextlib
from datetime import UTC, datetime

import alembic.command
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.records import Incident, Problem
from cdc_pipelines.replication.control.store import ControlStore
from tests.control_fixtures import postgres_url, sqlite_url
from tests.control_specs import make_spec

__all__ = ["postgres_url", "sqlite_url"]  # fixtures
NOW = datetime.now(UTC)
OLDER = [f"{number:04d}" for number in range(1, int(models.HEAD))]


@pytest.mark.parametrize("version", OLDER)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_an_older_store_is_brought_up_to_date(
    request: pytest.FixtureRequest, kind: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url: str = request.getfixturevalue(f"{kind}_url")
    upgrade = alembic.command.upgrade
    monkeypatch.setattr(alembic.command, "upgrade", lambda config, target: upgrade(config, version))
    with contextlib.closing(ControlStore.open(url)) as old:
        old.save_pipeline(make_spec(), "its file", ())
        old.record("shop", "start", "me", "done", "as before")
    monkeypatch.undo()
    with contextlib.closing(ControlStore.open(url)) as store:
        assert store.id == old.id
        assert store.get("shop").file_text == "its file"
        assert [entry.message for entry in store.history("shop")] == ["as before"]
        found = Incident(0, "shop", "failed", "failed", (Problem("lag", "failed", "far"),), opened_at=NOW, seen_at=NOW)
        assert store.save_incident(found) == store.open_incident("shop")
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": models.VERSION_TABLE})
        assert compare_metadata(context, models.metadata) == []
    engine.dispose()
