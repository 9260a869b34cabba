"""Whether a position is still in a server's history: after resets, purges, restarts, on servers of the test's own."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.ranges import KeyRange
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import ConfigurationError, ResyncRequiredError
from cdc_pipelines.replication.pipeline import Source
from cdc_pipelines.stack.settings import ServerAccess
from tests.control_fixtures import wait_until
from tests.integration.conftest import SourceServer
from tests.integration.own_servers import own_server

GTIDS = ("--gtid-mode=ON", "--enforce-gtid-consistency=ON")
RESETS = {"mysql": "reset binary logs and gtids", "mariadb": "reset master"}
WITHOUT = ("--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")  # 9.7 has them by default
SETTINGS = {"gtid": ("mysql", GTIDS), "plain": ("mysql", WITHOUT), "mariadb": ("mariadb", ("--gtid-strict-mode=ON",))}


@pytest.fixture(scope="module", params=list(SETTINGS))
def access(request: pytest.FixtureRequest) -> Iterator[tuple[str, ServerAccess]]:
    """A server of this module's own: MySQL with and without GTIDs, MariaDB."""
    flavor, settings = SETTINGS[request.param]
    with own_server(flavor, *settings) as running:
        yield flavor, running


@pytest.fixture
def own(access: tuple[str, ServerAccess], monkeypatch: pytest.MonkeyPatch) -> Iterator[SourceServer]:
    """The server with a new log and an empty table."""
    flavor, running = access
    monkeypatch.setenv("OWN_PASSWORD", running.password)
    spec = Source(type=flavor, host="127.0.0.1", port=running.port, database="shop", user="cdc",
                  password="${env:OWN_PASSWORD}")
    server = SourceServer(flavor, running, "mysql", MySqlSource(spec))
    server.run("drop database if exists shop", RESETS[flavor], "create database shop",
               "create table shop.t (id int auto_increment primary key)")
    yield replace(server, database="shop")
    server.source.close()


def change(position: MySqlPosition, **fields: Any) -> MySqlPosition:
    return msgspec.structs.replace(position, **fields)


def write(server: SourceServer, rows: int = 1) -> None:
    server.run(*["insert into t values ()"] * rows)


def purge(server: SourceServer, to: str | None = None) -> None:
    """Leave only the files from `to` on, by default the newest one, begun just now."""
    first = to or server.run("flush binary logs", "show binary logs")[-1][0]
    deadline = time.monotonic() + 20
    while server.run(f"purge binary logs to '{first}'", "show binary logs")[0][0] != first:
        assert time.monotonic() < deadline, "MariaDB keeps a file until InnoDB has flushed what is in it"
        time.sleep(0.2)


@contextmanager
def resync(why: str) -> Iterator[None]:
    with pytest.raises(ResyncRequiredError, match=why) as caught:
        yield
    assert "--force-resync" in caught.value.next_step


def test_the_life_of_a_position(own: SourceServer) -> None:
    source = own.source
    write(own, 3)
    position = source.position()
    source.require_reachable(position)
    assert source.position() == position, "nothing was written in between"

    # The log goes on, over several files
    write(own)
    own.run("flush binary logs")
    write(own)
    own.run("flush binary logs")
    source.require_reachable(position)
    later = source.position()
    assert later.includes(position)
    assert not position.includes(later)
    runway = source.log_runway(position)
    assert runway["bytes_behind"] > 100
    assert runway["log_bytes"] >= runway["bytes_behind"]

    # Everything up to the position's file is purged, then the file itself, then what comes after it
    purge(own, position.file)
    source.require_reachable(position)
    purge(own)
    with resync("purged"):
        source.require_reachable(position)
    assert source.log_runway(position)["runway_seconds"] == 0
    source.require_reachable(source.position())


def test_a_purged_file_does_no_harm_where_nothing_in_it_is_missing(own: SourceServer) -> None:
    write(own, 2)
    position = own.source.position()
    purge(own)
    if position.gtids:
        own.source.require_reachable(position)  # the GTIDs say that the log goes on right there
    else:
        with resync("purged"):
            own.source.require_reachable(position)


