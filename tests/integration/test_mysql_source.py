"""Connections, introspection and the clock of MySQL and MariaDB sources, on real servers."""

import os
import threading
import time

import msgspec
import pytest

from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.databases.mysql.connection import connect, connect_reader
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import CdcError, ConfigurationError, ResyncRequiredError, RetryableError
from cdc_pipelines.replication.pipeline import Source
from cdc_pipelines.replication.stream.gone_tables import GoneTables
from tests.integration.conftest import SourceServer
from tests.integration.writers import ONLY_MARIADB


def both(spec: Source) -> None:
    """Open and close one connection of each kind."""
    connect(spec, purpose="test").close()
    connect_reader(spec, purpose="test").close()


# Connections


def test_the_session_is_what_our_sql_presumes(server: SourceServer) -> None:
    sql = "select @@sql_mode, @@time_zone, @@character_set_results, @@character_set_connection, @@autocommit"
    with connect(server.source.spec, purpose="test") as conn, conn.cursor() as cursor:
        cursor.execute(sql)
        assert cursor.fetchone() == ("", "+00:00", "utf8mb4", "utf8mb4", 1)
    with connect_reader(server.source.spec, purpose="test") as reader:
        assert reader.query(sql) == [("", "+00:00", "utf8mb4", "utf8mb4", 1)]


def test_a_wrong_password_is_named_but_not_shown(server: SourceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRONG_PASSWORD", "geheim-4711")
    spec = server.spec(password="${env:WRONG_PASSWORD}")
    for open_it in (connect, connect_reader):
        with pytest.raises(ConfigurationError) as caught:
            open_it(spec, purpose="test")
        assert f"cdc@127.0.0.1:{server.access.port}" in caught.value.message
        assert "geheim" not in str(caught.value)
        assert "source.password" in caught.value.next_step


def test_a_server_that_is_not_there_is_worth_another_try(server: SourceServer) -> None:
    for open_it in (connect, connect_reader):
        with pytest.raises(RetryableError, match=r"127\.0\.0\.1:9"):
            open_it(server.spec(port=9), purpose="test")
        with pytest.raises(RetryableError, match=r"no-such-host\.invalid"):
            open_it(server.spec(host="no-such-host.invalid"), purpose="test")


def test_a_database_that_is_not_there_is_a_mistake_in_the_file(server: SourceServer) -> None:
    with pytest.raises(ConfigurationError, match="no_such_database"):
        connect(server.spec(database="no_such_database"), purpose="test")


def test_the_other_kind_of_server_is_recognised(server: SourceServer) -> None:
    other = {"mysql": "mariadb", "mariadb": "mysql"}[server.flavor]
    for open_it in (connect, connect_reader):
        with pytest.raises(ConfigurationError) as caught:
            open_it(server.spec(type=other), purpose="test")
        assert f"set source.type to {server.flavor}" in caught.value.next_step


def test_a_password_may_hold_anything(server: SourceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    password = "pä%s ß€😀'\"`\\"
    monkeypatch.setenv("ODD_PASSWORD", password)
    user = f"odd_{server.database}"[:30]
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute(f"create user `{user}`@'%%' identified by %s", (password,))
        try:
            cursor.execute(f"grant select on `{server.database}`.* to `{user}`@'%'")
            both(server.spec(user=user, password="${env:ODD_PASSWORD}"))
        finally:
            cursor.execute(f"drop user `{user}`@'%'")


def test_the_shared_connection_comes_back_and_serves_threads(server: SourceServer) -> None:
    source = server.source
    first = source.clock_ms()
    with source.session() as conn:
        session_id = conn.thread_id()
    server.run(f"kill {session_id}")
    time.sleep(0.1)
    source._used_at = 0  # as if it had been idle for long
    assert source.clock_ms() >= first
    errors: list[CdcError] = []

    def work() -> None:
        try:
            for _ in range(20):
                source.position()
                source.clock_ms()
        except CdcError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    source.close()
    assert abs(source.clock_ms() - time.time() * 1000) < 5000


def test_identity_and_version(server: SourceServer) -> None:
    version, identity = server.source.version(), server.source.identity()
    if server.flavor == "mysql":
        assert version.startswith("9.7")
        assert identity == server.run("select @@server_uuid")[0][0]
    else:
        assert "MariaDB" in version
        assert identity == f"mariadb:{server.run('select @@server_id')[0][0]}"
    assert server.source.position().server == identity


# Introspection


def described(server: SourceServer, ddl: str) -> Table:
    server.run("set sql_mode=''", ddl)
    return server.source.tables(["t"])[0]


def test_types_are_described_alike_on_both_servers(server: SourceServer) -> None:
    table = described(
        server,
        "create table t (a int(11) unsigned, b bigint, c tinyint(1), d tinyint(1) unsigned, e tinyint(4), "
        "f int(5) zerofill, g year, h decimal(10,3), i varchar(7) character set latin1, j binary(3), k bit(9), "
        "l datetime(3), m timestamp null, n time, o enum('a,b','It''s','x\\\\y','(1)'), p set('u','v'), q text, "
        "r double(10,2), s boolean not null, u varbinary(5), v smallint(3), w char(1), x date)",
    )
    assert [c.full_type for c in table.columns] == [
        "int unsigned", "bigint", "tinyint(1)", "tinyint unsigned", "tinyint", "int unsigned zerofill", "year",
        "decimal(10,3)", "varchar(7)", "binary(3)", "bit(9)", "datetime(3)", "timestamp", "time",
        "enum('a,b','It''s','x\\\\y','(1)')", "set('u','v')", "text", "double(10,2)", "tinyint(1)", "varbinary(5)",
        "smallint", "char(1)", "date",
    ]
    columns = {c.name: c for c in table.columns}
    assert columns["o"].labels == ("a,b", "It's", "x\\y", "(1)")
    assert (columns["h"].precision, columns["h"].scale) == (10, 3)
    assert (columns["i"].length, columns["i"].charset) == (7, "latin1")
    assert (columns["j"].length, columns["k"].length, columns["u"].length) == (3, 9, 5)
    assert (columns["l"].fraction, columns["m"].fraction, columns["x"].fraction) == (3, 0, None)
    assert columns["a"].unsigned
    assert not columns["o"].unsigned
    assert [c.name for c in table.columns if not c.nullable] == ["s"]
    assert table.key == ()


def test_defaults_are_texts_and_expressions_are_none(server: SourceServer) -> None:
    table = described(
        server,
        "create table t (a int default 5, b varchar(20) default 'it''s', c varchar(9) default 'NULL', "
        "d varchar(9), e datetime default current_timestamp, f decimal(5,2) default 1.5, g varchar(9) default '', "
        "h date not null default '2001-02-03', i varchar(40) default (concat('a', 'b')), j int not null)",
    )
    assert {c.name: c.default for c in table.columns} == {
        "a": "5", "b": "it's", "c": "NULL", "d": None, "e": None, "f": "1.50", "g": "", "h": "2001-02-03", "i": None,
        "j": None,
    }


def test_only_base_tables_and_what_is_missing_is_named(server: SourceServer) -> None:
    server.run("create table orders (id int primary key)", "create table zürich (id int)",
               "create view looks as select * from orders")
    assert [t.name for t in server.source.tables()] == ["orders", "zürich"]
    assert [t.name for t in server.source.tables(["zürich", "orders"])] == ["zürich", "orders"]
    with pytest.raises(ConfigurationError, match=r"order \(did you mean orders\?\)") as caught:
        server.source.tables(["orders", "order", "looks"])
    assert "looks" in caught.value.message
    assert "cdc discover" in caught.value.next_step


def test_keys(server: SourceServer) -> None:
    server.run(
        "create table a (x int, y int, primary key (y, x))",
        "create table b (x int not null, y int not null, unique z (x), unique m (y, x))",
        "create table c (x int not null, y int, unique m (y), unique z (x, y))",
        "create table d (x varchar(9) not null, unique m (x(3)))",
        "create table e (x int not null, key (x))",
    )
    keys = {t.name: t.key for t in server.source.tables()}
    assert keys == {"a": ("y", "x"), "b": ("y", "x"), "c": (), "d": (), "e": ()}
    if server.flavor == "mysql":
        server.run("create table f (x int not null, unique m ((x + 1)), unique z (x))")
        assert server.source.tables(["f"])[0].key == ("x",)


def test_estimates_are_fresh(server: SourceServer) -> None:
    server.run("create table t (id int primary key, v varchar(200))")
    before = server.source.tables(["t"])[0]
    server.run("insert into t select * from (with recursive r(n) as (select 1 union all select n + 1 from r "
               "where n < 900) select n, repeat('x', 200) from r) s", "analyze table t")
    after = server.source.tables(["t"])[0]
    assert before.rows_estimate < 100 < 500 < after.rows_estimate < 2000
    assert after.data_bytes > before.data_bytes
    assert before.fingerprint() == after.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        "add column w int", "drop column b", "modify a bigint", "modify b varchar(9) after id", "rename column a to c",
        "modify a int not null", "drop primary key, add primary key (id, a)", "convert to character set latin1",
    ],
)
def test_a_changed_definition_has_another_fingerprint(server: SourceServer, change: str) -> None:
    server.run("create table t (id int primary key, a int not null default 0, b varchar(9))"
               if "primary" in change else "create table t (id int primary key, a int, b varchar(9))")
    before = server.source.tables(["t"])[0].fingerprint()
    server.run(f"alter table t {change}")
    assert server.source.tables(["t"])[0].fingerprint() != before


