"""Telling processes apart: is the one that a record names still the same, still alive, and within our sight?

A pid alone proves nothing: pids are used again, a dead child stays visible until its parent asks for it, and
in another container or on another machine the same number is another process.
"""

import os
import re
import socket
from functools import lru_cache
from pathlib import Path

import psutil

from cdc_pipelines.replication.errors import ConfigurationError

_PROC = Path("/proc")


def host() -> str:
    """The name under which agents and consumers of this host work: `CDC_HOST`, else the host's own name.

    Every agent of one control store has a name of its own. Raises ConfigurationError for a name that is none.
    """
    name = os.environ.get("CDC_HOST", "").strip()
    if not name:
        return socket.gethostname()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", name):
        raise ConfigurationError(
            f"CDC_HOST={name!r} is no host's name", "use letters, digits, dots, dashes and underscores: CDC_HOST=db-1."
        )
    return name


@lru_cache(maxsize=1)
def machine() -> str:
    """The same for all processes under one running kernel, containers included; another after a reboot."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()  # no Linux: no better word for it without privileges


@lru_cache(maxsize=1)
def place() -> str:
    """Where a pid means the same process: this kernel and this pid namespace."""
    try:
        return f"{machine()} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return machine()


def birth(pid: int) -> str | None:
    """A mark that a process keeps for its life and no later process of that pid has; None where it is not alive.

    A zombie is not alive: it holds no lock, runs nothing, and ended already.
    """
    try:
        words = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        # Clock ticks since boot: unlike a time of day they don't move when somebody sets the clock.
        return None if words[0] in ("Z", "X") else f"ticks {words[19]}"
    except (OSError, IndexError):
        if (_PROC / "self/stat").exists():
            return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"time {process.create_time():.0f}"
    except psutil.Error:
        return None


def alive(pid: int, born: str | None = None) -> bool:
    """Whether the process of our own `place` lives; with `born`, whether it is still that one."""
    found = birth(pid)
    return found is not None and (born is None or found == born)
