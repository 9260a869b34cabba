"""Sessions that all see the source at one position of its log, and that position.

MySQL: while a table lock of milliseconds keeps the captured tables still, every session starts its snapshot and the
position is read (`lock.py`); without the lock the position is read first and the snapshot may be slightly ahead of it.
MariaDB: a snapshot knows its own position; several sessions are restarted until theirs agree, or commits are held back
for a moment.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.databases.mysql.binlog import binlog_status, mariadb_gtids
from cdc_pipelines.replication.databases.mysql.connection import connect, connect_reader
from cdc_pipelines.replication.databases.mysql.lock import commits_blocked, tables_locked
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.read import SnapshotSession
from cdc_pipelines.replication.databases.mysql.reader import Reader
from cdc_pipelines.replication.databases.mysql.server_errors import NOT_GRANTED, code_and_text
from cdc_pipelines.replication.databases.mysql.sql import quote_table
from cdc_pipelines.replication.errors import CdcError, ConfigurationError, RetryableError
from cdc_pipelines.replication.pipeline import Source

START = "start transaction with consistent snapshot, read only"
_OPEN_TRIES = 3
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
    for attempt in range(1, _OPEN_TRIES + 1):
        readers: list[Reader] = []
        try:
            readers += [connect_reader(spec, purpose="snapshot") for _ in range(sessions)]
            position, readers = _start(spec, identity, readers, tables, lock_wait_seconds)
            for reader in readers:
                touch(reader, tables)
            return Snapshot(position, [SnapshotSession(reader, spec.type) for reader in readers])
        except BaseException as error:
            for reader in readers:
                reader.close()
            if not (_table_changed(error) and attempt < _OPEN_TRIES):
                raise
    raise AssertionError("unreachable: the last try returns or raises")


def touch(reader: Reader, tables: Sequence[Table]) -> None:
    """Read something of every table, so that the session's transaction holds off DDL on it."""
    for table in tables:
        reader.query(f"select 1 from {quote_table(table.schema, table.name)} limit 1")  # noqa: S608


def _table_changed(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(error, CdcError) and cause is not None and code_and_text(cause)[0] == 1412


def _require_keys(spec: Source, tables: Sequence[Table]) -> None:
    keyless = [t.name for t in tables if not t.key]
    if keyless:
        raise ConfigurationError(
            f"source.locking is none, but these tables have no key: {', '.join(keyless)}",
            "set source.locking to brief, give them a primary key, or leave them out.",
        )


def _start(
    spec: Source, identity: str, readers: list[Reader], tables: Sequence[Table], lock_wait_seconds: float
) -> tuple[MySqlPosition, list[Reader]]:
    with connect(spec, purpose="position") as conn:
        if spec.type == "mariadb":
            return _start_mariadb(conn, identity, readers)
        if spec.locking == "none":
            return _start_unlocked(conn, identity, readers), readers
        with connect(spec, purpose="watchdog") as watchdog, tables_locked(conn, watchdog, tables, lock_wait_seconds):
            _start_all(readers)
            position = binlog_status(conn, identity)
        return position, readers


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


def _start_mariadb(
    conn: "Connection[Cursor]", identity: str, readers: list[Reader]
) -> tuple[MySqlPosition, list[Reader]]:
    places = [_restart(reader) for reader in readers]
    for _ in range(_AGREE_TRIES):
        if len(set(places)) == 1:
            break
        newest = max(places)
        places = [place if place == newest else _restart(reader)
                  for place, reader in zip(places, readers, strict=True)]
    else:
        try:
            with commits_blocked(conn):
                places = [_restart(reader) for reader in readers]
        except ConfigurationError as error:
            cause = error.__cause__
            if cause is None or code_and_text(cause)[0] not in NOT_GRANTED:
                raise
    if len(set(places)) > 1:
        readers, places = _largest_group(readers, places)
    file, pos = places[0]
    return MySqlPosition(file, pos, mariadb_gtids(conn, file, pos), identity, "mariadb"), readers


def _restart(reader: Reader) -> tuple[str, int]:
    """A new snapshot in the session, and where in the binary log it stands."""
    reader.execute(START)
    return snapshot_place(reader.query)


def snapshot_place(query: Callable[[str], Sequence[tuple[Any, ...]]]) -> tuple[str, int]:
    """File and offset of the open snapshot's position (MariaDB)."""
    status = {str(name).lower(): value for name, value in query("show status like 'binlog\\_snapshot\\_%'")}
    file = str(status.get("binlog_snapshot_file") or "")
    if not file:
        raise ConfigurationError(
            "the MariaDB server gives no position for a snapshot (binlog_snapshot_file is empty)",
            "switch the binary log on: log_bin and binlog_format=ROW in the server's configuration.",
        )
    return file, int(status["binlog_snapshot_position"])


def _largest_group(readers: list[Reader], places: list[tuple[str, int]]) -> tuple[list[Reader], list[tuple[str, int]]]:
    """Only the sessions that share the most frequent position; the others are closed."""
    chosen, _ = Counter(places).most_common(1)[0]
    kept = [reader for reader, place in zip(readers, places, strict=True) if place == chosen]
    for reader, place in zip(readers, places, strict=True):
        if place != chosen:
            reader.close()
    if not kept:
        raise RetryableError("no session of the snapshot is left", "try again.")
    return kept, [chosen] * len(kept)
