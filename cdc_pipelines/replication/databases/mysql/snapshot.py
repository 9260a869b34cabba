"""Sessions that all see the source at one position of its log, and that position.

MySQL: while a table lock of milliseconds keeps the captured tables still, every session starts its snapshot and the
position is read (`lock.py`); without the lock the position is read first and the snapshot may be slightly ahead of it.
MariaDB: a snapshot knows its own position; several sessions are restarted until theirs agree, or commits are held back
for a moment.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.databases.mysql.binlog import binlog_status, mariadb_gtids, select, value
from cdc_pipelines.replication.databases.mysql.connection import connect, connect_reader
from cdc_pipelines.replication.databases.mysql.lock import commits_blocked, tables_locked
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.read import SnapshotSession
from cdc_pipelines.replication.databases.mysql.reader import Reader
from cdc_pipelines.replication.databases.mysql.server_errors import (
    LOCK_WAIT_TIMEOUT,
    NOT_GRANTED,
    TABLE_CHANGED,
    code_and_text,
)
from cdc_pipelines.replication.databases.mysql.sql import quote_table
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.pipeline import Source
from cdc_pipelines.replication.position import log_file_number

log = logging.getLogger(__name__)

Place = tuple[str, int]  # file and offset

START = "start transaction with consistent snapshot, read only"
_OPEN_TRIES = 8
_TOUCH_WAIT_S = 1
_AGREE_TRIES = 40


class Snapshot:
    """`sessions` all see the source exactly as of `position`; every table has been touched, so DDL on them waits."""

    def __init__(self, position: MySqlPosition, sessions: list[SnapshotSession]) -> None:
        self.position = position
        self.sessions = sessions

    def close(self) -> None:
        """End all sessions and let DDL go on. Closing twice is fine."""
        for session in self.sessions:
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_snapshot(
    spec: Source, identity: str, sessions: int, tables: Sequence[Table], lock_wait_seconds: float = 5
) -> Snapshot:
    """Open `sessions` sessions at one position. On a busy MariaDB without RELOAD it may be fewer, but at least one.

    Raises RetryableError where the lock is not to be had (it names who holds the tables), where a table keeps being
    altered or the server is out of reach; ConfigurationError where `locking: none` can't be exact.
    """
    if sessions < 1:
        raise ValueError(f"a snapshot needs at least one session, not {sessions}")
    if spec.type == "mysql" and spec.locking == "none":
        _require_keys(spec, tables)
    readers: list[Reader] = []
    try:
        for _ in range(sessions):
            readers.append(connect_reader(spec, purpose="snapshot"))
            readers[-1].execute(f"set session lock_wait_timeout={_TOUCH_WAIT_S}")
        position = _start_and_touch(spec, identity, readers, tables, lock_wait_seconds)
        return Snapshot(position, [SnapshotSession(reader, spec.type) for reader in readers])
    except BaseException:
        for reader in readers:
            reader.close()
        raise


def _start_and_touch(
    spec: Source, identity: str, readers: list[Reader], tables: Sequence[Table], lock_wait_seconds: float
) -> MySqlPosition:
    """Start the snapshots and touch every table, again where a table was altered in between.

    A session that has touched a table holds off an ALTER, and a waiting ALTER holds off the next session (and everybody
    else): then all let go at once, so that the ALTER can end.
    """
    with connect(spec, purpose="position") as conn:
        for attempt in range(1, _OPEN_TRIES + 1):
            try:
                position = _start(conn, spec, identity, readers, tables, lock_wait_seconds)
                for reader in readers:
                    touch(reader, tables)
                break
            except RetryableError as error:
                cause = error.__cause__
                number = code_and_text(cause)[0] if cause is not None else 0
                if number not in (TABLE_CHANGED, LOCK_WAIT_TIMEOUT) or attempt == _OPEN_TRIES:
                    raise
                for reader in readers:
                    reader.execute("rollback")
                time.sleep(0.1 * attempt)
        if spec.type == "mariadb":
            # Only now: the server searches its log file from the beginning.
            gtids = mariadb_gtids(conn, position.file, position.pos)
            return msgspec.structs.replace(position, gtids=gtids)
        return position


def touch(reader: Reader, tables: Sequence[Table]) -> None:
    """Read something of every table, so that the session's transaction holds off DDL on it."""
    for table in tables:
        reader.query(f"select 1 from {quote_table(table.schema, table.name)} limit 1")  # noqa: S608


