"""Snapshots on the real servers: their position is exact under writers, the lock is bounded, DDL is held off."""

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pymysql
import pytest

from cdc_pipelines.replication.databases.mysql import snapshot as snapshot_module
from cdc_pipelines.replication.databases.mysql.connection import connect
from cdc_pipelines.replication.databases.mysql.gtid import MariaDbGtidSet, MySqlGtidSet
from cdc_pipelines.replication.databases.mysql.lock import tables_locked
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
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


@pytest.mark.parametrize(("writers", "hold_s", "sessions"), [(2, 0, 3), (8, 0.003, 2), (1, 0, 1)])
def test_every_session_sees_exactly_the_position(
    server: SourceServer, writers: int, hold_s: float, sessions: int
) -> None:
    two_tables(server)
    tables = server.source.tables()
    server.run("insert into a(v) values (0)", "insert into b(v) values (0)")
    start = server.source.position()
    seen = []
    with Writers(server, writers, hold_s) as running:
        for _ in range(15):
            with server.source.open_snapshot(sessions, tables) as snapshot:
                assert len(snapshot.sessions) == sessions
                counts = {
                    tuple(s.query("select (select count(*) from a), (select count(*) from b)")[0])
                    for s in snapshot.sessions
                }
            assert len(counts) == 1, "sessions of one snapshot disagree"
            seen.append((snapshot.position, *counts.pop()))
    assert not running.failures
    assert running.commits > 100
    log = our_transactions(server, start, server.source.position())
    assert sum(rows for _, _, rows, _ in log) == running.commits
    for position, rows_a, rows_b in seen:
        expected = 1 + sum(
            rows for file, end, rows, _ in log
            if (log_file_number(file), end) <= (log_file_number(position.file), position.pos)
        )
        assert (rows_a, rows_b) == (expected, expected)
        included = [gtid for *_, gtid in log if gtid in position.gtid_set]
        assert 1 + len(included) == rows_a, "GTIDs and rows disagree"
    assert seen[0][1] < seen[-1][1], "nothing moved: the test proved nothing"


@ONLY_MARIADB
@pytest.mark.parametrize("may_block_commits", [True, False])
def test_mariadb_sessions_that_do_not_agree_by_themselves(
    server: SourceServer, monkeypatch: pytest.MonkeyPatch, may_block_commits: bool
) -> None:
    """With RELOAD commits are held back for a moment; without, the sessions that differ are given up."""
    two_tables(server)
    monkeypatch.setattr(snapshot_module, "_AGREE_TRIES", 0)
    monkeypatch.setenv("SMALL_PASSWORD", "small-password")
    user = f"small_{server.database}"[:30]
    privileges = "select, replication slave, binlog monitor" + (", reload" if may_block_commits else "")
    server.run(f"create user `{user}`@'%' identified by 'small-password'", f"grant {privileges} on *.* to `{user}`@'%'")
    source = type(server.source)(server.spec(user=user, password="${env:SMALL_PASSWORD}"))
    tables = source.tables()
    start = source.position()
    seen, sizes = [], []
    try:
        with Writers(server, 4, 0):
            for _ in range(10):
                with source.open_snapshot(4, tables) as snapshot:
                    sizes.append(len(snapshot.sessions))
                    counts = {s.query("select count(*) from a")[0][0] for s in snapshot.sessions}
                    assert len(counts) == 1
                    seen.append((snapshot.position, counts.pop()))
    finally:
        server.run(f"drop user `{user}`@'%'")
        source.close()
    transactions = our_transactions(server, start, server.source.position())
    for position, rows in seen:
        assert rows == sum(1 for *_, gtid in transactions if gtid in position.gtid_set)
    assert min(sizes) == 4 if may_block_commits else min(sizes) < 4, sizes


@ONLY_MYSQL
def test_the_lock_is_had_among_many_overlapping_writers_and_stops_them_only_briefly(server: SourceServer) -> None:
    """Read locks starve here (32 writers that hold the table for 20 ms each); the bounded write lock gets through."""
    two_tables(server)
    tables = server.source.tables()
    with Writers(server, 32, 0.02) as running:
        time.sleep(0.5)
        started, before = time.monotonic(), running.commits
        with server.source.open_snapshot(2, tables):
            took, during = time.monotonic() - started, running.commits - before
        assert took < 12
        assert during / took > 50, "writers stood still while the lock was waited for"
    assert not running.failures


