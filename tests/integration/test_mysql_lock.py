"""The brief lock and the hold on DDL, on the real servers: bounded, gone with its holder, no harm to writers."""

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pymysql
import pytest

from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.databases.mysql import source
from cdc_pipelines.replication.databases.mysql.connection import connect
from cdc_pipelines.replication.databases.mysql.lock import tables_locked
from cdc_pipelines.replication.databases.mysql.reader import Reader
from cdc_pipelines.replication.databases.mysql.snapshot import touch
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from tests.control_fixtures import wait_until
from tests.integration.conftest import SourceServer
from tests.integration.writers import ONLY_MYSQL, Writers, two_tables


@ONLY_MYSQL
def test_the_lock_is_had_among_many_overlapping_writers_and_stops_them_only_briefly(server: SourceServer) -> None:
    """Read locks starve here (32 writers that hold the table for 20 ms each); the bounded write lock gets through."""
    two_tables(server)
    tables = server.source.tables()
    with Writers(server, 32, 0.02) as running:
        wait_until(lambda: running.commits > 64)
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
        wait_until(lambda: running.commits > 10)
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
from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.databases.mysql import source
from cdc_pipelines.replication.databases.mysql.connection import connect
from cdc_pipelines.replication.databases.mysql.lock import tables_locked
from cdc_pipelines.replication.databases.mysql.reader import Reader
from cdc_pipelines.replication.databases.mysql.snapshot import touch
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
    wait_until(lambda: sessions_of(server) == 0)
    server.run("rename table b to c")
    for _ in range(3):
        with pytest.raises(ConfigurationError, match=r"\.b"):
            server.source.open_snapshot(3, tables)
        with pytest.raises(ConfigurationError), server.source.guard(tables):
            pass
    server.source.close()
    wait_until(lambda: sessions_of(server) == 0)


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


def test_a_guard_opens_while_tables_are_emptied(server: SourceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    two_tables(server)

    def late(reader: Reader, tables: Sequence[Table]) -> None:
        for table in tables:  # each is emptied after the transaction began, and before it is read in it
            server.run(f"truncate table {table.name}")
            touch(reader, [table])

    monkeypatch.setattr(source, "touch", late)
    with server.source.guard(server.source.tables()), short_patience(server) as cursor:
        for name in ("a", "b"):
            with pytest.raises(pymysql.err.OperationalError, match="1205"):
                cursor.execute(f"truncate table {name}")


def test_a_guard_that_was_killed_says_so(server: SourceServer) -> None:
    two_tables(server)
    with server.source.guard(server.source.tables()) as guard:
        server.run(f"kill {guard.session_id}")
        with pytest.raises(RetryableError):
            guard.check()
