"""Processes frozen, overtaken by a `force_resync`, and woken: they change nothing, and end by themselves."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from cdc_pipelines.agent import exit_codes
from tests.conftest import PROJECT
from tests.e2e.conftest import Pipe, wait_until

CHUNKS = "select * from _cdc.chunk order by table_name, ordinal"
EPOCH = "select epoch from _cdc.pipeline"
WAITS = (
    "select 1 from pg_locks where not granted "
    "and database = (select oid from pg_database where datname = current_database())"
)
IN_TRANSACTION = (
    "select 1 from pg_stat_activity where datname = current_database() and application_name like 'cdc:%:consumer@%' "
    "and state = 'idle in transaction'"
)

AT_REST = (
    "select bool_and(state = 'idle') from pg_stat_activity where datname = current_database() "
    "and application_name like 'cdc:%:consumer@%'"
)


@contextlib.contextmanager
def process(pipe: Pipe, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that is not the agent's child: nobody else ends it."""
    started = subprocess.Popen(
        [sys.executable, "-m", "cdc_pipelines.cli", *words], cwd=PROJECT, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"CDC_HOME": str(pipe.home), "CDC_AGENT_AUTOSTART": "1"},
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def freeze(frozen: subprocess.Popen[str]) -> None:
    os.kill(frozen.pid, signal.SIGSTOP)


def freeze_at_rest(pipe: Pipe, frozen: subprocess.Popen[str]) -> None:
    """Not while it stores how far it has read: what other databases write makes it do so, too."""
    def rests() -> bool:
        freeze(frozen)
        if all(pipe.rows(AT_REST) == [(True,)] for _ in range(3)):
            return True
        os.kill(frozen.pid, signal.SIGCONT)
        return False

    wait_until(rests, "the consumer to have no transaction open")


def wake(frozen: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it said."""
    os.kill(frozen.pid, signal.SIGCONT)
    said, _ = frozen.communicate(timeout=60)
    return frozen.returncode, said


@contextlib.contextmanager
def consumer_of_nobody(pipe: Pipe) -> Iterator[subprocess.Popen[str]]:
    """A consumer at work without an agent, as on a host that can't be reached."""
    for name in ("agent", "consume"):
        for found in pipe.processes(name):
            found.kill()
            found.wait(10)
    with process(pipe, "consume", pipe.name) as consumer:
        pipe.run("insert into audit values (0)")
        pipe.arrives("select n from audit where n = 0", [(0,)])
        yield consumer


def begin(pipe: Pipe) -> None:
    pipe.run("create table audit (n int)", "create table t (id int primary key, v int)", "insert into t values (1, 0)")
    pipe.configure()
    pipe.start()


@pytest.mark.parametrize("inside", [False, True], ids=["idle", "in a transaction"])
def test_a_consumer_woken_after_a_resync_changes_nothing(keep_pipe: Callable[..., Pipe], inside: bool) -> None:
    pipe = keep_pipe(begin)
    pipe.run("truncate table audit", "update t set v = 0")
    with consumer_of_nobody(pipe) as zombie:
        (epoch,) = pipe.rows(EPOCH)
        if inside:
            pipe.target.execute("begin")
            pipe.target.execute("lock table t in access exclusive mode")
            pipe.run("begin", "insert into audit values (2)", "update t set v = 1", "commit")
            wait_until(lambda: pipe.rows(WAITS), "the consumer to wait in its transaction")
            freeze(zombie)
            pipe.target.execute("rollback")
            wait_until(
                lambda: pipe.rows(IN_TRANSACTION), "its statement to be done, with nobody to read the answer",
            )
        else:
            freeze_at_rest(pipe, zombie)
            pipe.run("begin", "insert into audit values (2)", "update t set v = 1", "commit")
        with process(pipe, "start", pipe.name, "--force-resync") as start:
            wait_until(lambda: pipe.rows(EPOCH) != [epoch], "the new generation")
            code, said = wake(zombie)
            told, _ = start.communicate(timeout=120)
    assert start.returncode == 0, told
    if inside:  # its session was ended, and with it what it had not committed; whoever starts it again has the new word
        assert code == exit_codes.RETRY, said
    else:
        assert code == exit_codes.FENCED, said
        assert "something newer took over" in said
    pipe.run("insert into audit values (3)")
    pipe.arrives("select n from audit order by 1", [(0,), (2,), (3,)])
    pipe.equal()


def test_a_copy_worker_woken_after_a_resync_changes_nothing(make_pipe: Callable[..., Pipe]) -> None:
    pipe = make_pipe(copy={"chunk_mb": 1, "workers": 1})
    pipe.run(
        "create table audit (n int, pad varchar(200))",
        "create table t (id int primary key, pad varchar(200))",
        "set session cte_max_recursion_depth = 1000000",
        "insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 50000) "
        "select i, repeat('x', 150) from n",
        "insert into audit select id, pad from t where id <= 10000",
        "analyze table t, audit",
    )
    pipe.configure()
    copied = "select count(*) from _cdc.chunk where state = 'done'"
    with process(pipe, "start", pipe.name) as zombie:
        wait_until(lambda: pipe.rows("select to_regclass('_cdc.chunk') is not null") == [(True,)], "a plan")
        wait_until(lambda: pipe.rows(copied)[0][0] >= 2, "two copied chunks")
        with pipe.target.transaction():
            pipe.target.execute("lock table t in access exclusive mode")
            wait_until(lambda: pipe.rows(WAITS), "the worker to wait in its transaction")
            freeze(zombie)
        pipe.run("delete from t where id = 1", "insert into audit values (-1, 'new')")
        # It holds the pipeline until its lease runs out, as nobody renews it: the time is made to pass.
        assert "is held by" in pipe.cdc("start", pipe.name, "--force-resync").stderr
        with contextlib.closing(sqlite3.connect(pipe.home / "control.db", timeout=30)) as store, store:
            store.execute("update cdc_leases set expires_at = acquired_at")
        pipe.start("--force-resync")
        before = pipe.rows(CHUNKS)
        code, said = wake(zombie)
    assert code == 1, said
    assert "nothing of it was kept" in said  # its session was ended with the transaction that it had open
    assert pipe.rows(CHUNKS) == before
    pipe.equal()
