"""The project loads by every tool that a Dagster user has, without a word of complaint about it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from cdc_pipelines.dagster_client import DagsterClient
from cdc_pipelines.demo.dagster_server import free_port
from tests.conftest import PROJECT
from tests.integration.dagster_instance import wait_for

BIN = Path(sys.executable).parent


def environment(home: Path) -> Mapping[str, str]:
    """Dagster's own of production (PostgreSQL) is not there: this is what somebody has who looks around."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CDC_", "DAGSTER_"))}
    return {
        **inherited, "DAGSTER_HOME": str(PROJECT / "deploy" / "local"), "CDC_HOME": str(home),
        "VIRTUAL_ENV": str(BIN.parent), "PATH": f"{BIN}:{os.environ['PATH']}",
    }  # fmt: skip


def run(home: Path, *words: str) -> str:
    done = subprocess.run(
        words, cwd=PROJECT, env=environment(home), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_dagster_definitions_validate(tmp_path: Path) -> None:
    said = run(tmp_path, "dagster", "definitions", "validate")
    assert "All code locations passed validation" in said
    # Dagster tells of its own command's successor; of ours there is nothing to tell.
    warnings = [line for line in said.splitlines() if "arning" in line and "definitions_validate_command" not in line]
    assert warnings == []


def test_dagster_definitions_validate_by_workspace(tmp_path: Path) -> None:
    said = run(tmp_path, "dagster", "definitions", "validate", "-w", "workspace.yaml")
    assert "Validation successful for code location cdc_pipelines" in said


def test_dg_check_defs(tmp_path: Path) -> None:
    said = run(tmp_path, "dg", "check", "defs")
    assert "All definitions loaded successfully" in said
    assert not re.search("warning|deprecat", said, re.IGNORECASE), said


def test_dagster_dev_without_postgresql(tmp_path: Path) -> None:
    """Just looking, as dagster.yaml says. Dagster's files go into a copy of that home, not into the project."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_bytes((PROJECT / "deploy" / "local" / "dagster.yaml").read_bytes())
    port = free_port()
    log = tmp_path / "dev.log"
    with log.open("wb") as file:
        dev = subprocess.Popen(
            ["dagster", "dev", "-h", "127.0.0.1", "-p", str(port)], cwd=PROJECT,
            env={**environment(tmp_path), "DAGSTER_HOME": str(home)}, stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    try:
        client = DagsterClient(f"http://127.0.0.1:{port}")

        def loaded() -> bool:
            assert dev.poll() is None, log.read_text()
            try:
                return client.location_state() == "RepositoryLocation"
            except OSError:
                return False  # not up yet

        wait_for(loaded, "dagster dev", 120)
    finally:
        dev.send_signal(signal.SIGINT)  # as by Ctrl-C; now and then one of its processes does not hear it
        with contextlib.suppress(subprocess.TimeoutExpired):
            dev.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(dev.pid, signal.SIGKILL)
        dev.wait(10)


@pytest.mark.parametrize("file", ["dagster.yaml", "deploy/local/dagster.yaml", "workspace.yaml"])
def test_no_literal_secret_or_host_in_configuration(file: str) -> None:
    text = (PROJECT / file).read_text()
    document = yaml.safe_load(text)
    if file == "dagster.yaml":
        database = document["storage"]["postgres"]["postgres_db"]
        assert database.pop("scheme") == "postgresql+psycopg2"
        assert all(list(value) == ["env"] for value in database.values())
    assert "://" not in text
