"""The brief lock: keep the captured tables still for the milliseconds in which snapshots open.

`LOCK TABLES … READ` waits for open transactions that wrote to the tables, but while it waits, writers go on. Under many
overlapping writers it may so never be granted. Then a `WRITE` lock is tried, before which newcomers queue, but for
0.3 s at the most. `FLUSH TABLES WITH READ LOCK` is never used on MySQL: even after it gave up, statements on a
flushed table wait until the longest running query on it ends.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.databases.mysql.blockers import blockers
from cdc_pipelines.replication.databases.mysql.server_errors import (
    LOCK_WAIT_TIMEOUT,
    QUERY_KILLED,
    code_and_text,
    translate,
)
from cdc_pipelines.replication.databases.mysql.sql import quote_table
from cdc_pipelines.replication.errors import RetryableError

log = logging.getLogger(__name__)

_WRITE_WAIT_S = 0.3
_PER_TABLE_S = 0.005
_TRIES: tuple[tuple[str, float], ...] = (
    ("read", 0.3), ("read", 1.0), ("write", _WRITE_WAIT_S), ("read", 2.0), ("write", _WRITE_WAIT_S),
    ("write", _WRITE_WAIT_S), ("read", 5.0), ("write", _WRITE_WAIT_S), ("write", _WRITE_WAIT_S),
)
# The server ends an idle session that holds the lock after this time, should we vanish without closing it.
_ABANDONED_S = 10


@contextmanager
def tables_locked(
    conn: "Connection[Cursor]", watchdog: "Connection[Cursor]", tables: Sequence[Table], wait_seconds: float
) -> Iterator[None]:
    """Hold the tables locked within the block.

    `conn` takes the lock, `watchdog` (another session of the same user) cuts a wait short. No single wait is longer
    than `wait_seconds`; one that keeps nobody waiting has 5 ms more for each table. Raises RetryableError naming the
    transactions that hold the tables.
    """
    if not tables:
        yield
        return
    with conn.cursor() as cursor:
        cursor.execute(f"set session wait_timeout={_ABANDONED_S}")
        _acquire(conn, watchdog, tables, wait_seconds)
        try:
            yield
        finally:
            cursor.execute("unlock tables")


@contextmanager
def commits_blocked(conn: "Connection[Cursor]") -> Iterator[None]:
    """MariaDB: no transaction commits within the block. Raises ConfigurationError without RELOAD."""
    where = f"{conn.host}:{conn.port}"
    try:
        with conn.cursor() as cursor:
            cursor.execute(f"set session wait_timeout={_ABANDONED_S}")
            cursor.execute("backup stage start")
            try:
                cursor.execute("backup stage block_commit")
                yield
            finally:
                cursor.execute("backup stage end")
    except pymysql.err.MySQLError as error:
        raise translate(error, "holding back commits (backup stage)", where) from error


def _acquire(
    conn: "Connection[Cursor]", watchdog: "Connection[Cursor]", tables: Sequence[Table], wait_seconds: float
) -> None:
    _open(conn, tables)
    started = time.monotonic()
    for kind, longest in _TRIES:
        wait = min(longest, wait_seconds)
        if kind == "read":  # nobody waits for it
            wait += len(tables) * _PER_TABLE_S
        holders = blockers(watchdog, tables, older_than_s=wait)
        if holders:
            # They have been at it for longer than we would wait: asking for the lock would only be a burden.
            time.sleep(wait)
            continue
        if _try_lock(conn, watchdog, tables, kind, wait):
            log.info("locked %d tables (%s) after %.2f s", len(tables), kind, time.monotonic() - started)
            return
        time.sleep(0.05)
    named = "; ".join(blockers(watchdog, tables, older_than_s=0)[:5]) or (
        f"many overlapping short transactions, or the server is slow at locking {len(tables)} table(s)"
    )
    raise RetryableError(
        f"the brief table lock on {conn.host}:{conn.port} was not to be had in {time.monotonic() - started:.0f} s "
        f"({len(_TRIES)} tries); the tables are held by: {named}",
        "wait for (or end) those transactions and try again; or set source.locking to none "
        "(GTIDs and a key on every table needed).",
    )


def _open(conn: "Connection[Cursor]", tables: Sequence[Table]) -> None:
    """Let the server open the tables before the lock is asked for: a thousand may take it longer than a try."""
    with suppress(pymysql.err.MySQLError), conn.cursor() as cursor:  # what is wrong, the lock itself will tell
        for table in tables:
            cursor.execute(f"select 1 from {quote_table(table.schema, table.name)} limit 0")  # noqa: S608


def _try_lock(
    conn: "Connection[Cursor]", watchdog: "Connection[Cursor]", tables: Sequence[Table], kind: str, wait: float
) -> bool:
    """One bounded try. lock_wait_timeout counts whole seconds and per table, hence the watchdog."""
    fired = threading.Event()
    session_id = int(conn.thread_id())  # type: ignore[no-untyped-call]

    def cut_short() -> None:
        fired.set()
        with watchdog.cursor() as cursor:
            cursor.execute(f"kill query {session_id}")

    timer = threading.Timer(wait, cut_short)
    timer.start()
    granted = False
    try:
        with conn.cursor() as cursor:
            cursor.execute("lock tables " + ", ".join(f"{quote_table(t.schema, t.name)} {kind}" for t in tables))
        granted = True
    except pymysql.err.MySQLError as error:
        number, _ = code_and_text(error)
        if kind == "read" and number != LOCK_WAIT_TIMEOUT and number not in QUERY_KILLED:
            raise translate(error, "locking the tables", f"{conn.host}:{conn.port}") from error
        # A write lock is refused on a read-only server, and where a trigger's own tables can't be locked.
    finally:
        timer.cancel()
        timer.join()
    if fired.is_set():
        _absorb_kill(conn)
    return granted


def _absorb_kill(conn: "Connection[Cursor]") -> None:
    """A kill that came just after the lock was granted strikes the next statement: let that be this one."""
    try:
        with conn.cursor() as cursor:
            cursor.execute("do 0")
    except pymysql.err.MySQLError as error:
        if code_and_text(error)[0] not in QUERY_KILLED:
            raise translate(error, "locking the tables", f"{conn.host}:{conn.port}") from error
