"""A pytest plugin for runs on a broken copy: refuses to run where another copy of the package is the one imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cdc_pipelines

TREE = "CDC_MUTANTS_TREE"


def pytest_configure(config: pytest.Config) -> None:
    """Here, and in processes that tests start, wherever these are started."""
    tree = Path(os.environ[TREE])
    theirs = subprocess.run(
        [sys.executable, "-c", "import cdc_pipelines; print(cdc_pipelines.__file__)"],
        cwd="/", capture_output=True, text=True, check=True,
    ).stdout.strip()
    for found in (cdc_pipelines.__file__, theirs):
        if found is None or not Path(found).is_relative_to(tree):
            raise pytest.UsageError(f"cdc_pipelines is imported from {found}, not from the copy in {tree}")


def pytest_report_header(config: pytest.Config) -> str:
    return f"cdc_pipelines is imported from {cdc_pipelines.__file__}, also in other processes"
