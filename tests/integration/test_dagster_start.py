"""`start_replication` and its neighbours on a real Dagster: webserver, daemon, runs in PostgreSQL, real servers."""

import contextlib
import logging
import zlib
from collections.abc import Callable
from typing import Any

import psutil
import psycopg
import pytest

from cdc_pipelines.dagster_client import DagsterClientError
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.verify import verify
from tests.integration.dagster_instance import DagsterPipe, wait_for

# Runs of Dagster take seconds to begin, and these tests have many of them.
pytestmark = pytest.mark.timeout(1200)

CUSTOMERS = (
    "create table customers (id int primary key, name varchar(40))",
    "insert into customers with recursive n(n) as (select 1 union all select n + 1 from n where n < 900) "
    "select n, concat('customer ', n) from n",
)
ORDERS = (
    "create table `order lines` (id bigint primary key, customer int, note text)",
    "insert into `order lines` with recursive n(n) as (select 1 union all select n + 1 from n where n < 900) "
    "select n, 1 + n % 900, repeat('x', 200) from n",
)
BIG = (
    "create table big (id int primary key auto_increment, v varchar(1000))",
    "insert into big (v) with recursive n(n) as (select 1 union all select n + 1 from n where n < 900) "
    "select repeat('v', 900) from n",
)
DOUBLE = "insert into big (v) select v from big"
STEPS = ["STEP 1/4", "STEP 2/4", "STEP 3/4", "STEP 4/4"]


def materialized(pipe: DagsterPipe, run_id: str) -> dict[str, int]:
    """Table → number of chunks that a run reported as copied."""
    tables: dict[str, int] = {}
    for event in pipe.client.events(run_id):
        if event["__typename"] == "MaterializationEvent":
            assert event["assetKey"]["path"][0] == pipe.name
            assert event["partition"]
            tables[event["assetKey"]["path"][1]] = tables.get(event["assetKey"]["path"][1], 0) + 1
    return tables


def test_a_pipeline_s_life(make_dagster_pipe: Callable[..., DagsterPipe]) -> None:
    pipe = make_dagster_pipe()
    client = pipe.client
    pipe.run(*CUSTOMERS, *ORDERS)

    # configure saves, and says how the assets appear; jobs know the pipeline without that
    run = client.launch("configure", {"file": str(pipe.file)})
    client.succeed(run)
    assert any("Reload the code location" in line for line in pipe.log(run))
    with pipe.dagster.store() as store:
        assert store.get(pipe.name).status == "configured"
    client.reload()
    assert pipe.dagster.partitions(pipe.name, "customers") == ([], 0)

    # one run, told as four steps
    run = pipe.succeed("start_replication")
    log = pipe.log(run)
    assert [line[:8] for line in log if line.startswith("STEP")] == STEPS, log
    steps = client.run(run).steps
    assert set(steps.values()) == {"SUCCESS"}
    assert [s for s in steps if s.startswith("copy_shard")]
    assert client.run(run).tags["cdc/pipeline"] == pipe.name

    # its tables are there as assets, every chunk as a materialized partition
    for table in ("customers", "order lines"):
        keys, done = pipe.dagster.partitions(pipe.name, table)
        assert keys
        assert done == len(keys)
    chunks = pipe.rows("select table_name, count(*)::int from _cdc.chunk group by 1")
    assert materialized(pipe, run) == dict(chunks)
    observed = [e for e in client.events(run) if e["__typename"] == "ObservationEvent"]
    counts = {
        e["assetKey"]["path"][1]: m["intValue"]
        for e in observed for m in e["metadataEntries"] if m["label"] == "dagster/row_count"
    }  # fmt: skip
    assert counts == {"customers": 900, "order lines": 900}

    # and changes flow
    pipe.run("insert into customers values (901, 'late')", "delete from `order lines` where id = 1")
    wait_for(
        lambda: pipe.rows("select (select count(*) from customers), (select count(*) from \"order lines\")")
        == [(901, 899)], "the changes"
    )  # fmt: skip

    # starting what runs changes nothing and copies nothing
    again = pipe.succeed("start_replication")
    assert not materialized(pipe, again)
    assert not [s for s in client.run(again).steps if s.startswith("copy_shard")]
    assert any("at work already" in line for line in pipe.log(again))

    # "Materialize" on a chunk of a table that streams copies the table again, beside the stream
    pipe.target.execute("delete from customers where id < 100")
    keys = pipe.dagster.partitions(pipe.name, "customers")[0]
    again = client.materialize([pipe.name, "customers"], keys[0])
    client.succeed(again)
    assert pipe.rows("select count(*) from customers") == [(901,)]
    assert materialized(pipe, again)["customers"] == len(keys)

    # a table more comes by itself; it is left out, and taken in again from the Launchpad
    pipe.run("create table late (id int primary key)", "insert into late values (1), (2)")
    wait_for(lambda: pipe.rows("select to_regclass('late') is not null") == [(True,)], "the new table")
    pipe.succeed("remove_table", table="late", drop_table=True)
    added = pipe.succeed("add_table", table="late")
    assert materialized(pipe, added) == {"late": 1}
    pipe.run("insert into late values (3)")
    wait_for(lambda: pipe.rows("select count(*) from late") == [(3,)], "its changes")
    pipe.succeed("remove_table", table="late", drop_table=True)
    assert pipe.rows("select to_regclass('late')") == [(None,)]
    pipe.succeed("resync_tables", tables=["order lines"])
    pipe.compare()

    pipe.succeed("teardown")
    assert pipe.rows("select count(*) from customers") == [(901,)], "target tables stay unless asked"
    assert pipe.dagster.partitions(pipe.name, "customers") == ([], 0)
    pipe.succeed("teardown", drop_tables=True)  # once more: nothing is there


