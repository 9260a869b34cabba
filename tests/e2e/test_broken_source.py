"""The source's log is reset, purged, or another server answers: never taken for the one that was read before."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.operations.connector import put_connector
from cdc_pipelines.replication.operations.consumer_state import connector_covers
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.operations.start import copy_chunk, step_copy_all, step_plan
from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import CommandResult, mysql_connection
from tests.e2e.conftest import edit, wait_until
from tests.e2e.own_source import KINDS, TABLE, OwnPipe, new_log_file, own_pipe, prepare, purge
from tests.e2e.pipeline_parts import kinds, resync_mends, stops
from tests.integration.own_servers import own_server

LOG = logging.getLogger("tests.broken_source")
RESETS = {"mysql": "reset binary logs and gtids", "mariadb": "reset master"}


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def on(*kinds: str) -> pytest.MarkDecorator:
    """On these kinds of server; how they differ in judging a position is tested apart, in test_mysql_history."""
    return pytest.mark.parametrize("kind", kinds, indirect=True)


@pytest.fixture
def configured(
    kind: str, stack: StackSettings, cdc: Callable[..., CommandResult], cdc_home: Path,
    pipeline_file: Callable[..., Path], target_database: str, target: psycopg.Connection,
) -> Iterator[OwnPipe]:
    """A configured pipeline on an own server of each kind."""
    with own_pipe(kind, stack, cdc, cdc_home, pipeline_file, target_database, target) as pipe:
        pipe.run(*TABLE)
        pipe.configure()
        yield pipe


@pytest.fixture
def own(configured: OwnPipe) -> OwnPipe:
    """It runs, with three rows on both sides."""
    configured.start()
    three_rows(configured)
    return configured


def three_rows(pipe: OwnPipe) -> None:
    pipe.run("replace into t values (3, 'c')", "delete from t where id > 3")
    pipe.arrives("select count(*) from t", [(3,)])


@on("gtid", "mariadb")
def test_the_log_is_reset_and_purged(own: OwnPipe, kind: str) -> None:
    """A new log's transactions have the numbers of old ones: they must not be taken for repetitions of these."""
    own.run(RESETS[KINDS[kind][0]])
    own.run("insert into t values (4, 'd')")
    stops(own, f"cdc start {own.name} --force-resync")
    resync_mends(own)

    three_rows(own)
    {"gtid": the_alarm_comes_before_the_purge, "mariadb": the_log_is_purged_while_the_pipeline_is_stopped}[kind](own)


@on("plain")
def test_the_log_is_reset_while_the_pipeline_is_stopped(own: OwnPipe, kind: str) -> None:
    own.ok("stop")
    own.run(RESETS[KINDS[kind][0]])
    own.run(*[f"insert into t values ({n}, 'x')" for n in range(4, 60)])
    assert "source_history" in kinds(stops(own, "history", f"cdc start {own.name} --force-resync"))
    resync_mends(own)


def the_log_is_purged_while_the_pipeline_is_stopped(own: OwnPipe) -> None:
    own.ok("stop")
    own.run("flush binary logs", "insert into t values (4, 'd')")
    purge(own)
    own.run("insert into t values (5, 'e')")
    stops(own, "purged", f"cdc start {own.name} --force-resync")
    resync_mends(own)


def the_alarm_comes_before_the_purge(own: OwnPipe) -> None:
    """Also for a pipeline that was stopped: nobody looks at it, while its source's log runs out."""
    own.ok("stop")
    needed = own.source_rows("show binary logs")[-1][0]
    own.run("insert into t values (4, 'd')", "set global binlog_expire_logs_seconds = 8", "flush binary logs")

    def told() -> Any:
        seen = own.status()
        return [p for p in seen["problems"] if p["kind"] == "runway"] and seen

    seen = wait_until(told, "the alarm", 30)
    assert seen["overall"] == "degraded"
    assert "the source may purge what is still needed" in seen["errors"][0]
    assert needed in [row[0] for row in own.source_rows("show binary logs")], "nothing is purged yet"
    own.run("set global binlog_expire_logs_seconds = default")
    own.start()
    own.arrives("select count(*) from t", [(4,)])
    wait_until(lambda: own.status()["overall"] == "healthy", "it to be read", 60)


@on("gtid")
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


@on("gtid")
def test_the_log_is_purged_between_copy_and_stream(configured: OwnPipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks whose position is gone are copied again; no resync is asked for, nothing is missing."""
    pipe = configured
    monkeypatch.setenv("CDC_HOME", str(pipe.home))
    with Runtime.open(pipe.name, ControlStore.open()) as rt:
        step_plan(rt, LOG, force_resync=False)
        step_copy_all(rt, LOG, on_chunk=lambda chunk: None)
        pipe.run("insert into t values (3, 'purged')", "flush binary logs", "insert into t values (4, 'd')")
        purge(pipe)
        with pytest.raises(RetryableError, match="purged"):
            put_connector(rt, LOG)
    before = pipe.rows("select generation from _cdc.pipeline")
    pipe.start()
    assert pipe.rows("select generation from _cdc.pipeline") == before
    pipe.run("insert into t values (5, 'e')")
    pipe.arrives("select id from t order by id", [(1,), (2,), (3,), (4,), (5,)])
    pipe.equal()


@on("gtid")
def test_a_long_copy_outlasts_the_log(configured: OwnPipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connector is made first: what the source purges while the copy runs is in the change log by then."""
    pipe = configured
    edit(pipe.file, copy={"early_connector_minutes": 0})
    pipe.configure()
    monkeypatch.setenv("CDC_HOME", str(pipe.home))
    with Runtime.open(pipe.name, ControlStore.open()) as rt:
        step_plan(rt, LOG, force_resync=False)
        pipe.run("insert into t values (3, 'before')")
        copy_chunk(rt, LOG, "t", 0, lambda chunk: None)
        pipe.run("update t set v = 'after' where id = 1", "delete from t where id = 2", "insert into u values (7)")
        now, newest = rt.source.position(), new_log_file(pipe)
        with pipe.busy():
            wait_until(lambda: connector_covers(rt, now, None), "the connector to have read all")
        purge(pipe, newest)
        assert pipe.rows("select count(*) from _cdc.chunk where state = 'planned'") == [(1,)]
    copied = pipe.rows("select copied_at from _cdc.chunk where table_name = 't'")
    with pipe.busy():
        pipe.start()  # goes on with the copy, keeps the connector
    assert pipe.rows("select copied_at from _cdc.chunk where table_name = 't'") == copied, "copied again"
    pipe.arrives("select id, v from t order by id", [(1, "after"), (3, "before")])
    pipe.run("insert into t values (5, 'e')")
    pipe.arrives("select count(*) from t", [(3,)])
    pipe.equal()