@ONLY_MYSQL
def test_a_long_transaction_is_named_and_writers_go_on_meanwhile(server: SourceServer) -> None:
    two_tables(server)
    server.run("insert into a(v) values (1)")
    tables = server.source.tables()
    with server.admin() as holder, holder.cursor() as cursor, Writers(server, 2, 0.001) as running:
        holder.autocommit(False)
        cursor.execute("update a set v = 4711 where n = -1")
        time.sleep(0.3)
        before, started = running.commits, time.monotonic()
        with pytest.raises(RetryableError) as caught:
            server.source.open_snapshot(1, tables, lock_wait_seconds=1)
        took = time.monotonic() - started
        assert took < 12
        assert (running.commits - before) / took > 50
        assert f"session {holder.thread_id()} " in caught.value.message
        assert "4711" not in str(caught.value), "a value of the source's data got into a message"
        holder.rollback()
    with server.source.open_snapshot(1, tables):
        pass


@ONLY_MYSQL
def test_the_lock_goes_away_when_the_block_ends_in_an_error(server: SourceServer) -> None:
    two_tables(server)
    tables = server.source.tables()
    with connect(server.source.spec, purpose="test") as conn, connect(server.source.spec, purpose="test") as watchdog:
        with pytest.raises(ZeroDivisionError), tables_locked(conn, watchdog, tables, 1):
            raise ZeroDivisionError
        server.run("set lock_wait_timeout=1", "insert into a(v) values (1)")


_HOLDER = """
import sys, time
from cdc_pipelines.replication.databases.mysql import snapshot as snapshot_module
from cdc_pipelines.replication.databases.mysql.connection import connect
from cdc_pipelines.replication.databases.mysql.lock import tables_locked
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.pipeline import Source
spec = Source.model_validate_json(sys.argv[1])
tables = MySqlSource(spec).tables()
conn, watchdog = connect(spec, purpose="test"), connect(spec, purpose="test")
with tables_locked(conn, watchdog, tables, 1):
    print("locked", flush=True)
    time.sleep(600)
"""


@ONLY_MYSQL
@pytest.mark.parametrize(("blow", "patience_s"), [(signal.SIGKILL, 2), (signal.SIGSTOP, 20)])
def test_the_lock_goes_away_with_the_process_that_holds_it(
    server: SourceServer, blow: signal.Signals, patience_s: int
) -> None:
    """A killed process is noticed by its closed socket, one that hangs by the server's clock."""
    two_tables(server)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, server.source.spec.model_dump_json()], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout.readline() == "locked\n"
            with pytest.raises(pymysql.err.OperationalError, match="1205"):
                server.run("set lock_wait_timeout=1", "insert into a(v) values (1)")
            holder.send_signal(blow)
            server.run(f"set lock_wait_timeout={patience_s}", "insert into a(v) values (1)")
        finally:
            holder.kill()


def sessions_of(server: SourceServer) -> int:
    return server.run(
        f"select count(*) from information_schema.processlist where db = '{server.database}' and user = 'cdc'"
    )[0][0]


def test_nothing_is_left_open_after_failures(server: SourceServer) -> None:
    two_tables(server)
    tables = server.source.tables()
    server.source.close()
    time.sleep(0.2)
    before = sessions_of(server)
    server.run("rename table b to c")
    for _ in range(3):
        with pytest.raises(ConfigurationError, match=r"\.b"):
            server.source.open_snapshot(3, tables)
        with pytest.raises(ConfigurationError), server.source.guard(tables):
            pass
    server.source.close()
    time.sleep(0.5)
    assert sessions_of(server) == before


