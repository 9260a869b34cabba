"""Sources under write load, and what their logs say was written."""

import threading
import time

import pymysql
import pytest

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.position import log_file_number
from tests.integration.conftest import SourceServer

ONLY_MYSQL = pytest.mark.parametrize("server", ["mysql"], indirect=True)
ONLY_MARIADB = pytest.mark.parametrize("server", ["mariadb"], indirect=True)


class Writers:
    """Threads that each commit one row into `a` and one into `b` per transaction, as fast as they can."""

    def __init__(self, server: SourceServer, count: int, hold_s: float) -> None:
        self.server, self.hold_s = server, hold_s
        self.commits, self.failures = 0, []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, daemon=True) for _ in range(count)]

    def _write(self) -> None:
        try:
            with self.server.admin() as connection, connection.cursor() as cursor:
                connection.autocommit(False)
                while not self._stop.is_set():
                    cursor.execute("insert into a(v) values (1)")
                    if self.hold_s:
                        time.sleep(self.hold_s)
                    cursor.execute("insert into b(v) values (1)")
                    connection.commit()
                    self.commits += 1
        except pymysql.err.MySQLError as error:
            self.failures.append(error)

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def two_tables(server: SourceServer) -> None:
    server.run(
        "create table a (n bigint auto_increment primary key, v int)",
        "create table b (n bigint auto_increment primary key, v int)",
    )


def our_transactions(server: SourceServer, start: MySqlPosition, end: MySqlPosition) -> list[tuple[str, int, int, str]]:
    """(file, end offset, rows events in `a`, gtid) of each transaction of ours between two positions, from the log.

    Read by SHOW BINLOG EVENTS, so nothing of ours is involved.
    """
    found = []
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("show binary logs")
        files = [row[0] for row in cursor.fetchall()
                 if log_file_number(start.file) <= log_file_number(row[0]) <= log_file_number(end.file)]
        for file in files:
            at = start.pos if file == start.file else 4
            gtid, rows = "", 0
            while True:
                cursor.execute(f"show binlog events in '{file}' from {at} limit 20000")
                events = cursor.fetchall()
                for _, _, kind, _, end_pos, info in events:
                    if kind == "Gtid":
                        gtid = info.split("'")[1] if "'" in info else info.split("GTID ")[1].split()[0]
                        rows = 0
                    elif kind == "Table_map" and f"({server.database}.a)" in info:
                        rows += 1
                    elif kind == "Xid" and rows:
                        found.append((file, end_pos, rows, gtid))
                        rows = 0
                if len(events) < 20000:
                    break
                at = events[-1][4]
    return found
