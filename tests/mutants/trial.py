"""One trial: a copy of the project, broken in one place (or not at all), and some tests run on it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.imported import TREE
from tests.mutants.mutant import PROJECT, Mutant

# Compiled modules come along: only what is broken is compiled again.
_COPIED = ("cdc_pipelines", "tests", "scripts", "pipelines", "deploy", "docs", "pyproject.toml", "dagster.yaml",
           "workspace.yaml", "Makefile", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")  # fmt: skip
_LONGEST_S = 240


@dataclass(frozen=True)
class Outcome:
    """`failed` are tests whose assertions failed or that raised; `broke` those that never came to run (a fixture)."""

    code: int
    failed: tuple[str, ...]
    broke: tuple[str, ...]
    passed: int
    seconds: float
    output: str

    @property
    def all_passed(self) -> bool:
        return self.code == 0 and self.passed > 0 and not self.failed and not self.broke


@contextmanager
def copied(mutant: Mutant | None) -> Iterator[Path]:
    """A folder with the project in it, broken by `mutant`; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cdc-mutant-") as folder:
        tree = Path(folder)
        for name in _COPIED:
            there = PROJECT / name
            if there.is_dir():
                shutil.copytree(there, tree / name, symlinks=True)
            elif there.exists():
                shutil.copy2(there, tree / name)
        if mutant is not None:
            file = tree / "cdc_pipelines" / mutant.file
            file.write_text(mutant.broken(file.read_text(encoding="utf-8")), encoding="utf-8")
            for stale in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
                stale.unlink()
        yield tree


def run(tree: Path, tests: Sequence[str], *, stop_at_first: bool) -> Outcome:
    """Run the tests in the copy, which is first on every path; on the project's own stack, or CDC_STACK_HOME's."""
    report = tree / "report.xml"
    environment = os.environ | {
        "PYTHONPATH": str(tree), TREE: str(tree),
        "CDC_STACK_HOME": os.environ.get("CDC_STACK_HOME", str(PROJECT / ".stack")),
    }  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "tests.mutants.imported",
         "-o", f"timeout={_LONGEST_S}", "--junitxml", str(report), *(["-x"] if stop_at_first else []), *tests],
        cwd=tree, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    failed, broke, passed = _read(report) if report.exists() else ((), (), 0)
    return Outcome(done.returncode, failed, broke, passed, time.monotonic() - began, done.stdout)


def _read(report: Path) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    failed, broke, passed = [], [], 0
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        if case.find("failure") is not None:
            failed.append(name)
        elif case.find("error") is not None:
            broke.append(name)
        else:
            passed += 1
    return tuple(failed), tuple(broke), passed
