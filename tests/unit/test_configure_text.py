"""The jobs `configure` and `discover` with the file's text in the Launchpad."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from cdc_pipelines.jobs.prepare import configure, discover
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.operations import configure as operation
from cdc_pipelines.replication.operations import discover as discovering
from cdc_pipelines.replication.pipeline_file import load_pipeline
from cdc_pipelines.resources.pipelines import PipelinesResource
from tests.unit.dagster_pipelines import file_text
from tests.unit.web_client import Source

TEXT = "# ours\n" + file_text("reports", 2, [{"source": "customers", "columns": ["id", "note"]}])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlStore]:
    monkeypatch.setenv("CDC_HOME", str(tmp_path))
    monkeypatch.setenv("CDC_TEST_PASSWORD", "planted-password-1")
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    monkeypatch.setattr(Source, "error", None)
    for module in (operation, discovering):
        monkeypatch.setattr(module, "MySqlSource", Source)
    with contextlib.closing(ControlStore.open()) as opened:
        yield opened


def run(job: dg.JobDefinition, file: Path, text: str) -> dg.ExecuteInProcessResult:
    return job.execute_in_process(
        run_config={"file": str(file), "text": text}, resources={"pipelines": PipelinesResource()},
        raise_on_error=False,
    )


def reason(result: dg.ExecuteInProcessResult) -> str:
    [failed] = result.get_step_failure_events()
    facts = failed.step_failure_data.user_failure_data
    assert facts is not None
    return facts.description or ""


def test_a_text_becomes_the_file_and_the_pipeline(store: ControlStore, tmp_path: Path) -> None:
    file = tmp_path / "pipelines" / "reports.yaml"
    assert run(discover, file, TEXT).success
    assert not file.exists(), "looking writes nothing"
    assert run(configure, file, TEXT).success
    assert file.read_text() == TEXT
    assert load_pipeline(file) == store.get("reports").spec
    assert run(configure, file, TEXT.replace("[id, note]", "[id]")).success, "the same pipeline may be changed"


def test_a_text_overwrites_nobody_elses_file(store: ControlStore, tmp_path: Path) -> None:
    file = tmp_path / "reports.yaml"
    file.write_text(file_text("reports", 7))
    assert "has config id 7, not 2" in reason(run(configure, file, TEXT))
    assert file.read_text() == file_text("reports", 7)
    other = tmp_path / "other.yaml"
    assert "can't be the file of pipeline reports" in reason(run(configure, other, TEXT))
    assert not other.exists()
    assert store.list() == []