def test_a_reset_log_is_never_taken_for_the_old_one(own: SourceServer) -> None:
    write(own, 30)
    position = own.source.position()
    own.run(RESETS[own.flavor])
    with resync("reset"):
        own.source.require_reachable(position)
    # The new log grows beyond the old numbers, of transactions, bytes and files
    write(own, 60)
    with resync("reset"):
        own.source.require_reachable(position)
    for _ in range(5):
        own.run("flush binary logs")
        write(own, 60)
    with resync("reset"):
        own.source.require_reachable(position)
    if position.gtids:
        with resync("reset"):
            own.source.require_reachable(change(position, file=own.source.position().file))


def test_places_that_no_log_has(own: SourceServer) -> None:
    write(own)
    position = own.source.position()
    with resync("newest file"):
        own.source.require_reachable(change(position, file="binlog.000999"))
    with resync("bytes"):
        own.source.require_reachable(change(position, pos=position.pos + 10**9))
    with resync("another server"):
        own.source.require_reachable(change(position, server="other"))
    if position.gtids:
        beyond = {"mysql": f"{position.server}:1-9999", "mariadb": "0-77-9999"}[own.flavor]
        with resync("history"):
            own.source.require_reachable(change(position, gtids=beyond))


@pytest.mark.parametrize("access", ["gtid"], indirect=True)
def test_gaps_in_an_applied_position_are_no_purge(own: SourceServer) -> None:
    """Transactions that never reach the change log leave gaps; once they are purged, nothing is missing."""
    write(own, 5)
    position = own.source.position()
    highest = int(position.gtids.rsplit("-", 1)[1])
    own.run("flush binary logs")
    with_gap = change(position, gtids=f"{position.server}:1-{highest - 3}:{highest - 1}-{highest}")
    purge(own)
    own.source.require_reachable(with_gap)
    write(own, 2)
    purge(own)
    with resync("purged"):
        own.source.require_reachable(with_gap)


def test_a_position_with_applied_transactions_stays_reachable(own: SourceServer) -> None:
    """As the consumer stores it: GTIDs added one by one, file and offset of the last rows event."""
    write(own, 3)
    position = own.source.position()
    own.run("flush binary logs")
    for _ in range(3):
        write(own)
        end = own.source.position()
        events = own.run(f"show binlog events in '{end.file}'")
        rows_at = [pos for _, pos, kind, *_ in events if kind.startswith("Write_rows")][-1]
        assert rows_at < end.pos
        applied = change(end, pos=rows_at)
        own.source.require_reachable(applied)
        write(own)
        own.source.require_reachable(applied)
    own.source.require_reachable(position)


@pytest.mark.parametrize("access", ["mariadb"], indirect=True)
def test_mariadb_without_any_transaction_has_no_position(own: SourceServer) -> None:
    own.run("reset master")
    with pytest.raises(ConfigurationError, match="no transaction"):
        own.source.position()
    write(own)
    assert own.source.position().gtids == "0-77-1"


@pytest.mark.parametrize("access", ["gtid", "plain"], indirect=True)
def test_a_row_that_no_session_can_read_is_no_reset(own: SourceServer) -> None:
    """An event may be larger than a session's packets: SHOW BINLOG EVENTS then fails as it does at a wrong place."""
    own.run("create table big (id int primary key, a longblob, b longblob)")
    before = own.source.position()
    try:
        own.run("set global max_allowed_packet = 1048576")
        own.source.close()  # sessions keep the packet size that they began with
        own.run("insert into big values (1, repeat('a', 900000), repeat('b', 900000))")
        own.source.require_same_history(before)
        with resync("no event begins at that place"):
            own.source.require_same_history(change(before, pos=before.pos + 1))
    finally:
        own.run("set global max_allowed_packet = default")


@pytest.mark.parametrize("access", ["plain"], indirect=True)
def test_without_gtids_the_lock_is_needed(own: SourceServer) -> None:
    source = MySqlSource(own.spec(locking="none"))
    with pytest.raises(ConfigurationError, match="gtid_mode"):
        source.open_snapshot(1, source.tables())
    with own.source.open_snapshot(2, own.source.tables()) as snapshot:
        assert snapshot.position.gtids == ""
        assert snapshot.position == own.source.position()
    source.close()


