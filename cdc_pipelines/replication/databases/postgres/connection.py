"""Connections to the target, and its errors in terms of what the caller should do."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from cdc_pipelines.replication.errors import CdcError, ConfigurationError, RetryableError
from cdc_pipelines.replication.pipeline import Target

_SSL_MODES = {
    "disable": "disable",
    "prefer": "prefer",
    "require": "require",
    "verify_ca": "verify-ca",
    "verify_identity": "verify-full",
}

# What a role or database may have set otherwise, and what our texts, locks and long loads rely on.
_SESSION = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "default_transaction_isolation": r"read\ committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # The server, too, shall notice that a host of ours is gone, and let go of what its session held: by default that
    # takes two hours.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
}

# Those that older servers don't know can't be asked for at login.
_TIMEOUTS = (
    "select set_config(name, '0', false) from pg_settings where name in ('idle_session_timeout', 'transaction_timeout')"
)

# libpq gives no SQLSTATE for a refused login: these texts tell that waiting won't help.
_REFUSED = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "does not exist",
    "permission denied",
    "is not permitted to log in",
    "does not support SSL",
    "certificate",
    "authentication method",
    "unsupported frontend protocol",
)

_RETRYABLE_CLASSES = {
    "08",  # connection lost
    "40",  # rolled back by the server: deadlock, serialization
    "53",  # out of disk, memory or connections
    "57",  # shut down, terminated, cancelled
    "58",  # I/O
}
_RETRYABLE = {"55P03", "55006", "25P03"}  # lock not available, object in use, idle transaction ended by the server


def connect(spec: Target, *, purpose: str, autocommit: bool = False) -> psycopg.Connection:
    """A session on the target: UTF-8, UTC, `application_name` = `cdc:{purpose}`.

    `purpose` starts with the pipeline's name (`shop:copy`): taking a pipeline over ends the sessions found by it.
    Raises RetryableError where the server is out of reach, ConfigurationError where it refuses the login.
    """
    host, port, user = spec.resolved_host(), spec.resolved_port(), spec.resolved_user()
    tls = {"sslrootcert": spec.tls.ca, "sslcert": spec.tls.cert, "sslkey": spec.tls.key}
    try:
        conn = psycopg.connect(
            host=host,
            port=port,
            user=user,
            password=spec.resolved_password(),
            dbname=spec.database,
            sslmode=_SSL_MODES[spec.tls.mode],
            **{name: path for name, path in tls.items() if path is not None},  # type: ignore[arg-type]
            application_name=f"cdc:{purpose}"[:63],
            client_encoding="UTF8",
            options=" ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
            connect_timeout=10,
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
            autocommit=True,
        )
        conn.execute(_TIMEOUTS)
        conn.autocommit = autocommit
        return conn
    except psycopg.OperationalError as error:
        text = " ".join(str(error).split())
        where = f"target PostgreSQL {host}:{port}, database {spec.database}, user {user}"
        if any(sign in text for sign in _REFUSED):
            raise ConfigurationError(
                f"{where}: login refused: {text}",
                "check user, password, database and tls under `target` in the pipeline's file, and pg_hba.conf.",
            ) from error
        raise RetryableError(
            f"{where}: out of reach: {text}", "check that the server runs and accepts connections; then try again."
        ) from error


def explain(error: psycopg.Error, what: str) -> CdcError:
    """The error of this package that fits a server's error; `what` names the thing that was being done."""
    state = error.sqlstate or ""
    text = brief(error)
    if state[:2] in _RETRYABLE_CLASSES or state in _RETRYABLE or (
        not state and isinstance(error, psycopg.OperationalError)
    ):
        return RetryableError(f"{what}: {text}", "nothing of it was kept; run the same command again.")
    if state == "42501":
        return ConfigurationError(
            f"{what}: {text}", "grant the target user that right; `cdc check NAME` prints the exact statements."
        )
    if state == "25006":
        return ConfigurationError(f"{what}: {text}", "the target is read-only (a standby?): give the primary's host.")
    return ConfigurationError(f"{what}: {text}", "see the target server's log for the statement.")


def brief(error: psycopg.Error, limit: int = 400) -> str:
    """The server's message, detail and context in one line of bounded length (a row's values may stand in it)."""
    diag = error.diag
    parts = [diag.message_primary or str(error), diag.message_detail, diag.context]
    text = "; ".join(" ".join(part.split()) for part in parts if part)
    return text if len(text) <= limit else text[: limit - 1] + "…"


@contextmanager
def server_errors(what: str) -> Iterator[None]:
    """Within, errors of the target server become errors of this package."""
    try:
        yield
    except psycopg.Error as error:
        raise explain(error, what) from error


def take_replica_role(conn: psycopg.Connection) -> bool:
    """Let foreign keys and ordinary triggers of the target rest in this session, where the user may.

    Rows arrive in the source's order of commits and tables in any order, so checks per statement would refuse them.
    Preflight demands the right where a target table has such a thing.
    """
    try:
        with conn.transaction():
            conn.execute("set session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True
