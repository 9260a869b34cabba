"""Where the stack keeps its files, and which operating-system user its servers run as.

MySQL, MariaDB and PostgreSQL refuse to run as root. When the stack is started by root its servers run as
the system user `cdcstack`, which must be able to reach its own files: a checkout below e.g. /root is
closed to it, so then the big folders move to /var/lib/cdc-stack while `stack.env` stays in the project.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

from cdc_pipelines.stack.errors import StackError
from cdc_pipelines.stack.settings import stack_home

SERVICE_USER = "cdcstack"
FALLBACK_BASE = Path("/var/lib/cdc-stack")


@dataclass(frozen=True)
class ServiceUser:
    """The ordinary user that servers run as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Layout:
    """All paths of one stack. `home` holds stack.env and the lock, `base` everything the servers touch."""

    home: Path
    base: Path
    user: ServiceUser

    @property
    def lock_file(self) -> Path:
        return self.home / "stack.lock"

    @property
    def parts(self) -> Path:
        """Downloaded software; survives `down --wipe`."""
        return self.base / "parts"

    def data(self, part: str) -> Path:
        return self.base / "data" / part

    def conf(self, part: str) -> Path:
        return self.base / "conf" / part

    def logs(self, part: str) -> Path:
        return self.base / "logs" / part

    def pid_file(self, part: str) -> Path:
        return self.base / "run" / f"{part}.json"

    def socket(self, part: str) -> Path:
        """A Unix socket's path, which must stay below 108 bytes however deep the checkout lies."""
        wanted = self.base / "run" / f"{part}.sock"
        if len(os.fsencode(wanted)) < 100:
            return wanted
        return Path("/tmp") / f"cdc-stack-{zlib.crc32(os.fsencode(self.base)):08x}-{part}.sock"

    def ensure(self) -> None:
        """Make the folders, the servers' ones owned by the user they run as."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.parts.mkdir(parents=True, exist_ok=True)
        for name in ("data", "conf", "logs", "run"):
            self.own_dir(self.base / name)

    def own_dir(self, path: Path) -> Path:
        """Make one folder that the servers may write to."""
        path.mkdir(parents=True, exist_ok=True)
        self.own(path)
        return path

    def own(self, path: Path) -> None:
        """Hand one file or folder to the servers' user (nothing to do unless we are root)."""
        if os.geteuid() == 0:
            os.chown(path, self.user.uid, self.user.gid)

    def write(self, path: Path, text: str, mode: int = 0o640) -> Path:
        """Write a file for the servers to read; whole or not at all, never readable to strangers."""
        self.own_dir(path.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.touch(mode=mode)
        temporary.chmod(mode)
        temporary.write_text(text)
        self.own(temporary)
        temporary.replace(path)
        return path


def discover(announce: bool = False) -> Layout:
    """The layout of the stack this process is about (`CDC_STACK_HOME`, else `.stack` of the project)."""
    home = stack_home()
    if os.geteuid() != 0:
        account = pwd.getpwuid(os.geteuid())
        return Layout(home, home, ServiceUser(account.pw_name, account.pw_uid, account.pw_gid))
    user = _service_user()
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(home.stat().st_mode | 0o755)
    base = home
    if not _reachable(home, user):
        base = FALLBACK_BASE / f"{home.parent.name}-{zlib.crc32(os.fsencode(home)):08x}"
        base.mkdir(parents=True, exist_ok=True)
        if announce:
            print(f"stack: user {user.name} cannot enter {home}; its files go to {base} (stack.env stays)")
    return Layout(home, base, user)


def _service_user() -> ServiceUser:
    try:
        account = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        useradd = shutil.which("useradd") or "/usr/sbin/useradd"
        command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", str(FALLBACK_BASE),
                   "--shell", "/usr/sbin/nologin", SERVICE_USER]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            account = pwd.getpwnam(SERVICE_USER)
        except KeyError:
            raise StackError(
                f"cannot create the system user {SERVICE_USER} that the servers run as: "
                f"{made.stderr.strip() or made.stdout.strip()}; create it by hand or run as an ordinary user"
            ) from None
    return ServiceUser(account.pw_name, account.pw_uid, account.pw_gid)


def _reachable(path: Path, user: ServiceUser) -> bool:
    """Ask the kernel rather than compute it: the servers' user must be able to enter `path`."""
    probe = subprocess.run(
        ["test", "-x", str(path)], user=user.uid, group=user.gid, extra_groups=[], cwd="/", check=False
    )
    return probe.returncode == 0
