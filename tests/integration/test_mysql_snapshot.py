"""Snapshots on the real servers: their position is exact, whoever writes meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from cdc_pipelines.replication.databases.mysql import snapshot as snapshot_module
from cdc_pipelines.replication.databases.mysql.gtid import MariaDbGtidSet, MySqlGtidSet
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.position import log_file_number
from cdc_pipelines.stack.settings import ServerAccess
from tests.integration.conftest import SourceServer, source_server
from tests.integration.own_servers import own_server
from tests.integration.writers import ONLY_MARIADB, ONLY_MYSQL, Writers, our_transactions, two_tables


@pytest.fixture(scope="module")
def access_to() -> Iterator[Callable[[str], ServerAccess]]:
    """Servers of this module's own: what these writers write, every connector of a server reads."""
    with ExitStack() as ends:
        yield cache(lambda flavor: ends.enter_context(own_server(flavor)))


@pytest.fixture(params=["mysql", "mariadb"])
def server(
    request: pytest.FixtureRequest, access_to: Callable[[str], ServerAccess], unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[SourceServer]:
    access = access_to(request.param)
    monkeypatch.setenv("OWN_PASSWORD", access.password)
    with source_server(request.param, access, unique("source"), "${env:OWN_PASSWORD}") as found:
        yield found


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
        while len(seen) < 10 or running.commits <= 100:
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
def test_without_the_lock_the_snapshot_holds_all_of_its_position(server: SourceServer) -> None:
    two_tables(server)
    tables = server.source.tables()
    source = type(server.source)(server.spec(locking="none"))
    start = source.position()
    seen = []
    with Writers(server, 4, 0):
        for _ in range(10):
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
