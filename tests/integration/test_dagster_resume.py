"""Runs on a real Dagster that fail, are killed or terminated: the next one copies only what is missing."""

import contextlib
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.integration.dagster_instance import DagsterPipe, wait_for
from tests.integration.dagster_runs import BIG, CUSTOMERS, DOUBLE, materialized

# Runs of Dagster take seconds to begin, and these tests have many of them.
pytestmark = pytest.mark.timeout(1200)


def test_reexecution_from_failure_copies_only_what_is_missing(make_dagster_pipe: Callable[..., DagsterPipe]) -> None:
    pipe = make_dagster_pipe(copy={"chunk_mb": 1, "shards": 2})
    client = pipe.client
    pipe.run(*CUSTOMERS, *BIG, *[DOUBLE] * 2, "analyze table big")
    pipe.configure()
    # A table that was there before, which refuses one row: its shard fails, the other one goes through.
    pipe.target.execute("create table customers (id integer primary key, name varchar(40))")
    pipe.target.execute("alter table customers add constraint no_seven check (id <> 7)")
    failed = pipe.launch("start_replication")
    run = client.wait(failed)
    assert run.status == "FAILURE"
    assert sorted(run.steps.values()).count("FAILURE") == 1, run.steps
    assert "check_copy" not in [k for k, v in run.steps.items() if v == "SUCCESS"]
    assert "no_seven" in "\n".join(client.failures(failed))
    copied = pipe.rows("select table_name, ordinal, copied_at from _cdc.chunk where state = 'done' order by 1, 2")
    assert {table for table, *_ in copied} == {"big"}

    pipe.target.execute("alter table customers drop constraint no_seven")
    again = client.reexecute_from_failure(failed)
    client.succeed(again)
    steps = client.run(again).steps
    assert "plan_copy" not in steps
    assert len([s for s in steps if s.startswith("copy_shard")]) == 1
    assert "customers" in materialized(pipe, again)
    after = pipe.rows("select table_name, ordinal, copied_at from _cdc.chunk order by 1, 2")
    assert set(copied) <= set(after), "a copied chunk was copied again"
    assert sum(materialized(pipe, again).values()) == len(after) - len(copied)
    assert pipe.rows("select count(*) from customers") == [(900,)]
    pipe.compare()


def at_work_on_a_big_table(pipe: DagsterPipe) -> str:
    """Launch a start; returns its run while it copies, some chunks done, others not."""
    pipe.run(*BIG, *[DOUBLE] * 6, "analyze table big")
    pipe.configure()
    run = pipe.launch("start_replication")
    wait_for(lambda: pipe.rows("select to_regclass('_cdc.chunk')") != [(None,)], "the plan")
    wait_for(lambda: len(done_chunks(pipe)) >= 2, "two chunks")
    return run


def done_chunks(pipe: DagsterPipe) -> list[tuple[Any, ...]]:
    return pipe.rows("select table_name, ordinal, copied_at from _cdc.chunk where state = 'done'")


def test_a_killed_run_is_finished_without_anybody(make_dagster_pipe: Callable[..., DagsterPipe]) -> None:
    """kill -9 on the run and its steps while they copy: Dagster runs it again, which finds nothing in its way."""
    pipe = make_dagster_pipe(copy={"chunk_mb": 1, "shards": 1})
    run = at_work_on_a_big_table(pipe)
    assert kill_run(pipe, run)
    done = done_chunks(pipe)
    assert pipe.rows("select count(*) > 0 from _cdc.chunk where state = 'planned'") == [(True,)], "it was over already"

    again = wait_for(lambda: pipe.client.retries_of(run), "the run that Dagster launches by itself")[0]
    pipe.client.succeed(again)
    assert set(done) <= set(done_chunks(pipe)), "a copied chunk was copied again"
    assert pipe.rows("select count(*) from big") == [(900 * 64,)]
    pipe.client.reload()
    keys, known = pipe.dagster.partitions(pipe.name, "big")
    assert known == len(keys), "Dagster heard of every chunk"
    pipe.compare()


def test_a_terminated_run_leaves_the_pipeline_free(make_dagster_pipe: Callable[..., DagsterPipe]) -> None:
    pipe = make_dagster_pipe(copy={"chunk_mb": 1, "shards": 1})
    run = at_work_on_a_big_table(pipe)
    pipe.client.terminate(run)
    assert pipe.client.wait(run).status == "CANCELED"
    with pipe.dagster.store() as store:
        assert store.lease_info(pipe.name) is None
        assert store.history(pipe.name)[0].message == "the run was terminated"
    done = done_chunks(pipe)
    pipe.succeed("start_replication")
    assert set(done) <= set(done_chunks(pipe)), "a copied chunk was copied again"
    assert pipe.rows("select count(*) from big") == [(900 * 64,)]
    pipe.compare()


def kill_run(pipe: DagsterPipe, run_id: str) -> list[int]:
    """SIGKILL for every process that works on a run."""
    server = psutil.Process(pipe.dagster.server.processes["code-server"].pid)
    pids = {int(e["message"].split("pid: ")[1].split(")")[0]) for e in pipe.client.events(run_id)
            if e["__typename"] == "EngineEvent" and "(pid: " in e["message"]}  # fmt: skip
    doomed = [p for p in server.children(recursive=True) if p.pid in pids]
    for process in list(doomed):
        doomed += process.children(recursive=True)
    for process in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return [p.pid for p in doomed]