def test_a_value_that_is_longer_than_a_packet_once_it_is_text_is_read_whole(own: SourceServer) -> None:
    """The servers make null of a text that is longer than max_allowed_packet."""
    packet = own.run("select @@global.max_allowed_packet")[0][0]
    own.run("create table b (id int primary key, v longblob)", "set global max_allowed_packet = 1048576")
    try:
        own.run("insert into b values (1, repeat('x', 524287)), (2, 'short'), (3, null), (4, repeat('x', 524288))")
        table = own.source.tables(["b"])[0]
        with own.source.open_snapshot(1, [table]) as snapshot:
            read = snapshot.sessions[0].read
            rows = [row for batch in read(own.map(table), KeyRange(("id",), None, None)) for row in batch]
            assert [row[1] and len(row[1]) for row in rows] == [1048576, 12, None, 1048578]
    finally:
        own.run(f"set global max_allowed_packet = {packet}")


def test_retention_and_age(own: SourceServer) -> None:
    write(own)
    position = own.source.position()
    own.run("set global binlog_expire_logs_seconds = 7200")
    runway = own.source.log_runway(position)
    assert runway["retention_seconds"] == 7200
    assert runway["runway_seconds"] == 7200
    time.sleep(1.1)  # nothing may happen meanwhile: a second of its age would show
    assert own.source.log_runway(position)["runway_seconds"] == 7200, "the file is still written to"
    own.run("flush binary logs")
    wait_until(lambda: own.source.log_runway(position)["runway_seconds"] < 7200)
    assert own.source.log_runway(position)["runway_seconds"] >= 7190
    own.run("set global binlog_expire_logs_seconds = 0")
    assert own.source.log_runway(position)["retention_seconds"] is None
    assert own.source.log_runway(position)["runway_seconds"] is None
    assert os.environ["OWN_PASSWORD"] not in str(own.source.log_runway(position))


def test_what_other_databases_write_is_nothing_to_wait_for(own: SourceServer) -> None:
    """The connector's committed place stays before their last statement, until something else comes."""
    source = own.source
    write(own)
    read = source.position()
    offset = read.connect_offset() | {"gtids": read.gtids}
    other = replace(own, database="mysql")
    other.run("create database other", "create table other.x (id int primary key, v text)",
              "insert into other.x values (1, 'a'), (2, 'b')", "update other.x set v = 'c'", "begin",
              "delete from other.x where id = 1", "insert into other.x values (3, 'd')", "commit")
    assert not read.has_read(source.position())
    assert source.has_told(offset, None, source.position())
    for statement in ("insert into shop.t values ()", "create table shop.u (id int)", "drop table shop.u",
                      "truncate shop.t"):  # fmt: skip
        at = source.position()
        offset = at.connect_offset() | {"gtids": at.gtids}
        other.run(statement, "insert into other.x values (20, 'f')")
        assert not source.has_told(offset, None, source.position()), statement
        other.run("delete from other.x where id > 3")

    for statement in ("create or replace sql security invoker view shop.v as select 1 as one", "drop view shop.v",
                      "/* by hand */ analyze table shop.t", "create procedure shop.p() select 1",
                      "drop procedure shop.p",
                      "create trigger shop.r before insert on shop.t for each row set @n = 1", "drop trigger shop.r",
                      "grant select on shop.t to cdc"):  # fmt: skip
        at = source.position()
        offset = at.connect_offset() | {"gtids": at.gtids}
        other.run("use shop", statement, "use mysql")
        assert source.has_told(offset, None, source.position()), statement

    # Our last transaction is applied: its place is that of its last rows event, the offset where it began
    begin = source.position()
    write(own)
    end = source.position()
    [rows] = [pos for _, pos, kind, *_ in own.run(f"show binlog events in '{begin.file}' from {begin.pos}")
              if kind.lower().startswith("write_rows")]  # fmt: skip
    other.run("create table other.y (id int)")
    offset = begin.connect_offset() | {"gtids": begin.gtids}
    assert not source.has_told(offset, begin, source.position())
    assert source.has_told(offset, change(end, pos=rows, exact=False), source.position())

    at = source.position()
    offset = at.connect_offset() | {"gtids": at.gtids}
    other.run("insert into other.x values (7, 'g')", "flush binary logs", "insert into other.x values (8, 'h')")
    assert not source.has_told(offset, None, source.position()), "another file: not looked at"