def _require_keys(spec: Source, tables: Sequence[Table]) -> None:
    keyless = [t.name for t in tables if not t.key]
    if keyless:
        raise ConfigurationError(
            f"source.locking is none, but these tables have no key: {', '.join(keyless)}",
            "set source.locking to brief, give them a primary key, or leave them out.",
        )


def _start(
    conn: "Connection[Cursor]", spec: Source, identity: str, readers: list[Reader], tables: Sequence[Table],
    lock_wait_seconds: float,
) -> MySqlPosition:
    if spec.type == "mariadb":
        file, pos = _start_mariadb(conn, readers)
        return MySqlPosition(file, pos, "", identity, "mariadb")
    if spec.locking == "none":
        return _start_unlocked(conn, identity, readers)
    with connect(spec, purpose="watchdog") as watchdog, tables_locked(conn, watchdog, tables, lock_wait_seconds):
        _start_all(readers)
        return binlog_status(conn, identity)


def _start_all(readers: Sequence[Reader]) -> None:
    for reader in readers:
        reader.execute(START)


def _start_unlocked(conn: "Connection[Cursor]", identity: str, readers: Sequence[Reader]) -> MySqlPosition:
    """The position is read before the snapshots: all of it is visible in them, and perhaps a little more.

    What is more comes again by the stream, and is harmless for a table with a key. Where nothing was committed
    meanwhile, there is no more; so it is worth some tries.
    """
    before = binlog_status(conn, identity)
    if not before.gtids:
        raise ConfigurationError(
            "source.locking is none, but the server has no GTIDs (gtid_mode is not ON)",
            "set source.locking to brief, or gtid_mode and enforce_gtid_consistency to ON on the server.",
        )
    for _ in range(_AGREE_TRIES):
        _start_all(readers)
        after = binlog_status(conn, identity)
        if after == before:
            return before
        before = after
    position = binlog_status(conn, identity)
    _start_all(readers)
    return position


def _start_mariadb(conn: "Connection[Cursor]", readers: list[Reader]) -> Place:
    """Where the sessions' snapshots stand in the log. Sessions that can't be brought there are closed and removed."""
    places = [_restart(reader) for reader in readers]
    for _ in range(_AGREE_TRIES):
        if len(set(places)) == 1:
            return places[0]
        newest = max(places, key=_order)
        places = [place if place == newest else _restart(reader)
                  for place, reader in zip(places, readers, strict=True)]
    try:
        with commits_blocked(conn):
            places = [_restart(reader) for reader in readers]
    except ConfigurationError as error:
        cause = error.__cause__
        if cause is None or code_and_text(cause)[0] not in NOT_GRANTED:
            raise
    chosen, _ = Counter(places).most_common(1)[0]
    for reader, place in zip(list(readers), places, strict=True):
        if place != chosen:
            log.warning("a session of the snapshot is given up: too busy a server to make them agree without RELOAD")
            reader.close()
            readers.remove(reader)
    return chosen


def _order(place: Place) -> tuple[int, int]:
    return log_file_number(place[0]), place[1]


def _restart(reader: Reader) -> Place:
    """A new snapshot in the session, and where in the binary log it stands."""
    reader.execute(START)
    return snapshot_place(reader.query)


def snapshot_place(query: Callable[[str], Sequence[tuple[Any, ...]]]) -> Place:
    """File and offset of the open snapshot's position (MariaDB)."""
    status = {str(name).lower(): value for name, value in query("show status like 'binlog\\_snapshot\\_%'")}
    file = str(status.get("binlog_snapshot_file") or "")
    if not file:
        raise ConfigurationError(
            "the MariaDB server gives no position for a snapshot (binlog_snapshot_file is empty)",
            "switch the binary log on: log_bin and binlog_format=ROW in the server's configuration.",
        )
    return file, int(status["binlog_snapshot_position"])


def mariadb_position(conn: "Connection[Cursor]", identity: str) -> MySqlPosition:
    """Where a MariaDB server's log ends now.

    The server gives the GTID position of a place only by searching its log file from the beginning. Where nothing is
    written for an instant, the GTID position of the log's end is the same and costs nothing.
    """
    gtids = value(conn, "@@global.gtid_binlog_pos")
    select(conn, START)
    try:
        place = snapshot_place(lambda sql: select(conn, sql))
    finally:
        select(conn, "rollback")
    end = select(conn, "show master status")
    quiet = end and (end[0][0], int(end[0][1])) == place and value(conn, "@@global.gtid_binlog_pos") == gtids
    if not quiet or not gtids:
        gtids = mariadb_gtids(conn, *place)
    return MySqlPosition(*place, str(gtids), identity, "mariadb")
