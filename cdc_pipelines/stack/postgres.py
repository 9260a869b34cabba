"""PostgreSQL 15: the target, Dagster's storage, and a source (logical decoding is on).

The machine's own binaries are used where it has them, with a data folder of ours; the system's cluster is
never touched. Otherwise Debian's packages run out of a folder of their own.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psycopg

from cdc_pipelines.stack.debian import PackageRoot, package_root
from cdc_pipelines.stack.errors import PartFailedError
from cdc_pipelines.stack.part import NotReadyError, Part, fingerprint, for_minutes, server_environment
from cdc_pipelines.stack.process import Launch, left_behind
from cdc_pipelines.stack.settings import HOST

_BIN = "usr/lib/postgresql/15/bin"
_WRAPPED = ("postgres", "initdb")
DATABASES = ("cdc_target", "dagster")


class Postgres(Part):
    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": roll back, disconnect, stop

    @property
    def root(self) -> PackageRoot:
        return PackageRoot(self.layout.parts / "postgres-15")

    @property
    def bin(self) -> Path:
        system = Path("/") / _BIN
        return system if all((system / name).exists() for name in _WRAPPED) else self.root.path / _BIN

    @property
    def config_file(self) -> Path:
        return self.layout.conf(self.name) / "postgresql.conf"

    @property
    def version(self) -> str:
        out = subprocess.run([self.bin / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
        return out.split(")", 1)[-1].split("(", 1)[0].split()[-1]

    def missing(self) -> str | None:
        return None if self.bin.exists() else "PostgreSQL server (about 60 MB)"

    def fetch(self) -> None:
        if self.bin.exists():
            return
        package_root(self.name, self.root.path, "bookworm", ("postgresql-15",), _wrap)

    def initialize(self, data: Path) -> None:
        secret = self.secret_file(self.values["CDC_STACK_POSTGRES_SUPERUSER_PASSWORD"] + "\n")
        try:
            self.run_once(
                "initdb",
                [str(self.bin / "initdb"), "-D", str(data), "--username", self.values["CDC_STACK_POSTGRES_SUPERUSER"],
                 "--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8",
                 "--no-sync"],
                server_environment(),
            )
        finally:
            secret.unlink()
        user, password = self.values["CDC_STACK_POSTGRES_USER"], self.values["CDC_STACK_POSTGRES_PASSWORD"]
        statements = [f"CREATE ROLE {user} LOGIN CREATEDB REPLICATION PASSWORD '{password}'"]
        statements += [f"CREATE DATABASE {database} OWNER {user}" for database in DATABASES]
        # Without a listening server: nobody can come in before the users exist.
        self.run_once(
            "create-databases",
            [str(self.bin / "postgres"), "--single", "-D", str(data), "-c", "log_min_messages=error",
             "-c", "log_min_error_statement=panic", "postgres"],
            server_environment(),
            stdin="\n".join(statements) + "\n",
        )

    def launch(self) -> Launch:
        hba = self.layout.write(self.config_file.with_name("pg_hba.conf"), _HBA)
        config = self._config(hba)
        self.layout.write(self.config_file, config)
        argv = (str(self.bin / "postgres"), "-D", str(self.data), "-c", f"config_file={self.config_file}")
        quick = _QUICK if for_minutes() else ()
        return Launch((*argv, *quick), server_environment(), self.data, self.log, str(self.config_file),
                      fingerprint(argv, config, _HBA))

    def clear_leftovers(self) -> None:
        for child in left_behind(self.data):
            child.kill()
        # It names a pid only; once reused by any process of the same user it would block the start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def check(self) -> None:
        user, password = self.values["CDC_STACK_POSTGRES_USER"], self.values["CDC_STACK_POSTGRES_PASSWORD"]
        for database in DATABASES:
            try:
                with psycopg.connect(host=HOST, port=self.port, user=user, password=password, dbname=database,
                                     connect_timeout=3) as connection:
                    connection.execute("SELECT 1")
            except psycopg.Error as error:
                if "password authentication failed" in str(error):
                    raise PartFailedError(
                        self.name, f"the data folder was made with another password of user {user} than stack.env "
                        "holds; restore stack.env, or start anew with `cdc stack down --wipe`"
                    ) from None
                raise NotReadyError(str(error)) from error

    def _config(self, hba: Path) -> str:
        return f"""hba_file = '{hba}'
listen_addresses = '{HOST}'
port = {self.port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = 256MB
max_wal_size = 4GB
wal_level = logical
max_replication_slots = 30
max_wal_senders = 30
password_encryption = 'scram-sha-256'
# A development stack: survives a killed server, may lose the last moment with the machine's power.
synchronous_commit = on
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d '
log_error_verbosity = default
"""


# Survives a killed server all the same. A database that is made or dropped takes 50 ms instead of half a second.
_QUICK = ("-c", "fsync=off", "-c", "full_page_writes=off")

_HBA = """# Passwords always, loopback only.
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""


def _wrap(folder: Path) -> None:
    """initdb starts `postgres` by itself: let the name of each stand for a run through the folder's loader."""
    root = PackageRoot(folder)
    for name in _WRAPPED:
        program = folder / _BIN / name
        program.rename(program.with_suffix(".real"))
        loader, option, libraries, _ = (piece.replace(str(folder), "$root") for piece in root.command(_BIN))
        program.write_text(
            '#!/bin/sh\nhere="$(cd "$(dirname "$0")" && pwd)"\nroot="${here%/' + _BIN + '}"\n'
            f'exec "{loader}" {option} "{libraries}" --argv0 "$here/{name}" "$here/{name}.real" "$@"\n'
        )
        program.chmod(0o755)
