"""Fetching software once, whole or not at all.

A part is built under a temporary name and renamed into place: whatever is at its final path is complete,
even if an earlier `up` was killed in the middle.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import xml.sax.saxutils
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from cdc_pipelines.stack.errors import StackError

_DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
_destination_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)  # two parts may share jars
_maven_lock = threading.Lock()  # two Mavens at once may corrupt the local repository they share


def install_once(destination: Path, fill: Callable[[Path], None]) -> Path:
    """Make `destination` by `fill(temporary folder)`, unless it is there already."""
    with _destination_locks[destination]:
        if not destination.exists():
            _install(destination, fill)
    return destination


def _install(destination: Path, fill: Callable[[Path], None]) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    for stale in destination.parent.glob(f"{destination.name}.part-*"):
        shutil.rmtree(stale, ignore_errors=True)
    temporary = destination.with_name(f"{destination.name}.part-{os.getpid()}")
    temporary.mkdir(mode=0o755)
    try:
        fill(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    temporary.rename(destination)


def run_tool(part: str, command: Sequence[str], cwd: Path | None = None) -> str:
    """Run a package client, and say which one failed and how."""
    if shutil.which(command[0]) is None:
        raise StackError(f"{part}: `{command[0]}` is not installed; run scripts/install_os_packages.sh")
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise StackError(
            f"{part}: `{' '.join(command[:2])}` failed with exit code {done.returncode}; "
            "check the network or the package mirror, then run `cdc stack up` again:\n  "
            + "\n  ".join(lines[-15:])
        )
    return done.stdout


def maven_jars(part: str, destination: Path, artifacts: Sequence[str]) -> Path:
    """The jars of `artifacts` (group:artifact:version) and of all they need, in one folder."""

    def fill(folder: Path) -> None:
        pom = folder / "pom.xml"
        pom.write_text(_pom(artifacts))
        with _maven_lock:
            run_tool(part, [
                "mvn", "--batch-mode", "--quiet", "--file", str(pom), f"{_DEPENDENCY_PLUGIN}:copy-dependencies",
                "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'libs'}",
            ], cwd=folder)

    return install_once(destination, fill)


def maven_archive(part: str, destination: Path, artifact: str) -> Path:
    """A tar.gz artifact (group:artifact:version:tar.gz:classifier), unpacked."""

    def fill(folder: Path) -> None:
        archives = folder / "archive"
        with _maven_lock:
            run_tool(part, [
                "mvn", "--batch-mode", "--quiet", f"{_DEPENDENCY_PLUGIN}:copy",
                f"-Dartifact={artifact}", f"-DoutputDirectory={archives}",
            ], cwd=folder)
        for archive in archives.glob("*.tar.gz"):
            run_tool(part, ["tar", "--extract", "--gzip", "--no-same-owner", "--file", str(archive)], cwd=folder)
        shutil.rmtree(archives)

    return install_once(destination, fill)


def _pom(artifacts: Sequence[str]) -> str:
    dependencies = ""
    for artifact in artifacts:
        group, name, version = (xml.sax.saxutils.escape(field) for field in artifact.split(":"))
        dependencies += (
            f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
            f"<version>{version}</version></dependency>"
        )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>stack</artifactId>"
        f"<version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
    )