def test_stop_restart_verify_and_resync(make_dagster_pipe: Callable[..., DagsterPipe]) -> None:
    pipe = make_dagster_pipe()
    client = pipe.client
    pipe.run(*CUSTOMERS)
    pipe.configure()
    pipe.succeed("start_replication")
    client.reload()

    pipe.succeed("stop_replication")
    with pipe.dagster.store() as store:
        assert store.get(pipe.name).status == "stopped"
    pipe.run("insert into customers values (902, 'while stopped')")
    pipe.succeed("restart_replication")
    wait_for(lambda: pipe.rows("select name from customers where id = 902"), "the row written while stopped")

    # both sides are equal; a difference is found and named
    pipe.succeed("verify_replication")
    pipe.target.execute("update customers set name = 'forged' where id = 7")
    unequal = pipe.launch("verify_replication", tables=["customers"])
    assert client.wait(unequal).status == "FAILURE"
    assert "customers (1 rows)" in client.failures(unequal)[0]
    assert pipe.rows("select id from customers where name = 'forged'") == [(7,)], "verify changes nothing"
    assert pipe.dagster.checks(pipe.name, "customers") == [(False, "", 1), (True, "", 0)]

    # the same by hand, as the table's check; then mended
    client.succeed(client.check([pipe.name, "customers"], "equal_to_source"))
    assert pipe.dagster.checks(pipe.name, "customers")[0] == (False, "", 1)
    pipe.succeed("verify_replication", repair=True)
    assert pipe.rows("select name from customers where id = 7") == pipe.source_rows(
        "select name from customers where id = 7"
    )
    assert pipe.dagster.checks(pipe.name, "customers")[0] == (True, "", 0)

    # what the command line finds shows, too
    pipe.target.execute("delete from customers where id in (8, 9)")
    with pipe.dagster.store() as store, Runtime.open(pipe.name, store) as rt:
        assert not verify(rt, logging.getLogger("verify")).equal
    wait_for(lambda: pipe.dagster.checks(pipe.name, "customers")[0][::2] == (False, 2), "the sensor to tell", 100)
    assert "compared by the command" in pipe.dagster.checks(pipe.name, "customers")[0][1]

    # a resync: new partitions instead of the old ones, the lost rows there again
    old = pipe.dagster.partitions(pipe.name, "customers")[0]
    resync = pipe.succeed("start_replication", force_resync=True)
    new, done = pipe.dagster.partitions(pipe.name, "customers")
    assert not set(new) & set(old)
    assert done == len(new)
    assert materialized(pipe, resync) == {"customers": len(new)}
    pipe.compare()


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


