"""Reading key ranges on the real servers: whole, once, fast, flat in memory, and never silently short."""

import resource
import threading
import time
from typing import Any

import pytest

from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.databases.mysql.connection import connect_reader
from cdc_pipelines.replication.databases.mysql.ranges import KeyRange, walk
from cdc_pipelines.replication.errors import CdcError, RetryableError
from tests.integration.conftest import SourceServer

NARROW_ROWS = 400_000


def fill(server: SourceServer, rows: int) -> None:
    """A narrow table `n` of that many rows."""
    numbers = f"seq_1_to_{rows}" if server.flavor == "mariadb" else (
        f"(with recursive r(seq) as (select 1 union all select seq + 1 from r where seq < {rows}) select seq from r) s"
    )
    with server.admin() as connection, connection.cursor() as cursor:
        if server.flavor == "mysql":
            cursor.execute(f"set cte_max_recursion_depth = {rows + 1}")
        cursor.execute("create table n (id bigint primary key, a int, b varchar(20))")
        cursor.execute(f"insert into n select seq * 3, seq % 7, concat('row ', seq) from {numbers}")
        cursor.execute("analyze table n")


def read_all(server: SourceServer, table: Table, ranges: list[KeyRange]) -> list[list[Any]]:
    mapped = server.map(table)
    with server.source.open_snapshot(1, [table]) as snapshot:
        return [[row for batch in snapshot.sessions[0].read(mapped, r) for row in batch] for r in ranges]


KEYS = {
    "bigint unsigned": ["0", "1", "9223372036854775808", "18446744073709551615", "7"],
    "int": ["-2147483648", "-1", "0", "2147483647", "5"],
    "decimal(20,5)": ["-1.5", "0", "0.00001", "12345678901234.56789", "2"],
    "varchar(20) collate utf8mb4_general_ci": ["''", "'a'", "'B'", "'ä x'", "'z\\'\\\\'", "'%s'", "'😀'"],
    "varchar(20) collate utf8mb4_bin": ["''", "'a'", "'B'", "'b'", "'A'", "'ä'", "'😀'"],
    "char(5) character set latin1": ["'a'", "'é'", "'b'", "'c'", "'d'"],
    "varchar(10) character set utf16": ["'a'", "'é'", "'b'", "'😀'", "'d'"],
    "binary(4)": ["x'00000000'", "x'ff'", "x'fe00'", "x'27'", "x'5c'"],
    "varbinary(8)": ["''", "x'00'", "x'0000'", "x'ff00'", "x'5c27'"],
    "date": ["'1000-01-01'", "'2024-02-29'", "'9999-12-31'", "'1970-01-01'", "'0000-00-00'"],
    "datetime(6)": ["'1000-01-01'", "'2024-02-29 01:02:03.000001'", "'2024-02-29 01:02:03.000002'",
                    "'9999-12-31 23:59:59.999999'", "'0000-00-00'"],
    "timestamp(3)": ["'1970-01-01 00:00:01'", "'2024-10-27 01:30:00.123'", "'2024-10-27 01:30:00.124'",
                     "'2038-01-19 03:14:07'", "'2000-01-01'"],
    "time(6)": ["'-838:59:59'", "'-00:00:00.000001'", "'00:00:00'", "'12:00:00.5'", "'838:59:59'"],
    "year": ["0", "1901", "2024", "2155", "1970"],
    "enum('z','a','m','b','y')": ["'z'", "'a'", "'m'", "'b'", "'y'"],
    "set('z','a','m')": ["''", "'z'", "'a'", "'z,a'", "'z,a,m'"],
    "bit(10)": ["0", "1", "2", "512", "1023"],
}


@pytest.mark.parametrize("kind", list(KEYS))
def test_every_kind_of_key_is_walked_and_read_whole_and_once(server: SourceServer, kind: str) -> None:
    values = KEYS[kind]
    server.run(
        "set sql_mode='', time_zone='+00:00'", f"create table t (k {kind} not null primary key, n int)",
        *[f"insert into t values ({value}, {i})" for i, value in enumerate(values)],
    )
    table = server.source.tables()[0]
    with server.source.open_snapshot(1, [table]) as snapshot:
        ranges = walk(snapshot.sessions[0], table, 1, 100)
    assert len(ranges) == len(values), "one row per range was asked for"
    mapped = server.map(table)
    with server.source.open_snapshot(1, [table]) as snapshot:
        session = snapshot.sessions[0]
        numbers = [
            [int(row[1]) for batch in session.read(mapped, r) for row in batch] for r in ranges
        ]
    assert [len(n) for n in numbers] == [1] * len(values)
    assert sorted(n[0] for n in numbers) == list(range(len(values)))


