"""When a binary log file was begun: no SQL tells, its first event does."""

import struct
import time
from contextlib import suppress
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import COMMAND
from pymysql.cursors import Cursor

from cdc_pipelines.replication.databases.mysql.connection import connect
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.pipeline import Source

_FORMAT_DESCRIPTION = 15
_DUMP_NON_BLOCK = 1
_END_TRIES = 50
_FIRST_EVENTS = 5  # the server sends a rotate event of its own making first


def file_started(conn: "Connection[Cursor]", spec: Source, file: str) -> int | None:
    """Unix time at which the file was begun; None where we may not read the log (REPLICATION SLAVE) or it is gone.

    It asks for the file as a replica would (with the server id 0, as mysqlbinlog does) and takes the first event.
    `conn` then ends that session: a file that somebody reads can't be purged.
    """
    try:
        dump: Any = connect(spec, purpose="log-age")
    except CdcError:
        return None
    session_id = dump.thread_id()
    try:
        with dump.cursor() as cursor:
            cursor.execute("set @master_binlog_checksum = @@global.binlog_checksum")
            if spec.type == "mysql":
                cursor.execute("set @source_binlog_checksum = @@global.binlog_checksum")
        return _first_timestamp(dump, file)
    except pymysql.err.MySQLError:
        return None
    finally:
        dump._force_close()
        _end(conn, session_id)


def _first_timestamp(dump: Any, file: str) -> int | None:
    dump._execute_command(COMMAND.COM_BINLOG_DUMP, struct.pack("<IHI", 4, _DUMP_NON_BLOCK, 0) + file.encode())
    for _ in range(_FIRST_EVENTS):
        data = dump._read_packet().get_all_data()
        if len(data) < 6 or data[0] != 0:
            return None
        timestamp, kind = struct.unpack_from("<IB", data, 1)
        if kind == _FORMAT_DESCRIPTION:
            return int(timestamp)
    return None


def _end(conn: "Connection[Cursor]", session_id: int) -> None:
    with conn.cursor() as cursor:
        # Gone already is as good; then the server knows no such session.
        with suppress(pymysql.err.MySQLError):
            cursor.execute(f"kill {int(session_id)}")
        for _ in range(_END_TRIES):
            cursor.execute("select count(*) from information_schema.processlist where id = %s", (session_id,))
            found = cursor.fetchone()
            if not found or not found[0]:
                return
            time.sleep(0.02)