def test_tables_that_keep_being_altered(server: SourceServer) -> None:
    """A snapshot opens whole or not at all; what it sees does not depend on when the ALTER came."""
    two_tables(server)
    server.run("insert into a(v) values (1), (2)", "insert into b(v) values (1), (2)")
    tables = server.source.tables()
    stop = threading.Event()

    def alter() -> None:
        with server.admin() as connection, connection.cursor() as cursor:
            for statement in itertools.cycle(("add column w int", "drop column w")):
                cursor.execute(f"alter table b {statement}, algorithm=copy")
                if stop.wait(0.2):
                    return

    thread = threading.Thread(target=alter)
    thread.start()
    opened = 0
    try:
        for _ in range(8):
            with suppress(RetryableError), server.source.open_snapshot(2, tables) as snapshot:
                for session in snapshot.sessions:
                    assert session.query("select count(*), sum(v) from b") == [(2, 3)]
                opened += 1
    finally:
        stop.set()
        thread.join()
    assert opened >= 6


def test_foreign_keys_triggers_and_views_are_no_obstacle(server: SourceServer) -> None:
    server.run(
        "create table parent (id int primary key)",
        "create table child (id int primary key, p int, foreign key (p) references parent(id) on delete cascade)",
        "create table audit (id int auto_increment primary key, what text)",
        "create trigger tr after insert on child for each row insert into audit(what) values ('x')",
        "create view looks as select * from child",
        "insert into parent values (1)", "insert into child values (1, 1)",
    )
    tables = server.source.tables(["child"])
    with server.source.open_snapshot(2, tables) as snapshot:
        assert [s.query("select count(*) from child") for s in snapshot.sessions] == [[(1,)], [(1,)]]
    assert [t.name for t in server.source.tables()] == ["audit", "child", "parent"]


@contextmanager
def short_patience(server: SourceServer) -> Iterator[pymysql.cursors.Cursor]:
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("set lock_wait_timeout=1")
        yield cursor


def test_ddl_waits_while_a_snapshot_or_a_guard_is_open(server: SourceServer) -> None:
    two_tables(server)
    tables = server.source.tables()
    statements = ("alter table b add column w int", "truncate table b", "drop table b", "rename table b to c")
    with short_patience(server) as cursor:
        with server.source.open_snapshot(2, tables):
            for statement in statements:
                with pytest.raises(pymysql.err.OperationalError, match="1205"):
                    cursor.execute(statement)
        with server.source.guard(tables) as guard:
            for statement in statements:
                with pytest.raises(pymysql.err.OperationalError, match="1205"):
                    cursor.execute(statement)
            guard.check()
        for statement in statements[:2]:
            cursor.execute(statement)


def test_a_guard_that_was_killed_says_so(server: SourceServer) -> None:
    two_tables(server)
    with server.source.guard(server.source.tables()) as guard:
        server.run(f"kill {guard.session_id}")
        with pytest.raises(RetryableError):
            guard.check()


@ONLY_MYSQL
def test_without_the_lock_the_snapshot_holds_all_of_its_position(server: SourceServer) -> None:
    two_tables(server)
    tables = server.source.tables()
    source = type(server.source)(server.spec(locking="none"))
    start = source.position()
    seen = []
    with Writers(server, 4, 0):
        for _ in range(15):
            with source.open_snapshot(2, tables) as snapshot:
                rows = [s.query("select count(*) from a")[0][0] for s in snapshot.sessions]
                seen.append((snapshot.position, rows))
    log = our_transactions(server, start, source.position())
    for position, rows in seen:
        included = sum(1 for *_, gtid in log if gtid in position.gtid_set)
        assert all(n >= included for n in rows), "the position claims rows that the snapshot does not have"
    source.close()


@ONLY_MYSQL
def test_without_the_lock_a_table_needs_a_key(server: SourceServer) -> None:
    server.run("create table heap (v int)")
    source = type(server.source)(server.spec(locking="none"))
    with pytest.raises(ConfigurationError, match="heap"):
        source.open_snapshot(1, source.tables())


def test_gtid_classes_match_the_servers(server: SourceServer) -> None:
    kind = MySqlGtidSet if server.flavor == "mysql" else MariaDbGtidSet
    position = server.source.position()
    assert isinstance(position.gtid_set, kind)
    assert str(kind(position.gtids)) == position.gtids.lower()
