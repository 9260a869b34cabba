"""`kill -9`, then the same command again: equal, nothing twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from tests.conftest import PROJECT
from tests.e2e.conftest import Pipe, wait_until


def test_kill_of_the_copy_and_start_again(make_pipe: Callable[..., Pipe]) -> None:
    pipe = make_pipe(copy={"chunk_mb": 1, "workers": 1})
    pipe.run(
        "create table t (id int primary key, pad varchar(200))",
        "create table k (n int, pad varchar(200))",
        "set session cte_max_recursion_depth = 1000000",
        "insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 120000) "
        "select i, repeat('x', 150) from n",
        "insert into k select id, pad from t where id <= 20000",
        "analyze table t, k",
    )
    pipe.configure()
    copying = subprocess.Popen(
        [sys.executable, "-m", "cdc_pipelines.cli", "start", pipe.name],
        cwd=PROJECT,
        env=os.environ | {"CDC_HOME": str(pipe.home)},
        stderr=subprocess.PIPE,
    )
    chunks = "select count(*) filter (where state = 'done'), count(*) from _cdc.chunk"
    there = "select to_regclass('_cdc.chunk') is not null"
    wait_until(lambda: pipe.rows(there) == [(True,)] and pipe.rows(chunks)[0][0] >= 2, "two copied chunks")
    copying.kill()
    copying.wait()
    done, planned = pipe.rows(chunks)[0]
    assert 2 <= done < planned
    told = pipe.status()
    assert (told["overall"], told["config"]["status"]) == ("degraded", "copying")
    assert [each["kind"] for each in told["problems"]] == ["start_broken_off"]
    assert [error for error in told["errors"] if f"cdc start {pipe.name}" in error]
    before = pipe.rows("select table_name, ordinal, copied_at from _cdc.chunk where state = 'done'")
    pipe.run(
        "update t set pad = 'changed' where id in (1, 60000, 119999)",
        "delete from t where id = 2",
        "insert into k values (-1, 'new')",
    )
    wait_until(lambda: pipe.cdc("start", pipe.name).code == 0, "the lease of the killed start to end", 120)
    after = pipe.rows("select table_name, ordinal, copied_at from _cdc.chunk")
    kept = [chunk for chunk in before if chunk[0] == "t"]
    assert set(kept) <= set(after), "chunks of the keyed table were copied again"
    pipe.arrives("select count(*) from t where pad = 'changed'", [(3,)])
    pipe.equal()


def test_kill_of_the_consumer_under_load_and_of_the_agent(pipe: Pipe) -> None:
    pipe.run("create table t (id int primary key, v int)", "create table audit (n int)")
    pipe.configure()
    pipe.start()
    for n in range(1, 401):
        pipe.run(
            "begin",
            f"insert into t values ({n}, 0)",
            f"insert into audit values ({n})",
            f"update t set v = v + 1 where id <= {n}",
            "commit",
        )
        if n in (100, 250):
            victim = pipe.consumer()
            os.kill(victim.pid, signal.SIGKILL)
    pipe.arrives("select count(*), count(distinct n) from audit", [(400, 400)], 90)
    pipe.arrives("select sum(v) from t", pipe.source_rows("select sum(v) from t"))
    assert pipe.rows("select sum(v) from t") == pipe.source_rows("select sum(v) from t")
    pipe.equal()

    # Without its agent a consumer stays at work, and the next command starts another agent
    consumer = pipe.consumer()
    for agent in pipe.processes("agent"):
        agent.kill()
    pipe.run("insert into audit values (401)")
    pipe.arrives("select max(n) from audit", [(401,)])
    pipe.ok("restart")
    pipe.run("insert into audit values (402)")
    pipe.arrives("select max(n) from audit", [(402,)])
    assert pipe.consumer().pid != consumer.pid
