"""MySQL and MariaDB servers of a test's own, for what must not be done to the shared ones: resets, purges, settings.

They run from the stack's unpacked packages, as the stack's user, and end with the test.
"""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pymysql

from cdc_pipelines.stack.debian import PackageRoot
from cdc_pipelines.stack.layout import Layout, ServiceUser, discover
from cdc_pipelines.stack.part import server_environment
from cdc_pipelines.stack.settings import ServerAccess

_PASSWORD = "own-server"


@contextmanager
def own_server(flavor: str, *settings: str) -> Iterator[ServerAccess]:
    """A running server with an empty data folder; root and `cdc` may do anything, from this machine only."""
    layout = discover()
    folder = _folder(layout.user)
    subprocess.run(["cp", "-a", f"{_empty(flavor)}/.", folder / "data"], check=True)  # with their owner
    root, program = _program(layout, flavor)
    port = _free_port()
    options = _options(flavor, root, folder, port, settings)
    users = folder / "users.sql"
    users.write_text(
        f"create user cdc@'%' identified by '{_PASSWORD}';\ngrant all on *.* to cdc@'%' with grant option;\n"
    )
    users.chmod(0o644)
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*program, *options, f"--init-file={users}"], stdout=log, stderr=log, env=server_environment(), cwd=folder,
            **_identity(layout.user),
        )
    try:
        access = ServerAccess(port=port, user="cdc", password=_PASSWORD, admin_user="cdc", admin_password=_PASSWORD)
        _wait(access, process, folder / "server.log")
        yield access
    finally:
        process.kill()  # its data goes too; asked to end, MySQL first waits seconds for whoever reads its log
        process.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def _program(layout: Layout, flavor: str) -> tuple[PackageRoot, tuple[str, ...]]:
    root = PackageRoot(layout.parts / ("mysql-9" if flavor == "mysql" else "mariadb-10.11"))
    return root, root.command(f"usr/sbin/{'mysqld' if flavor == 'mysql' else 'mariadbd'}")


def _folder(user: ServiceUser) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="cdc-own-"))
    for path in (folder, folder / "data", folder / "tmp"):  # a MariaDB that starts empties a common one
        path.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            os.chown(path, user.uid, user.gid)
    return folder


@cache
def _empty(flavor: str) -> Path:
    """An initialized data folder, to copy: making one takes MySQL seconds. Deleted when this process ends."""
    layout = discover()
    folder = _folder(layout.user)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    root, program = _program(layout, flavor)
    initialize = ["--initialize-insecure"] if flavor == "mysql" else ["--bootstrap", "--skip-log-bin"]
    system = "" if flavor == "mysql" else _mariadb_system_tables(root)
    _run([*program, *_options(flavor, root, folder, _free_port(), ()), *initialize], folder, layout.user, system)
    (folder / "data" / "auto.cnf").unlink(missing_ok=True)  # each server makes up an identity of its own
    return folder / "data"


def _identity(user: ServiceUser) -> dict[str, object]:
    return {"user": user.uid, "group": user.gid, "extra_groups": []} if os.geteuid() == 0 else {}


def _options(flavor: str, root: PackageRoot, folder: Path, port: int, settings: tuple[str, ...]) -> list[str]:
    share = root.path / "usr/share/mysql"
    common = [
        "--no-defaults", f"--basedir={root.path}/usr", f"--datadir={folder / 'data'}", f"--port={port}",
        f"--tmpdir={folder / 'tmp'}",
        "--bind-address=127.0.0.1", f"--socket={folder}/socket", f"--pid-file={folder / 'server.pid'}",
        f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}", "--skip-name-resolve",
        f"--plugin-dir={root.path}/usr/lib/mysql/plugin", "--innodb-buffer-pool-size=64M", "--log-bin=binlog",
        "--server-id=77", "--binlog-format=ROW", "--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0",
    ]
    own = ["--mysqlx=OFF", "--secure-file-priv=NULL", "--innodb-redo-log-capacity=8M"] if flavor == "mysql" else []
    return [*common, *own, *settings]


def _mariadb_system_tables(root: PackageRoot) -> str:
    share = root.path / "usr/share/mysql"
    names = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
    texts = [(share / name).read_text() for name in names]
    return "\n".join(["create database if not exists mysql;", "use mysql;", "SET @auth_root_socket=NULL;", *texts])


def _run(argv: list[str], folder: Path, user: ServiceUser, text: str) -> None:
    done = subprocess.run(
        argv, input=text, text=True, capture_output=True, env=server_environment(), cwd=folder, check=False,
        **_identity(user),
    )
    assert done.returncode == 0, done.stderr[-3000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(access: ServerAccess, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            pymysql.connect(host="127.0.0.1", port=access.port, user=access.user, password=access.password).close()
            return
        except pymysql.err.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not come up:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.2)
