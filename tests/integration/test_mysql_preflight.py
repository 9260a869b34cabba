"""The prerequisites of a source: met on the stack, and each one's failure seen, named, and mended by its own fix."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cdc_pipelines.replication.databases.mysql.preflight import check_source
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import CheckResult
from cdc_pipelines.replication.pipeline import Kafka, Pipeline, Source, Target
from cdc_pipelines.stack.settings import ServerAccess
from tests.integration.conftest import SourceServer
from tests.integration.own_servers import own_server

ONLY_MYSQL = pytest.mark.parametrize("server", ["mysql"], indirect=True)
ONLY_MARIADB = pytest.mark.parametrize("server", ["mariadb"], indirect=True)


def pipeline(spec: Source, **settings: Any) -> Pipeline:
    target = Target(type="postgres", host="h", port=1, database="d", user="u", password="${env:X}")
    return Pipeline(name="shop", config=1, source=spec, target=target, **settings)


def check(server: SourceServer, spec: Source | None = None, **settings: Any) -> dict[str, CheckResult]:
    """The results by name, for all tables of the test's database."""
    spec = spec or server.source.spec
    mapped = [server.map(t) for t in server.source.tables()]
    results = check_source(server.source, mapped, spec, pipeline=pipeline(spec, **settings))
    assert len({r.name for r in results}) == len(results), "two results of one name"
    for result in results:
        assert result.message
        assert bool(result.fix) != result.ok, f"{result}: a fix belongs to what is not met, and only there"
    return {r.name: r for r in results}


def failed(results: dict[str, CheckResult]) -> set[str]:
    return {name for name, result in results.items() if not result.ok}


def good_table(server: SourceServer) -> None:
    server.run("create table t (id int primary key, v varchar(9), b blob)", "insert into t values (1, 'x', x'00')")


def test_the_stack_meets_all(server: SourceServer) -> None:
    good_table(server)
    results = check(server)
    assert failed(results) == set(), [r for r in results.values() if not r.ok]
    assert len(results) == 20


@pytest.mark.parametrize("name", ["`q", "q`", "a``b", '"q"'])
def test_names_that_the_connector_can_not_read(server: SourceServer, name: str) -> None:
    quoted = name.replace('`', '``')
    server.run(f"create table `{quoted}` (id int primary key)",
               'create table `a`` "b"` (id int primary key)')
    results = check(server)
    assert failed(results) == {"source names"}
    assert results["source names"].message.endswith(f": {name}")


def test_an_unreachable_server_is_one_result(server: SourceServer) -> None:
    results = check_source(server.source, [], server.spec(port=9))
    assert [(r.name, r.ok) for r in results] == [("source login", False)]
    assert "127.0.0.1:9" in results[0].message
    assert results[0].fix


@contextmanager
def user_with(server: SourceServer, monkeypatch: pytest.MonkeyPatch, *grants: str) -> Iterator[Source]:
    """A source spec with a user that has only these grants (`{db}` is the test's database)."""
    monkeypatch.setenv("POOR_PASSWORD", "poor-password")
    name = f"poor_{server.database}"[:30]
    server.run(f"create user `{name}`@'%' identified by 'poor-password'")
    try:
        server.run(*[f"grant {g.format(db=server.database)} to `{name}`@'%'" for g in grants])
        yield server.spec(user=name, password="${env:POOR_PASSWORD}")
    finally:
        server.run(f"drop user `{name}`@'%'")