def test_two_pipelines_start_at_the_same_time(make_dagster_pipe: Callable[..., DagsterPipe]) -> None:
    one, two = make_dagster_pipe(tables=["customers"]), make_dagster_pipe(tables=["order lines"])
    one.run(*CUSTOMERS, *ORDERS)
    one.configure()
    two.configure()
    runs = [(pipe, pipe.launch("start_replication")) for pipe in (one, two)]
    for pipe, run in runs:
        pipe.client.succeed(run)
        assert [line[:8] for line in pipe.log(run) if line.startswith("STEP")] == STEPS
    one.run("begin", "insert into customers values (901, 'x')", "delete from `order lines` where id > 890", "commit")
    wait_for(lambda: one.rows("select count(*) from customers") == [(901,)], "the change of one")
    wait_for(lambda: two.rows('select count(*) from "order lines"') == [(890,)], "the change of the other")
    one.client.reload()
    assert one.dagster.partitions(one.name, "customers")[1] == 1
    assert two.dagster.partitions(two.name, "order lines")[1] == 1


def test_a_second_start_waits_for_the_first(make_dagster_pipe: Callable[..., DagsterPipe]) -> None:
    pipe = make_dagster_pipe()
    pipe.run(*CUSTOMERS)
    pipe.configure()
    runs = [pipe.launch("start_replication") for _ in range(2)]
    for run in runs:
        pipe.client.succeed(run)
    assert sum(len(materialized(pipe, run)) for run in runs) == 1, "copied once"


def test_what_is_not_met_is_said_at_once_and_changes_nothing(make_dagster_pipe: Callable[..., DagsterPipe]) -> None:
    pipe = make_dagster_pipe(connect={"url": "http://127.0.0.1:9"})
    pipe.run(*CUSTOMERS)
    pipe.configure()
    run = pipe.launch("start_replication")
    assert pipe.client.wait(run).status == "FAILURE"
    assert pipe.client.run(run).steps == {"validate_prerequisites": "FAILURE"}
    [reason, *_] = pipe.client.failures(run)
    assert "prerequisites are not met" in reason
    assert "127.0.0.1:9" in reason
    assert pipe.rows("select to_regclass('_cdc.pipeline'), to_regclass('public.customers')") == [(None, None)]
    with pipe.dagster.store() as store:
        store.delete(pipe.name)  # a teardown could not reach its Connect either


def test_mistakes_in_the_launchpad(make_dagster_pipe: Callable[..., DagsterPipe]) -> None:
    pipe = make_dagster_pipe()
    with pytest.raises(DagsterClientError, match="pipeline"):
        pipe.client.launch("start_replication", {"force_resync": True})
    with pytest.raises(DagsterClientError, match="pipline"):
        pipe.client.launch("start_replication", {"pipline": pipe.name})
    run = pipe.client.launch("start_replication", {"pipeline": "nosuch"})
    assert pipe.client.wait(run).status == "FAILURE"
    assert "nosuch" in pipe.client.failures(run)[0]
    broken = pipe.dagster.home / "broken.yaml"
    broken.write_text("source: [")
    run = pipe.client.launch("configure", {"file": str(broken)})
    assert pipe.client.wait(run).status == "FAILURE"
    assert "broken.yaml" in pipe.client.failures(run)[0]


def test_no_secret_is_stored(make_dagster_pipe: Callable[..., DagsterPipe], stack: Any) -> None:
    """Of all that Dagster keeps of runs (config, events, snapshots), nothing holds a password."""
    pipe = make_dagster_pipe()
    pipe.run(*CUSTOMERS)
    pipe.client.succeed(pipe.client.launch("configure", {"file": str(pipe.file)}))
    pipe.succeed("start_replication")
    access = pipe.dagster.server.home.environment
    with psycopg.connect(
        host=access["CDC_DAGSTER_PG_HOST"], port=int(access["CDC_DAGSTER_PG_PORT"]), user=access["CDC_DAGSTER_PG_USER"],
        password=access["CDC_DAGSTER_PG_PASSWORD"], dbname=access["CDC_DAGSTER_PG_DB"],
    ) as storage:  # fmt: skip
        text = "".join(
            str(row[0])
            for query in ("select event from event_logs", "select run_body from runs")
            for row in storage.execute(query).fetchall()
        )
        text += "".join(
            bytes_of(row[0]) for row in storage.execute("select snapshot_body from snapshots").fetchall()
        )
    assert "STEP 1/4" in text
    for password in (stack.mysql.password, stack.postgres.password):
        assert password not in text


def bytes_of(body: bytes) -> str:
    return zlib.decompress(bytes(body)).decode()
