"""Starting, recognising and stopping the stack's servers.

A pid on file proves nothing: after a crash or a reboot it may belong to anything. A process counts as ours
only if its start time is the one on file and its command line names our configuration file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from cdc_pipelines.stack.layout import Layout

_LOG_LIMIT = 20 * 1024 * 1024


@dataclass(frozen=True)
class Launch:
    """How to start a part. `marker` is the argument that tells its process from any other on the machine;
    `fingerprint` covers everything whose change needs a restart."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    marker: str
    fingerprint: str


@dataclass(frozen=True)
class Record:
    """What the pid file says."""

    pid: int
    created: float
    marker: str
    fingerprint: str
    version: str


def running(layout: Layout, part: str, marker: str) -> psutil.Process | None:
    """Our live process of this part: by the pid file, or, where that is stale or lost, by its command line."""
    record = read_record(layout, part)
    if record:
        process = _alive(record.pid)
        if process and abs(process.create_time() - record.created) < 2 and _has_marker(process, record.marker):
            return process
    return next((p for p in psutil.process_iter() if _has_marker(p, marker) and _alive(p.pid)), None)


def read_record(layout: Layout, part: str) -> Record | None:
    try:
        return Record(**json.loads(layout.pid_file(part).read_text()))
    except (OSError, ValueError, TypeError):
        return None  # missing or garbled: as good as stale


def spawn(layout: Layout, part: str, version: str, launch: Launch) -> psutil.Process:
    """Start a part detached from this command: it outlives us and gets no signal of our terminal."""
    layout.own_dir(launch.log.parent)
    _rotate(launch.log)
    with launch.log.open("ab") as log:
        layout.own(launch.log)
        identity = {"user": layout.user.uid, "group": layout.user.gid, "extra_groups": []}
        child = subprocess.Popen(
            launch.argv,
            env=dict(launch.env),
            cwd=launch.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o027,
            **(identity if os.geteuid() == 0 else {}),  # type: ignore[call-overload]
        )
    child.returncode = 0  # we never wait for it: keep Popen from warning that it still runs
    process = psutil.Process(child.pid)
    record = Record(child.pid, process.create_time(), launch.marker, launch.fingerprint, version)
    layout.write(layout.pid_file(part), json.dumps(asdict(record)))
    return process


def is_alive(process: psutil.Process) -> bool:
    """A zombie is dead: our own crashed children stay zombies until this command ends."""
    _reap(process.pid)
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop(process: psutil.Process, sig: signal.Signals, patience: float) -> str:
    """Ask to stop, then kill. Returns how it ended."""
    try:
        process.send_signal(sig)
    except psutil.NoSuchProcess:
        return "was gone"
    if _wait_gone(process, patience):
        return "stopped"
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return "stopped"
    _wait_gone(process, 10)
    return f"killed: it did not stop within {patience:.0f} s"


def left_behind(directory: Path) -> list[psutil.Process]:
    """A killed server's children, which work on inside its data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(directory) and _is_child(process.cmdline()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def tail(path: Path | None, lines: int = 20) -> list[str]:
    """The last lines of a log, for a failure's message."""
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def _alive(pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
    return process if is_alive(process) else None


def _has_marker(process: psutil.Process, marker: str) -> bool:
    try:
        arguments = process.cmdline()
        return any(argument.endswith(marker) for argument in arguments) and not _is_child(arguments)
    except (psutil.Error, OSError):
        return False


def _is_child(arguments: list[str]) -> bool:
    """PostgreSQL's children write a title over their command line, not always over all of it."""
    return any(argument.startswith("postgres: ") for argument in arguments)


def _wait_gone(process: psutil.Process, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if not is_alive(process):
            return True
        time.sleep(0.05)
    return not is_alive(process)


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):  # not a child of this command
        os.waitpid(pid, os.WNOHANG)


def _rotate(log: Path) -> None:
    """Servers that write to our file can't rotate it themselves: do it between their runs."""
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_name(log.name + ".1"))