def test_missing_grants_are_mended_by_the_statements_given(
    server: SourceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    good_table(server)
    server.run("create table other (id int primary key)")
    with user_with(server, monkeypatch, "select on `{db}`.t") as spec:
        results = check(server, spec)
        assert {"source grants", "source tables readable"} <= failed(results)
        assert "REPLICATION SLAVE" in results["source grants"].message
        assert "other" in results["source tables readable"].message
        server.run(*[line for r in results.values() if r.name in ("source grants", "source tables readable")
                     for line in r.fix.splitlines()])
        assert failed(check(server, spec)) == set()
        # What was granted is also enough for the work itself
        source = MySqlSource(spec)
        with source.open_snapshot(2, source.tables()) as snapshot:
            source.require_reachable(snapshot.position)
            assert source.log_runway(snapshot.position)["bytes_behind"] is not None
            assert len(snapshot.sessions) == 2
        source.close()


@ONLY_MYSQL
def test_without_the_lock_its_grant_is_not_asked_for(server: SourceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    good_table(server)
    grants = ("select on `{db}`.*", "replication slave, replication client on *.*")
    with user_with(server, monkeypatch, *grants) as spec:
        assert failed(check(server, spec)) == {"source grants"}
        assert failed(check(server, spec.model_copy(update={"locking": "none"}))) == set()


def test_tables_that_have_no_snapshot(server: SourceServer) -> None:
    engine = "aria" if server.flavor == "mariadb" else "myisam"
    server.run(f"create table t (id int primary key) engine={engine}")
    result = check(server)["source engines"]
    assert not result.ok
    assert "t (" in result.message
    server.run(*result.fix.splitlines())
    assert check(server)["source engines"].ok


def test_float_keys(server: SourceServer) -> None:
    server.run("create table t (a int, f double, primary key (a, f))")
    assert "t.f" in check(server)["source keys"].message
    assert failed(check(server)) == {"source keys"}


def test_keys_of_labels_that_are_there_twice(server: SourceServer) -> None:
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("set sql_mode = ''")
        cursor.execute("create table t (e enum('a','a','b') primary key, v enum('x','x'))")
        cursor.execute("create table plain (e enum('a','A ','b') primary key)")
        cursor.execute("insert into t (e) values (1), (2)")
    assert check(server)["source keys"].message.endswith("twice: t.e")
    assert failed(check(server)) == {"source keys"}


@ONLY_MYSQL
def test_keyless_tables_without_the_lock(server: SourceServer) -> None:
    server.run("create table heap (v int)")
    assert check(server)["source keys"].ok
    assert "heap" in check(server)["source keys"].message
    result = check(server, server.spec(locking="none"))["source keys"]
    assert not result.ok
    assert "heap" in result.message


def test_types_without_a_form_are_judged_for_replicated_columns_only(server: SourceServer) -> None:
    server.run("create table t (id int primary key, g text character set eucjpms)")
    table = server.source.tables()[0]
    without = server.map(type(table)(table.schema, table.name, table.columns[:1], table.key))
    spec = server.source.spec
    assert all(r.ok for r in check_source(server.source, [without], spec))
    assert all(r.ok for r in check_source(server.source, [table], spec)), "not known which columns are wanted"
    both = type(without)(table, "public", "t", (*without.columns, type(without.columns[0])(table.columns[1], "g", "?")))
    result = {r.name: r for r in check_source(server.source, [both], spec)}["source column types"]
    assert not result.ok
    assert "t.g (text)" in result.message


def test_cascades(server: SourceServer) -> None:
    server.run(
        "create table p (id int primary key)",
        "create table c1 (id int primary key, p int, foreign key (p) references p (id) on delete cascade)",
        "create table c2 (id int primary key, `p (x)` int, "
        "foreign key f2 (`p (x)`) references p (id) on update set null)",
        "create table c3 (id int primary key, p int, foreign key (p) references p (id))",
    )
    result = check(server)["source cascades"]
    assert "c1" in result.message
    assert "c2" in result.message
    assert "c3" not in result.message
    if server.flavor == "mysql":
        assert result.ok, "MySQL 9.7 logs them"
        return
    assert not result.ok
    server.run(*[s for line in result.fix.splitlines() for s in line.split("  -- ")[0].split(";") if s.strip()])
    assert check(server)["source cascades"].ok
    only_parent = [t for t in server.source.tables() if t.name == "p"]
    assert all(r.ok for r in check_source(server.source, only_parent, server.source.spec))


@ONLY_MYSQL
def test_mysqls_cascades_really_are_in_its_log(server: SourceServer) -> None:
    server.run(
        "create table p (id int primary key)", "insert into p values (1)",
        "create table c (id int primary key, p int, foreign key (p) references p (id) on delete cascade)",
        "insert into c values (10, 1), (11, 1)",
    )
    start = server.source.position()
    server.run("delete from p")
    end = server.source.position()
    events = server.run(f"show binlog events in '{end.file}' from {start.pos if start.file == end.file else 4}")
    assert any(kind == "Table_map" and f"({server.database}.c)" in info for _, _, kind, _, _, info in events)


def test_values_larger_than_an_event_may_be(server: SourceServer) -> None:
    server.run("create table t (id int primary key, b mediumblob, s text)",
               "insert into t values (1, repeat('x', 500000), 'y'), (2, null, null)")
    assert check(server, kafka=Kafka(max_message_bytes=1536 * 1024))["source value sizes"].ok
    result = check(server, kafka=Kafka(max_message_bytes=1024 * 1024))["source value sizes"]
    assert not result.ok
    assert "t (" in result.message


def test_a_server_id_in_use(server: SourceServer) -> None:
    good_table(server)
    own = server.run("select @@server_id")[0][0]
    result = check(server, connect={"server_id": own})["source server id"]
    assert not result.ok
    assert str(own) in result.message


@ONLY_MYSQL
def test_prepared_xa_transactions(server: SourceServer) -> None:
    good_table(server)
    name = f"{server.database}_xa"
    server.run(f"xa start '{name}'", "insert into t values (5, 'x', null)", f"xa end '{name}'", f"xa prepare '{name}'")
    try:
        admin = server.spec(user="root", password="${env:CDC_STACK_MYSQL_ROOT_PASSWORD}")
        assert not check(server, admin)["source XA transactions"].ok
        assert check(server)["source XA transactions"].ok, "hidden from this user"
    finally:
        server.run(f"xa rollback '{name}'")


# Settings that the shared servers must keep


@contextmanager
def ill_configured(flavor: str, *settings: str) -> Iterator[SourceServer]:
    with own_server(flavor, *settings) as access, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OWN_PASSWORD", access.password)
        yield _own(flavor, access)


def _own(flavor: str, access: ServerAccess) -> SourceServer:
    spec = Source(type=flavor, host="127.0.0.1", port=access.port, database="shop", user="cdc",
                  password="${env:OWN_PASSWORD}")
    SourceServer(flavor, access, "mysql", MySqlSource(spec)).run("create database shop")
    server = SourceServer(flavor, access, "shop", MySqlSource(spec))
    good_table(server)
    return server


def test_mysql_that_logs_otherwise() -> None:
    settings = (
        "--binlog-format=MIXED", "--binlog-row-image=MINIMAL", "--binlog-row-value-options=PARTIAL_JSON",
        "--gtid-mode=OFF_PERMISSIVE", "--enforce-gtid-consistency=ON", "--binlog-ignore-db=shop",
        "--binlog-expire-logs-seconds=600", "--innodb-native-foreign-keys=ON",
        "--show-gipk-in-create-table-and-information-schema=OFF",
    )
    with ill_configured("mysql", *settings) as server:
        server.run("create table c (id int primary key, p int, foreign key (p) references t (id) on delete cascade)",
                   "set sql_generate_invisible_primary_key = ON", "create table hidden (a int)")
        results = check(server)
        assert failed(results) == {
            "source log format", "source GTIDs", "source log filters", "source log retention", "source hidden keys",
            "source cascades",
        }
        assert results["source hidden keys"].message.endswith("generated key: hidden")
        fix = results["source log format"].fix
        for setting, value in (("format", "ROW"), ("row_image", "FULL"), ("row_value_options", "")):
            assert f"binlog_{setting} = '{value}'" in fix
        mended = {"source log format", "source log retention", "source hidden keys"}
        for name in mended:
            server.run(*[line for line in results[name].fix.splitlines() if not line.startswith("--")])
        assert not mended & failed(check(server))
        server.source.close()


def test_mariadb_that_logs_otherwise() -> None:
    settings = (
        "--binlog-format=STATEMENT", "--binlog-row-image=NOBLOB", "--log-bin-compress=ON", "--binlog-do-db=other",
        "--lower-case-table-names=1",
    )
    with ill_configured("mariadb", *settings) as server:
        results = check(server)
        assert failed(results) == {"source log format", "source log filters"}
        fix = results["source log format"].fix
        for setting, value in (("binlog_format", "ROW"), ("binlog_row_image", "FULL"), ("log_bin_compress", "OFF")):
            assert f"{setting} = '{value}'" in fix
        server.run(*[line.split("  -- ")[0] for line in results["source log format"].fix.splitlines()
                     if not line.startswith("--")])
        assert "source log format" not in failed(check(server))
        assert "source.database to shop" in check(server, server.spec(database="Shop"))["source names"].fix
        server.source.close()


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_a_server_without_a_log(flavor: str) -> None:
    with ill_configured(flavor, "--skip-log-bin") as server:
        results = check(server)
        assert "source binary log" in failed(results)
        assert "log_bin" in results["source binary log"].message
        server.source.close()


def test_mysql_without_gtids_is_fine_with_the_lock() -> None:
    with ill_configured("mysql", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF", "--server-id=0") as server:
        assert failed(check(server)) == {"source server id"}
        assert failed(check(server, server.spec(locking="none"))) == {"source server id", "source GTIDs"}
        server.source.close()