def test_composite_keys_of_mixed_kinds(server: SourceServer) -> None:
    server.run(
        "create table t (a varchar(5) collate utf8mb4_general_ci, b int, c varbinary(3), n int auto_increment unique, "
        "primary key (a, b, c))",
        "insert into t (a, b, c) select a.v, b.v, c.v from (select 'a' v union select 'B' union select 'ä') a, "
        "(select -1 v union select 0 union select 7) b, (select x'00' v union select x'ff') c",
    )
    table = server.source.tables()[0]
    total = server.run("select count(*) from t")[0][0]
    with server.source.open_snapshot(1, [table]) as snapshot:
        ranges = walk(snapshot.sessions[0], table, 2, 100)
    parts = read_all(server, table, ranges)
    assert len(ranges) == -(-total // 2)
    assert sum(len(p) for p in parts) == total == len({row for part in parts for row in part})


def test_a_key_by_a_unique_index(server: SourceServer) -> None:
    server.run(
        "create table t (v int, b varchar(5) not null, c int not null, unique zz (v), unique yy (c, b), "
        "unique xx (b(4)))", *[f"insert into t values ({i}, 'b{i % 2}{i}', {i % 3})" for i in range(10)],
    )
    table = server.source.tables()[0]
    assert table.key == ("c", "b"), "neither a nullable index nor one of prefixes is a key"
    with server.source.open_snapshot(1, [table]) as snapshot:
        ranges = walk(snapshot.sessions[0], table, 3, 100)
    assert [len(p) for p in read_all(server, table, ranges)] == [3, 3, 3, 1]


ODD = ["select", "a`b", 'q"uo\'te', "per%cent %s %%d", "sp ace ", "back\\slash", "semi;colon--", "ünï", "{c}{0}", "A.B"]


@pytest.mark.parametrize("name", [n for n in ODD if not n.endswith(" ")])
def test_odd_names_of_tables_and_columns(server: SourceServer, name: str) -> None:
    quoted = "`" + name.replace("`", "``") + "`"
    columns = ["`" + n.rstrip().replace("`", "``") + "`" for n in ODD]
    server.run(
        f"create table {quoted} ({quoted} int, `k2 %s` varchar(5), "
        + ", ".join(f"{c} varchar(20)" for c in columns if c != quoted) + f", primary key ({quoted}, `k2 %s`))",
        *[f"insert into {quoted} ({quoted}, `k2 %s`) values ({i}, '%s')" for i in range(5)],
    )
    table = server.source.tables([name])[0]
    assert table.name == name
    with server.source.open_snapshot(1, [table]) as snapshot:
        ranges = walk(snapshot.sessions[0], table, 2, 10)
    parts = read_all(server, table, ranges)
    assert [row[0] for part in parts for row in part] == [b"0", b"1", b"2", b"3", b"4"]
    with server.source.guard([table]):
        pass


def test_a_column_that_the_source_generates_is_not_read_by_the_mapping(server: SourceServer) -> None:
    server.run("create table t (id int primary key, v int, s int as (v + 1) stored, w int as (v + 2) virtual)",
               "insert into t (id, v) values (1, 5)")
    table = server.source.tables()[0]
    assert [c.generated for c in table.columns] == [False, False, True, True]
    assert read_all(server, table, [KeyRange(())]) == [[(b"1", b"5")]]


def test_an_empty_table(server: SourceServer) -> None:
    server.run("create table t (id int primary key)")
    table = server.source.tables()[0]
    with server.source.open_snapshot(1, [table]) as snapshot:
        assert walk(snapshot.sessions[0], table, 10, 10) == [KeyRange(("id",))]
        assert list(snapshot.sessions[0].read(server.map(table), KeyRange(("id",)))) == []


def test_rates_and_memory(server: SourceServer) -> None:
    """A floor far below what the machine does when it is idle: it must catch a reader that converts row by row."""
    fill(server, NARROW_ROWS)
    table = server.source.tables(["n"])[0]
    mapped = server.map(table)
    with server.source.open_snapshot(1, [table]) as snapshot:
        session = snapshot.sessions[0]
        next(iter(session.read(mapped, KeyRange(("id",), None, (3000,)))))
    with server.source.open_snapshot(1, [table]) as snapshot:
        session = snapshot.sessions[0]
        before = resource.getrusage(resource.RUSAGE_SELF)
        sizes = [len(batch) for batch in session.read(mapped, KeyRange(()))]
        after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert sum(sizes) == NARROW_ROWS
    assert max(sizes) == 5000
    assert NARROW_ROWS / spent > 200_000, f"{NARROW_ROWS / spent:.0f} rows per second of our own CPU time"
    assert after.ru_maxrss - before.ru_maxrss < 20_000, "memory grows with the table (KiB)"


@pytest.mark.parametrize(("kind", "size"), [("longblob", 3_000_000), ("varchar(16000)", 16_000)])
def test_large_values_do_not_pile_up(server: SourceServer, kind: str, size: int) -> None:
    rows = 60_000_000 // size
    server.run(
        f"create table t (id int auto_increment primary key, v {kind}, small varchar(9)) character set latin1",
        "insert into t (small) values ('small')", *["insert into t (small) select small from t"] * 9,
        f"insert into t (v) select repeat('x', {size}) from (select 1 from t a join t b limit {rows}) s",
    )
    table = server.source.tables()[0]
    with server.source.open_snapshot(1, [table]) as snapshot:
        batches = [
            (len(batch), sum(len(v or b"") for row in batch for v in row))
            for batch in snapshot.sessions[0].read(server.map(table), KeyRange(()))
        ]
    assert sum(count for count, _ in batches) == 512 + rows
    assert max(count for count, _ in batches) <= 5000
    assert sum(total for _, total in batches) > 59_000_000
    row = max(size * 2 if kind == "longblob" else size, 1)  # binary values are read as hex digits
    assert max(total for _, total in batches) < 9_000_000 + 8 * row


def test_a_session_killed_in_mid_read_raises(server: SourceServer) -> None:
    fill(server, NARROW_ROWS)
    table = server.source.tables(["n"])[0]
    for kill in ("kill", "kill query"):
        with server.source.open_snapshot(1, [table]) as snapshot:
            session = snapshot.sessions[0]
            batches = session.read(server.map(table), KeyRange(()))
            counts = [len(next(batches))]
            server.run(f"{kill} {session.reader.session_id}")
            with pytest.raises(RetryableError, match="table n"):
                counts.extend(len(batch) for batch in batches)
            assert sum(counts) < NARROW_ROWS


def test_an_abandoned_read_ends_the_session_instead_of_reading_the_rest(server: SourceServer) -> None:
    fill(server, NARROW_ROWS)
    table = server.source.tables(["n"])[0]
    with server.source.open_snapshot(1, [table]) as snapshot:
        session = snapshot.sessions[0]
        batches = session.read(server.map(table), KeyRange(()))
        next(batches)
        started = time.monotonic()
        batches.close()
        assert time.monotonic() - started < 1
        with pytest.raises(RetryableError, match="closed"):
            session.query("select 1")


def test_errors_of_a_query_leave_the_session_usable(server: SourceServer) -> None:
    server.run("create table t (id int primary key)", "insert into t values (1)")
    table = server.source.tables()[0]
    with server.source.open_snapshot(1, [table]) as snapshot:
        session = snapshot.sessions[0]
        with pytest.raises(CdcError, match="nowhere"):
            session.query("select * from nowhere")
        server.run("insert into t values (2)")
        assert session.query("select count(*) from t") == [(1,)], "the snapshot is still the old one"


def test_what_queries_decode_to(server: SourceServer) -> None:
    server.run(
        "set sql_mode=''", "create table t (a bigint unsigned, b decimal(5,2), c double, d float, e varchar(5), "
        "f varbinary(5), g datetime(3), h date, i time, j bit(9), k year, l enum('x'), m json, n blob, o int)",
        "insert into t values (18446744073709551615, 1.50, 0.1, 0.5, 'é', x'ff00', '0000-00-00', '2024-01-02', "
        "'-30:00:00', 257, 2024, 'x', '{}', x'00', null)",
    )
    with server.source.open_snapshot(1, server.source.tables()) as snapshot:
        row = snapshot.sessions[0].query("select * from t where e = %s and f = %s", ("é", b"\xff\x00"))[0]
    assert [str(v) if type(v).__name__ == "Decimal" else v for v in row] == [
        2**64 - 1, "1.50", 0.1, 0.5, "é", b"\xff\x00", "0000-00-00 00:00:00.000", "2024-01-02", "-30:00:00", 257, 2024,
        "x", "{}", b"\x00", None,
    ]


def test_a_reader_waits_for_a_slow_target(server: SourceServer) -> None:
    """The servers' own net_write_timeout would end the session while the target is busy."""
    with connect_reader(server.source.spec, purpose="test") as reader:
        found = dict(reader.query("show session variables like '%\\_timeout'"))
    assert int(found["net_write_timeout"]) >= 3600
    assert int(found["wait_timeout"]) >= 86400


def test_sessions_of_one_snapshot_read_at_the_same_time(server: SourceServer) -> None:
    fill(server, 50_000)
    table = server.source.tables(["n"])[0]
    mapped = server.map(table)
    counts: list[int] = []
    with server.source.open_snapshot(3, [table]) as snapshot:
        server.run("delete from n limit 100")

        def count(session: Any) -> None:
            counts.append(sum(len(batch) for batch in session.read(mapped, KeyRange(()))))

        threads = [threading.Thread(target=count, args=(s,)) for s in snapshot.sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counts == [50_000] * 3
