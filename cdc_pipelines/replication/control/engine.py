"""Reaching the store's database: SQLite on a local disk by default, PostgreSQL for more than one host."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, InterfaceError, OperationalError

from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.secrets import redact

BUSY_MS = 30_000  # how long a statement waits for another writer of the SQLite file
CONNECT_TIMEOUT_S = 10

# Kinds of file systems on which SQLite's locks or its shared memory don't hold.
_REMOTE = {"9p", "afs", "ceph", "cifs", "davfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}

# What waiting does not mend. Connecting fails with a text only: psycopg2 gives no code before there is a session.
_REFUSALS = re.compile(
    "authentication failed|no password supplied|no pg_hba.conf entry|(database|role) .* does not exist|"
    "permission denied|is not permitted|not a database|readonly database|unable to open database file"
)


def cdc_home() -> Path:
    """The folder of the default control store and of logs: `CDC_HOME`, else `.cdc` in the current folder."""
    return Path(os.environ.get("CDC_HOME") or ".cdc").expanduser().absolute()


def resolve_url(text: str | None = None) -> URL:
    """The store's address: given, or `CDC_CONTROL_URL`, or SQLite in `cdc_home()`.

    Raises ConfigurationError for anything but SQLite in a file and PostgreSQL.
    """
    text = text or os.environ.get("CDC_CONTROL_URL") or f"sqlite:///{cdc_home() / 'control.db'}"
    try:
        url = make_url(text)
    except ArgumentError:
        raise ConfigurationError(
            "the control store's URL can't be read (not repeated here: it may hold a password)",
            "set CDC_CONTROL_URL to sqlite:////folder/control.db or postgresql+psycopg2://user:password@host/database.",
        ) from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ConfigurationError(
                "the control store can't be SQLite in memory: several processes share it",
                "give a file: CDC_CONTROL_URL=sqlite:////folder/control.db.",
            )
        return url.set(drivername="sqlite", database=str(Path(url.database).expanduser().absolute()))
    if backend in ("postgresql", "postgres"):
        # A bare postgresql:// means another driver in each release of SQLAlchemy.
        return url.set(drivername="postgresql+psycopg2")
    raise ConfigurationError(
        f"the control store can't be {backend}", "use sqlite:////folder/control.db or postgresql+psycopg2://…."
    )


def make_engine(url: URL, patience_s: float | None = None) -> Engine:
    """An engine whose connections are set up as the store needs them. Connects when first used.

    With `patience_s` no statement waits or works for longer than that.
    """
    busy_ms = BUSY_MS if patience_s is None else int(patience_s * 1000)
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        _make_private(file)
        _require_local(file)
        engine = create_engine(
            url, connect_args={"timeout": busy_ms / 1000}, execution_options={"cdc_busy_ms": busy_ms}
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = create_engine(
            url,
            pool_size=1,
            max_overflow=10,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S if patience_s is None else max(2, int(patience_s)),
                "application_name": "cdc-control",
                "options": f"-c timezone=UTC -c lock_timeout={busy_ms} -c idle_in_transaction_session_timeout=60000 "
                f"-c statement_timeout={0 if patience_s is None else busy_ms}",
                "keepalives_idle": 30,
                "tcp_user_timeout": busy_ms,
            },
        )
    event.listen(engine, "connect", _remember_process)
    event.listen(engine, "checkout", _refuse_after_fork)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says, not where the driver guesses
    connection.execute(f"pragma busy_timeout = {BUSY_MS}")
    connection.execute("pragma foreign_keys = on")


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"pragma busy_timeout = {int(options.get('cdc_busy_ms', BUSY_MS))}")
    # A transaction that reads first and writes later would fail where another wrote in between.
    connection.exec_driver_sql("begin immediate" if options.get("cdc_write") else "begin")


def _remember_process(_: Any, entry: Any) -> None:
    entry.info["pid"] = os.getpid()


def _refuse_after_fork(_: Any, entry: Any, proxy: Any) -> None:
    """A forked process must not speak on its parent's connection; the pool then opens another."""
    if entry.info["pid"] != os.getpid():
        entry.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError(f"connection belongs to process {entry.info['pid']}")


def _make_private(file: Path) -> None:
    """The folder and the (still empty) file, for this user alone. Raises ConfigurationError where that can't be."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError as error:
        raise ConfigurationError(
            f"the control store {file} can't be made: {error.strerror}",
            "let CDC_HOME name a folder that can be written.",
        ) from error


def _require_local(file: Path) -> None:
    """Raises ConfigurationError for a SQLite file on a network file system."""
    kind = file_system_of(file)
    if kind in _REMOTE or kind.startswith("fuse.ssh"):
        raise ConfigurationError(
            f"the control store {file} lies on a network file system ({kind}), where SQLite's locks don't hold",
            "put it on a local disk (CDC_HOME), or use PostgreSQL: CDC_CONTROL_URL=postgresql+psycopg2://….",
        )


def file_system_of(file: Path) -> str:
    """The kind of file system that a path lies on (`ext4`, `nfs4`, …), empty where that can't be told."""
    resolved = file.parent.resolve()
    best, kind = "", ""
    try:
        partitions = psutil.disk_partitions(all=True)
    except OSError:
        return ""
    for partition in partitions:
        # Of two mounts on one place the later one is seen.
        if resolved.is_relative_to(partition.mountpoint) and len(partition.mountpoint) >= len(best):
            best, kind = partition.mountpoint, partition.fstype
    return kind


@contextmanager
def transaction(engine: Engine, *, write: bool, busy_ms: int | None = None) -> Iterator[Connection]:
    """One transaction. `busy_ms`: how long its statements wait for others, where not as long as the engine's do.

    Raises RetryableError where the database is out of reach or stays locked, ConfigurationError where it refuses us.
    """
    try:
        with engine.connect() as connection:
            busy = {} if busy_ms is None else {"cdc_busy_ms": busy_ms}
            connection = connection.execution_options(cdc_write=write, **busy)
            with connection.begin():
                if busy_ms is not None and engine.dialect.name == "postgresql":
                    connection.exec_driver_sql(f"set local lock_timeout = {int(busy_ms)}")
                yield connection
    except (OperationalError, InterfaceError) as error:
        raise _unavailable(engine, error) from error
    except DBAPIError as error:
        if error.connection_invalidated or _REFUSALS.search(str(error.orig)):
            raise _unavailable(engine, error) from error
        raise


def _unavailable(engine: Engine, error: DBAPIError) -> RetryableError | ConfigurationError:
    where = engine.url.render_as_string(hide_password=True)
    reason = redact(str(error.orig).strip().splitlines()[0]) if str(error.orig).strip() else type(error.orig).__name__
    if _REFUSALS.search(reason):
        return ConfigurationError(
            f"control store {where}: {reason}",
            "mend the address, the login or its rights (it creates tables of its own); see CDC_CONTROL_URL.",
        )
    if engine.dialect.name == "sqlite":
        step = "another process writes to it for long, or the folder can't be written; try again."
    else:
        step = "check that the server runs and that CDC_CONTROL_URL is right; then try again."
    return RetryableError(f"control store {where}: {reason}", step)


def now(connection: Connection) -> datetime:
    """The store's clock: the server's on PostgreSQL, as hosts' clocks differ; this host's on SQLite."""
    if connection.dialect.name == "postgresql":
        moment = connection.execute(select(func.clock_timestamp())).scalar_one()
        assert isinstance(moment, datetime)
        return moment.astimezone(UTC)
    return datetime.now(UTC)