def test_sources_are_independent_objects(server: SourceServer) -> None:
    other = MySqlSource(server.source.spec)
    assert other.identity() == server.source.identity()
    other.close()
    other.close()
    assert os.environ[server.source.spec.password.removeprefix("${env:").removesuffix("}")] not in repr(other.__dict__)


def test_a_table_that_moves_to_another_database_is_missed_until_it_is_back(server: SourceServer) -> None:
    away = f"{server.database}_away"
    server.run("create table t (id int primary key)", "create table k (id int primary key)", f"create database {away}")
    try:
        gone, passed = GoneTables(server.source), []

        def look() -> list[str]:
            return gone.look(lambda: ["t", "k"], lambda position: passed.append(position) or True)

        assert look() == []
        server.run(f"rename table t to {away}.t")
        assert look() == [], "it may be away for a moment"
        assert look() == ["t"]
        assert [server.source.position().includes(position) for position in passed] == [True]
        server.run(f"rename table {away}.t to t")
        assert look() == []
    finally:
        server.run(f"drop database {away}")


@ONLY_MARIADB
def test_a_place_within_a_transaction_that_is_not_applied_yet(server: SourceServer) -> None:
    """Behind a CREATE TABLE of MariaDB: its GTID counts at the place, and is not among the applied ones."""
    before = server.source.position()
    server.run("create table made (id int primary key)")
    after = server.source.position()
    events = server.run(f"show binlog events in '{before.file}' from {before.pos}")
    [place] = [int(event[1]) for event in events if event[2] == "Query" and "create table made" in event[5]
               and server.database in event[5]]  # fmt: skip
    applied = msgspec.structs.replace(before, pos=place, exact=False)
    server.source.require_reachable(msgspec.structs.replace(applied, within=after.gtids))
    with pytest.raises(ResyncRequiredError, match="at that place the log stands at"):
        server.source.require_reachable(applied)
