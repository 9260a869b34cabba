"""A MySQL or MariaDB server as the source of a pipeline: who it is, what it has, where its log stands."""

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.carry.source import TableExtras
from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.databases.mysql import extras, introspect
from cdc_pipelines.replication.databases.mysql.binlog import binlog_status, value
from cdc_pipelines.replication.databases.mysql.connection import connect, connect_reader
from cdc_pipelines.replication.databases.mysql.foreign_keys import ActingKey, acting_keys, logs_their_effects
from cdc_pipelines.replication.databases.mysql.history import log_runway, require_reachable, require_same_history
from cdc_pipelines.replication.databases.mysql.log_stretch import leaves_alone
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.reader import Reader
from cdc_pipelines.replication.databases.mysql.snapshot import Snapshot, mariadb_position, open_snapshot, touch
from cdc_pipelines.replication.pipeline import Source
from cdc_pipelines.replication.position import log_file_number


class MySqlSource:
    """Opens its connection when first asked, and a new one when that is lost. May be shared by threads."""

    def __init__(self, spec: Source) -> None:
        self.spec = spec
        self._lock = threading.RLock()
        self._conn: Connection[Cursor] | None = None
        self._used_at = 0.0
        self._files_begun: dict[str, int] = {}

    @property
    def flavor(self) -> str:
        return self.spec.type

    @contextmanager
    def session(self) -> Iterator["Connection[Cursor]"]:
        """The shared metadata connection, alive, for the block alone."""
        with self._lock:
            yield self._alive()

    def _alive(self) -> "Connection[Cursor]":
        if self._conn is not None and (not self._conn.open or time.monotonic() - self._used_at > 5):
            try:
                self._conn.ping(reconnect=False)
            except pymysql.err.MySQLError:
                self._conn = None
        if self._conn is None:
            self._conn = connect(self.spec, purpose="metadata")
        self._used_at = time.monotonic()
        return self._conn

    def version(self) -> str:
        """The server's version, e.g. `9.7.4` or `10.11.18-MariaDB-log`."""
        with self.session() as conn:
            return str(value(conn, "version()"))

    def identity(self) -> str:
        """Which server this is: MySQL's @@server_uuid, MariaDB's `mariadb:` and server_id (it has no uuid).

        Asked anew each time: a name may lead to another server after a failover.
        """
        with self.session() as conn:
            if self.flavor == "mysql":
                return str(value(conn, "@@server_uuid"))
            return f"mariadb:{value(conn, '@@server_id')}"

    def tables(self, names: Sequence[str] | None = None) -> list[Table]:
        """The database's base tables, or the named ones in that order; ConfigurationError where one is missing."""
        with self.session() as conn:
            return introspect.tables(conn, self.spec.database, names)

    def table_names(self) -> set[str]:
        """Of all base tables of the database; much less work than `tables`."""
        with self.session() as conn:
            return introspect.table_names(conn, self.spec.database)

    def sequences(self) -> set[str]:
        """The names of the database's sequences (MariaDB): the log has rows of theirs, as if they were tables."""
        with self.session() as conn:
            return introspect.sequences(conn, self.spec.database)

    def charsets(self, table: str) -> dict[str, str]:
        """The character sets of a table's text columns, by name; of a table that is not there, none."""
        with self.session() as conn:
            return introspect.charsets(conn, self.spec.database, table)

    def extras(self, names: Sequence[str]) -> dict[str, TableExtras]:
        """What these tables have beside columns and key: indexes, foreign keys, checks, comments, counters."""
        with self.session() as conn:
            return extras.table_extras(conn, self.spec.database, names)

    def unlogged_cascades(self, tables: Collection[str]) -> list[ActingKey]:
        """Foreign keys of these tables by which the server changes rows without a word in its log."""
        with self.session() as conn:
            there = introspect.table_names(conn, self.spec.database) & set(tables)
            found = list(acting_keys(conn, self.spec.database, sorted(there)))
            return [] if found and logs_their_effects(conn, self.flavor) else found

    def position(self) -> MySqlPosition:
        """Where the server's log ends now."""
        identity = self.identity()
        with self.session() as conn:
            if self.flavor == "mysql":
                return binlog_status(conn, identity)
            return mariadb_position(conn, identity)

    def clock_ms(self) -> int:
        """The source's clock, milliseconds since 1970 UTC."""
        with self.session() as conn:
            return int(value(conn, "floor(unix_timestamp(sysdate(6)) * 1000)"))

    def open_snapshot(self, sessions: int, tables: Sequence[Table], *, lock_wait_seconds: float = 5) -> Snapshot:
        """Sessions that all see the source at one position; see `snapshot.open_snapshot`."""
        return open_snapshot(self.spec, self.identity(), sessions, tables, lock_wait_seconds)

    @contextmanager
    def guard(self, tables: Sequence[Table]) -> Iterator["Guard"]:
        """Within the block no DDL changes the tables: a session's transaction has read each of them."""
        with connect_reader(self.spec, purpose="guard") as reader:
            # Each statement sees the present: to a snapshot, a table that was emptied since then can't be read.
            reader.execute("set transaction isolation level read committed")
            reader.execute("start transaction read only")
            touch(reader, tables)
            yield Guard(reader)

    def require_reachable(self, position: MySqlPosition) -> None:
        """Raises ResyncRequiredError unless this server's log still leads on from `position`."""
        identity = self.identity()
        with self.session() as conn:
            require_reachable(conn, identity, position)

    def require_same_history(self, position: MySqlPosition) -> None:
        """The same, but for a log that was purged: that does no harm while what follows has been read already.

        May be asked often.
        """
        identity = self.identity()
        with self.session() as conn:
            require_same_history(conn, identity, position, often=True)

    def has_told(self, offset: dict[str, Any], applied: MySqlPosition | None, position: MySqlPosition) -> bool:
        """Whether a connector that has committed `offset` has told all that the database has up to `position`.

        What is left of the log up to there, behind what was `applied`, may leave its tables alone; see
        `log_stretch`.
        """
        read = MySqlPosition.from_connect_offset(offset, position)
        if read.has_read(position):
            return True
        # Behind DDL that the connector tells nothing of, the offset may stay where the last transaction began.
        if applied is not None and _place(applied) >= _place(read):
            return self.is_unchanged(applied, position)
        with self.session() as conn:
            return leaves_alone(conn, self.spec.database, read, position)

    def is_unchanged(self, applied: MySqlPosition, until: MySqlPosition) -> bool:
        """Whether the log is known to leave the database's tables alone behind what was applied; see `log_stretch`."""
        with self.session() as conn:
            return leaves_alone(conn, self.spec.database, applied, until, applied=True)

    def log_runway(self, position: MySqlPosition) -> dict[str, Any]:
        """How long the log will still reach back to `position`; see `history.log_runway`."""
        with self.session() as conn:
            return log_runway(conn, self.spec, position, self._files_begun)

    def close(self) -> None:
        """Close the shared connection; the next call opens a new one."""
        with self._lock:
            if self._conn is not None and self._conn.open:
                self._conn.close()
            self._conn = None


def _place(position: MySqlPosition) -> tuple[int, int]:
    return log_file_number(position.file), position.pos


class Guard:
    """A session that holds off DDL."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def session_id(self) -> int:
        return self._reader.session_id

    def check(self) -> None:
        """Raises RetryableError if the session was lost meanwhile, and with it the protection."""
        self._reader.query("select 1")
