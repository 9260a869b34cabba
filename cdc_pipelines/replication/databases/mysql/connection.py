"""Connections to a MySQL or MariaDB source: one kind for metadata, one for bulk reading."""

import ssl
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.databases.mysql import session
from cdc_pipelines.replication.databases.mysql.reader import Reader, connect_reader
from cdc_pipelines.replication.databases.mysql.server_errors import TLS_FAILED, translate
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.pipeline import Source

__all__ = ["Reader", "Session", "connect", "connect_reader"]

_UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


class Session(Connection):
    """Where no certificate is verified, none is loaded: the system's take 30 ms of CPU, at every login."""

    def _create_ssl_ctx(self, sslp: dict[str, Any]) -> ssl.SSLContext:
        if any(sslp.values()):  # what it is verified by, or what we show
            return super()._create_ssl_ctx(sslp)  # type: ignore[misc, no-any-return]
        return _UNVERIFIED


def connect(spec: Source, *, purpose: str) -> "Connection[Cursor]":
    """A session for metadata: utf8mb4, UTC, sql_mode '', autocommit on.

    Raises RetryableError where the server is out of reach, ConfigurationError where it refuses us or is of another
    kind than declared; both name user, host and port.
    """
    where = session.where(spec)
    session.require_tls_files(spec)
    try:
        connection = Session(
            host=spec.resolved_host(), port=spec.resolved_port(), user=spec.resolved_user(),
            password=spec.resolved_password().encode(),  # pymysql would send str as latin-1
            database=spec.database, charset="utf8mb4", connect_timeout=session.CONNECT_TIMEOUT_S,
            read_timeout=session.READ_TIMEOUT_S, write_timeout=session.READ_TIMEOUT_S, autocommit=True,
            program_name=f"cdc:{purpose}", **session.pymysql_tls(spec),
        )
    except pymysql.err.MySQLError as error:
        raise _login_error(error, spec, where) from error
    except OSError as error:  # among them errors of the ssl module about a certificate's content
        raise ConfigurationError(
            f"TLS to {where} can't be set up: {error}", "check the files under source.tls."
        ) from error
    try:
        session.require_flavor(spec, str(connection.get_server_info()))  # type: ignore[no-untyped-call]
        with connection.cursor() as cursor:
            for statement in session.settings(spec.type):
                cursor.execute(statement)
    except pymysql.err.MySQLError as error:
        connection.close()
        raise translate(error, "preparing a session", where) from error
    except ConfigurationError:
        connection.close()
        raise
    return connection


def _login_error(error: pymysql.err.MySQLError, spec: Source, where: str) -> Exception:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
        return translate(pymysql.err.OperationalError(TLS_FAILED, text), "logging in", where)
    return translate(error, f"logging in to database {spec.database}", where)
