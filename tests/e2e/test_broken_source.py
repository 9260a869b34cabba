"""The source's log is reset, purged, or another server answers: never taken for the one that was read before."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import CommandResult, mysql_connection
from tests.e2e.own_source import KINDS, OwnPipe, own_pipe, prepare, purge
from tests.e2e.test_broken_worlds import TABLE, resync_mends, stops
from tests.integration.own_servers import own_server

RESETS = {"mysql": "reset binary logs and gtids", "mariadb": "reset master"}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def own(
    kind: str, stack: StackSettings, cdc: Callable[..., CommandResult], cdc_home: Path,
    pipeline_file: Callable[..., Path], target_database: str, target: psycopg.Connection,
) -> Iterator[OwnPipe]:
    """A running pipeline on an own server of each kind, with three rows on both sides."""
    with own_pipe(kind, stack, cdc, cdc_home, pipeline_file, target_database, target) as pipe:
        pipe.run(*TABLE)
        pipe.configure()
        pipe.start()
        pipe.run("insert into t values (3, 'c')")
        pipe.arrives("select count(*) from t", [(3,)])
        yield pipe


def test_the_log_is_reset(own: OwnPipe, kind: str) -> None:
    """Its new transactions have the numbers of old ones: they must not be taken for repetitions of these."""
    own.run(RESETS[KINDS[kind][0]])
    own.run("insert into t values (4, 'd')")
    stops(own, f"cdc start {own.name} --force-resync")
    resync_mends(own)


def test_the_log_is_reset_while_the_pipeline_is_stopped(own: OwnPipe, kind: str) -> None:
    own.ok("stop")
    own.run(RESETS[KINDS[kind][0]])
    own.run(*[f"insert into t values ({n}, 'x')" for n in range(4, 60)])
    stops(own, "history", f"cdc start {own.name} --force-resync")
    resync_mends(own)


def test_the_log_is_purged_while_the_pipeline_is_stopped(own: OwnPipe) -> None:
    own.ok("stop")
    own.run("flush binary logs", "insert into t values (4, 'd')")
    purge(own)
    own.run("insert into t values (5, 'e')")
    stops(own, "purged", f"cdc start {own.name} --force-resync")
    resync_mends(own)


def test_the_server_is_replaced(own: OwnPipe, kind: str, stack: StackSettings) -> None:
    """Another server under the same address, with the same tables and a longer log."""
    flavor, settings = KINDS[kind]
    other_id = ("--server-id=78",) if flavor == "mariadb" else ()  # MariaDB servers are told by it
    with own_server(flavor, *settings, *other_id) as access:
        prepare(access, getattr(stack, flavor).password)
        with mysql_connection(access, "shop") as connection:
            first, own.mysql = own.mysql, connection
            own.run(*TABLE, *[f"insert into t values ({n}, 'x')" for n in range(3, 60)])
            own.proxy.lead_to(access.port)
            stops(own, f"cdc start {own.name} --force-resync")
            resync_mends(own)
            own.ok("teardown", "--yes")
            own.mysql = first
