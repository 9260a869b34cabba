"""`cdc stack` as a user runs it, and what the parts of the stack are doing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_pipelines.stack import layout, orchestrate
from tests.conftest import PROJECT


def cdc_stack(*words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `cdc stack …` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "cdc_pipelines.cli", "stack", *words],
        cwd=PROJECT,
        env=os.environ | ({"CDC_STACK_HOME": str(home)} if home else {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def pids() -> dict[str, int | None]:
    return {status.part: status.pid for status in orchestrate.status()}


def state_of(part: str) -> str:
    return {status.part: status.state for status in orchestrate.status()}[part]


@pytest.fixture
def second_home(tmp_path: Path) -> Iterator[Path]:
    """A stack of its own that borrows the downloads, in a folder that the servers' user may not be able to enter."""
    shared_parts = layout.discover().parts
    home = tmp_path / "stack"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CDC_STACK_HOME", str(home))
        base = layout.discover().base
        base.mkdir(parents=True, exist_ok=True)
        (base / "parts").symlink_to(shared_parts)
        yield home
        cdc_stack("down")
        (base / "parts").unlink()
        shutil.rmtree(base)
