"""Where the control store is."""

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from cdc_pipelines.replication.control import models, schema
from cdc_pipelines.replication.control.engine import file_system_of, resolve_url
from cdc_pipelines.replication.errors import ConfigurationError


@pytest.mark.parametrize("text", ["postgresql://u:p@h/d", "postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"])
def test_postgresql_is_reached_by_the_driver_that_we_ship(text: str) -> None:
    assert resolve_url(text).drivername == "postgresql+psycopg2"
    assert resolve_url(text).password == "p"


def test_the_environment_names_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    monkeypatch.setenv("CDC_HOME", "somewhere")
    assert resolve_url().database == str(tmp_path / "somewhere" / "control.db")
    monkeypatch.setenv("CDC_CONTROL_URL", "sqlite:///relative.db")
    assert resolve_url().database == str(tmp_path / "relative.db")  # absolute: children may run elsewhere
    assert resolve_url("sqlite:////given.db").database == "/given.db"


@pytest.mark.parametrize("text", ["mysql+pymysql://u:topsecretword@h/d", "sqlite://", "sqlite:///:memory:",
                                  "no url, topsecretword"])
def test_what_can_not_serve_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve_url(text)
    assert "topsecretword" not in str(caught.value)
    assert caught.value.next_step


def test_the_newest_migration_is_the_one_that_the_models_name() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).with_name("migrations")))
    assert ScriptDirectory.from_config(config).get_heads() == [models.HEAD]


def test_the_file_system_of_a_path_is_found(tmp_path: Path) -> None:
    assert file_system_of(tmp_path / "control.db")
    assert file_system_of(Path("/proc/x")) == "proc"
