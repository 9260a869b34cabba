"""Where a server's binary log stands, and which files of it are left."""

from typing import Any, NamedTuple

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.server_errors import translate
from cdc_pipelines.replication.errors import ConfigurationError

_SYNTAX_ERROR = 1064


class LogFile(NamedTuple):
    """One binary log file that the server still has; `size` in bytes."""

    name: str
    size: int


def select(conn: "Connection[Cursor]", sql: str, params: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
    """All rows of a metadata query; errors of the server in our own tree."""
    try:
        with conn.cursor() as cursor:
            cursor.execute(sql, params)
            return [tuple(row) for row in cursor.fetchall()]
    except pymysql.err.MySQLError as error:
        raise translate(error, f"`{sql.split(' from ')[0][:60]}`", f"{conn.host}:{conn.port}") from error


def value(conn: "Connection[Cursor]", expression: str) -> Any:
    """The value of one expression, e.g. `@@global.gtid_purged`."""
    return select(conn, f"select {expression}")[0][0]  # our own constants only


def binlog_status(conn: "Connection[Cursor]", identity: str) -> MySqlPosition:
    """Where a MySQL server's log ends now."""
    try:
        rows = select(conn, "show binary log status")
    except ConfigurationError as error:
        cause = error.__cause__
        if cause is None or cause.args[0] != _SYNTAX_ERROR:
            raise
        rows = select(conn, "show master status")  # before 8.2
    if not rows:
        raise ConfigurationError(
            f"the server at {conn.host}:{conn.port} writes no binary log",
            "start it with log_bin (and binlog_format=ROW, binlog_row_image=FULL).",
        )
    file, pos, _, _, executed = rows[0][:5]
    gtids = "".join(executed.split()) if value(conn, "@@global.gtid_mode") == "ON" else ""
    return MySqlPosition(file, int(pos), gtids, identity, "mysql")


def mariadb_gtids(conn: "Connection[Cursor]", file: str, pos: int) -> str:
    """The GTID position that is file and offset on a MariaDB server.

    Raises ConfigurationError while its log holds no transaction at all: Debezium can't start from an empty set.
    """
    gtids = select(conn, "select binlog_gtid_pos(%s, %s)", (file, pos))[0][0]
    if isinstance(gtids, bytes):
        gtids = gtids.decode()
    if not gtids:
        raise ConfigurationError(
            f"MariaDB's binary log has no transaction up to {file}:{pos}, so there is no GTID to start from",
            "write something to the server once (any insert), then try again.",
        )
    return str(gtids)


def log_files(conn: "Connection[Cursor]") -> list[LogFile]:
    """The binary log files that are left, oldest first."""
    return [LogFile(str(row[0]), int(row[1])) for row in select(conn, "show binary logs")]
