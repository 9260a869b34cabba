"""pt-online-schema-change out of Debian's package, run without installing anything."""

import subprocess
from pathlib import Path

from cdc_pipelines.stack.debian import PackageRoot, package_root
from cdc_pipelines.stack.layout import discover
from cdc_pipelines.stack.settings import ServerAccess

_LIBRARIES = ("usr/share/perl5", "usr/lib/*/perl5/*", "usr/share/perl/*", "usr/lib/*/perl/*", "usr/lib/*/perl-base")


def toolkit() -> PackageRoot:
    """The unpacked package; fetched when first asked for."""
    parts = discover().parts
    return package_root("percona-toolkit", parts / "percona-toolkit", "bookworm",
                        ("percona-toolkit", "libdbd-mysql-perl"))  # fmt: skip


def alter_online(server: ServerAccess, database: str, table: str, actions: str, home: Path) -> str:
    """What `ALTER TABLE table actions` does, done by the tool; its output. Fails where the tool does."""
    root = toolkit()
    folders = [f"-I{folder}" for pattern in _LIBRARIES for folder in root.path.glob(pattern)]
    done = subprocess.run(
        [
            *root.command("usr/bin/perl"), *folders, str(root.path / "usr/bin/pt-online-schema-change"),
            "--no-version-check", "--recursion-method=none", "--chunk-size=500", "--max-load=Threads_running=1000",
            "--critical-load=Threads_running=2000",
            "--alter", actions, "--execute",
            f"h={server.host},P={server.port},u={server.admin_user},p={server.admin_password},D={database},t={table}",
        ],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "LC_ALL": "C"}, capture_output=True, text=True, timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
