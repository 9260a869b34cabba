"""What every part of the stack has in common."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from cdc_pipelines.stack.errors import PartFailedError
from cdc_pipelines.stack.layout import Layout
from cdc_pipelines.stack.process import Launch, tail


class NotReadyError(Exception):
    """The part runs but does not serve yet."""


class Part(ABC):
    """One server of the stack: how to fetch, initialise, start and check it."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_patience: ClassVar[float] = 20
    start_patience: ClassVar[float] = 90

    def __init__(self, layout: Layout, values: Mapping[str, str]) -> None:
        self.layout = layout
        self.values = values

    @property
    @abstractmethod
    def config_file(self) -> Path:
        """The configuration file; its path on a command line marks our process."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The version of the software; known once it is fetched."""

    @abstractmethod
    def missing(self) -> str | None:
        """What has to be fetched first, in words, or None."""

    @abstractmethod
    def fetch(self) -> None:
        """Make the software available."""

    @abstractmethod
    def initialize(self, data: Path) -> None:
        """Fill a new data folder, with users and passwords: no server is ever open without them."""

    @abstractmethod
    def launch(self) -> Launch:
        """Write the configuration and say how to start."""

    @abstractmethod
    def check(self) -> None:
        """Return if the part really serves; raise NotReadyError if not yet, PartFailedError if it never will."""

    def clear_leftovers(self) -> None:  # noqa: B027 - most parts leave nothing
        """Remove what a killed server left behind. Called only when no process of ours is alive."""

    @property
    def data(self) -> Path:
        return self.layout.data(self.name)

    @property
    def log(self) -> Path:
        """The log to look into."""
        return self.layout.logs(self.name) / f"{self.name}.log"

    @property
    def port(self) -> int:
        return int(self.values[f"CDC_STACK_{self.name.upper()}_PORT"])

    def ensure_data(self) -> None:
        """Initialise the data folder once, under another name first: half a data folder is never used."""
        if self.data.exists():
            return
        fresh = self.data.with_name(f"{self.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        self.layout.own_dir(fresh)
        fresh.chmod(0o700)
        self.initialize(fresh)
        fresh.rename(self.data)

    def run_once(self, what: str, argv: Sequence[str], env: Mapping[str, str], stdin: str | None = None) -> None:
        """Run an initialising command as the servers' user, its output kept in the part's log folder."""
        log = self.layout.own_dir(self.layout.logs(self.name)) / f"{what}.log"
        identity = {"user": self.layout.user.uid, "group": self.layout.user.gid, "extra_groups": []}
        with log.open("w") as output:
            done = subprocess.run(
                argv,
                env=dict(env),
                cwd=self.layout.base / "run",
                input=stdin or "",
                text=True,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=0o077,
                check=False,
                **(identity if os.geteuid() == 0 else {}),  # type: ignore[call-overload]
            )
        if done.returncode != 0:
            raise PartFailedError(self.name, f"{what} failed with exit code {done.returncode}", log)

    def secret_file(self, text: str) -> Path:
        """A file for passwords that an initialising command reads; the caller deletes it."""
        return self.layout.write(self.layout.conf(self.name) / f"secret-{secrets.token_hex(4)}", text, 0o600)

    def failure_log(self) -> list[str]:
        return tail(self.log)


def server_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small environment of our own: what the invoking shell holds is none of the servers' business."""
    kept = {key: os.environ[key] for key in ("TZ", "JAVA_HOME") if key in os.environ}
    plain = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
    return plain | kept | dict(extra or {})


def for_minutes() -> bool:
    """Whether the stack is for tests, which end it soon: without what pays off later or guards against a loss of power.

    That is no reason to restart a server that runs: it stays out of the fingerprints.
    """
    return os.environ.get("CDC_STACK_FOR_TESTS") == "1"


def fingerprint(*pieces: str | Iterable[str]) -> str:
    """A digest of everything that a running process was started with."""
    flat = [piece if isinstance(piece, str) else "\0".join(piece) for piece in pieces]
    return hashlib.sha256("\0\0".join(flat).encode()).hexdigest()
