"""Opening the control store on both of its databases, and what is of SQLite alone."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url

from cdc_pipelines.replication.control import engine as store_engine
from cdc_pipelines.replication.control import models, schema
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from tests.control_fixtures import StartWorker, go, postgres_url, sqlite_url, start_worker
from tests.control_specs import make_spec
from tests.integration.control_stage import TABLES, beat_of, raw, store, url, worker

__all__ = ["postgres_url", "sqlite_url", "start_worker", "store", "url", "worker"]  # fixtures


# Opening


def test_many_processes_may_make_the_store_at_once(worker: StartWorker, url: str) -> None:
    workers = [worker("opening") for _ in range(6)]
    go(*workers)
    ids = {one.said() for one in workers}
    assert len(ids) == 1
    assert ids == {ControlStore.open(url).id}


def test_opening_again_changes_nothing(store: ControlStore, url: str) -> None:
    store.save_pipeline(make_spec(), "text", TABLES)
    again = ControlStore.open(url)
    assert again.id == store.id
    assert again.get("shop") == store.get("shop")


def test_tables_of_a_newer_version_are_refused(store: ControlStore, url: str) -> None:
    raw(url, f"update {models.VERSION_TABLE} set version_num = '9999'")
    with pytest.raises(ConfigurationError, match=r"newer version.*9999") as caught:
        ControlStore.open(url)
    assert "install that version" in caught.value.next_step
    assert raw(url, f"select version_num from {models.VERSION_TABLE}") == [("9999",)]


def test_migrations_make_what_the_models_say(store: ControlStore, url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": models.VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, models.metadata) == []
    engine.dispose()


def test_a_store_that_is_out_of_reach_is_told_without_its_password() -> None:
    with pytest.raises(RetryableError) as caught:
        ControlStore.open("postgresql://cdc:topsecretword@127.0.0.1:1/nothing")
    assert "127.0.0.1:1" in str(caught.value)
    assert "topsecretword" not in str(caught.value)


def test_an_impatient_store_gives_up_soon_where_it_is_held_up(store: ControlStore, url: str) -> None:
    """As a tick of Dagster's daemon needs it, which ends at its time."""
    with closing(ControlStore.open(url, patience_s=0.5)) as impatient, store._write() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"lock table {models.incidents.fullname} in access exclusive mode")
        began = time.monotonic()
        with pytest.raises(RetryableError):
            impatient.set_run(1, "run")
        assert time.monotonic() - began < 5
        if connection.dialect.name == "postgresql":
            with pytest.raises(RetryableError), impatient._read() as slow:
                slow.exec_driver_sql("select pg_sleep(20)")
            assert time.monotonic() - began < 5
    with store._read() as connection:
        if connection.dialect.name == "postgresql":
            assert connection.exec_driver_sql("show statement_timeout").scalar() == "0"


def test_a_migration_that_fails_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("killed here")

    monkeypatch.setattr(schema.uuid, "uuid4", fail)  # asked for after the last table
    with pytest.raises(RuntimeError, match="killed here"):
        ControlStore.open(url)
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
    monkeypatch.undo()
    assert ControlStore.open(url).list() == []


def test_a_store_that_refuses_us_is_a_matter_of_configuration(postgres_url: str) -> None:
    address = make_url(postgres_url)
    wrong = [address.set(password="wrong"), address.set(database="no_such_database"), address.set(username="nobody_x")]
    for refused in wrong:
        with pytest.raises(ConfigurationError, match=r"authentication failed|does not exist") as caught:
            ControlStore.open(refused.render_as_string(hide_password=False))
        assert "CDC_CONTROL_URL" in caught.value.next_step


def test_texts_that_a_database_refuses_are_kept_readable(store: ControlStore) -> None:
    store.record("shop", "start", "me", "failed", "byte \0 and half \ud83d of a character")
    assert store.history("shop")[0].message == "byte \\0 and half \\ud83d of a character"
    assert store.beat(beat_of(message="\0"))


# SQLite alone


def test_by_default_the_store_is_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    monkeypatch.delenv("CDC_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    store = ControlStore.open()
    assert store.address.database == str(tmp_path / ".cdc" / "control.db")
    assert (tmp_path / ".cdc").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".cdc" / "control.db").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(tmp_path / ".cdc" / "control.db") as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    monkeypatch.setenv("CDC_HOME", str(tmp_path / "elsewhere"))
    assert ControlStore.open().address.database == str(tmp_path / "elsewhere" / "control.db")


def test_a_file_in_use_on_another_machine_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    store = ControlStore.open(url)
    store.register_agent("theirs")
    ControlStore.open(url)
    raw(url, "update cdc_agents set machine = 'another', place = 'another', host = 'far'")
    with pytest.raises(ConfigurationError, match="another machine, far"):
        ControlStore.open(url)


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_engine, "file_system_of", lambda file: "nfs4")
    with pytest.raises(ConfigurationError, match="network file system"):
        ControlStore.open(f"sqlite:///{tmp_path / 'control.db'}")


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    (tmp_path / "control.db").write_text("this is no database" * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        ControlStore.open(url)
