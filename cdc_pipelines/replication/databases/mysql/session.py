"""What every session of ours on a source has in common: encryption, character set, time zone, patience."""

import os
from typing import Any

from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.pipeline import Source

CONNECT_TIMEOUT_S = 10
# Longest wait for an answer's next byte. A checksum over a wide range may think for minutes before its first row.
READ_TIMEOUT_S = 900
LOCK_WAIT_S = 5


def where(spec: Source) -> str:
    """user@host:port, as messages name the source."""
    return f"{spec.resolved_user()}@{spec.resolved_host()}:{spec.resolved_port()}"


def settings(flavor: str) -> list[str]:
    """Statements that bring a fresh session to the state that all our SQL presumes."""
    common = [
        "set names utf8mb4",
        # With sql_mode '' zero dates can be read and compared, and backslash escapes in strings are on.
        "set session sql_mode='', time_zone='+00:00', autocommit=1, sql_auto_is_null=0, sql_select_limit=default",
        # Of the server's defaults: ones that refuse large queries, take quotes off names or end a session at COMMIT.
        "set session sql_big_selects=1, sql_quote_show_create=1, completion_type='NO_CHAIN'",
        "set session transaction isolation level repeatable read",
        # A slow target makes the server wait while it sends rows; its default gives up after 60 s, mid-table.
        "set session net_write_timeout=3600, net_read_timeout=3600, wait_timeout=604800",
        f"set session lock_wait_timeout={LOCK_WAIT_S}",
    ]
    if flavor == "mariadb":
        return [*common, "set session max_statement_time=0, idle_transaction_timeout=0, "
                         "idle_readonly_transaction_timeout=0"]
    return [*common, "set session max_execution_time=0, information_schema_stats_expiry=0"]


def require_flavor(spec: Source, server_version: str) -> None:
    """Raises ConfigurationError where the server is not of the declared kind."""
    found = "mariadb" if "mariadb" in server_version.lower() else "mysql"
    if found != spec.type:
        raise ConfigurationError(
            f"the server at {where(spec)} is {found} {server_version}, but source.type says {spec.type}",
            f"set source.type to {found} in the pipeline's file.",
        )


def require_tls_files(spec: Source) -> None:
    """Raises ConfigurationError where a file named under source.tls can't be read; the clients don't say which."""
    for name in ("ca", "cert", "key"):
        path = getattr(spec.tls, name)
        if path and spec.tls.mode != "disable" and not os.access(path, os.R_OK):
            raise ConfigurationError(
                f"source.tls.{name}: {path} does not exist or can't be read by this process",
                "correct the path, or the file's owner and mode.",
            )


def pymysql_tls(spec: Source) -> dict[str, Any]:
    """TLS arguments of pymysql: none means "if the server offers it", a dictionary of settings means "or fail"."""
    tls = spec.tls
    if tls.mode == "disable":
        return {"ssl_disabled": True}
    if tls.mode == "prefer" and not (tls.ca or tls.cert):
        return {}
    verify = tls.mode in ("verify_ca", "verify_identity")
    chosen: dict[str, Any] = {"verify_mode": verify, "check_hostname": tls.mode == "verify_identity"}
    chosen |= {name: value for name, value in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)) if value}
    return {"ssl": chosen}


def c_client_tls(spec: Source) -> dict[str, Any]:
    """The same for the C client."""
    tls = spec.tls
    if tls.mode == "disable":
        return {"ssl_disabled": True}
    return {
        "ssl_disabled": False, "ssl_ca": tls.ca, "ssl_cert": tls.cert, "ssl_key": tls.key,
        "ssl_verify_cert": tls.mode in ("verify_ca", "verify_identity"),
        "ssl_verify_identity": tls.mode == "verify_identity",
    }
