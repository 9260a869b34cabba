"""`start_replication` and its neighbours on a real Dagster: webserver, daemon, runs in PostgreSQL, real servers."""

import logging
from collections.abc import Callable

import pytest

from cdc_pipelines.dagster_client import DagsterClientError
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.verify import verify
from cdc_pipelines.stack.settings import StackSettings
from tests.integration.dagster_instance import DagsterPipe, wait_for
from tests.integration.dagster_runs import CUSTOMERS, ORDERS, STEPS, materialized, stored, tables_told

# Runs of Dagster take seconds to begin, and these tests have many of them.
pytestmark = pytest.mark.timeout(1200)


def test_a_pipeline_s_life(make_dagster_pipe: Callable[..., DagsterPipe], stack: StackSettings) -> None:
    pipe = make_dagster_pipe(carry={"indexes": True})
    client = pipe.client
    pipe.run(*CUSTOMERS, *ORDERS, "alter table customers add unique key name (name)")

    # configure saves, and lets Dagster show the assets
    run = client.launch("configure", {"file": str(pipe.file)})
    client.succeed(run)
    assert any("has loaded its code location anew" in line for line in pipe.log(run)), pipe.log(run)
    with pipe.dagster.store() as store:
        assert store.get(pipe.name).status == "configured"
    assert pipe.dagster.partitions(pipe.name, "customers") == ([], 0)

    # one run, told as four steps
    run = pipe.succeed("start_replication")
    log = pipe.log(run)
    assert [line[:8] for line in log if line.startswith("STEP")] == STEPS, log
    steps = client.run(run).steps
    assert set(steps.values()) == {"SUCCESS"}
    assert [s for s in steps if s.startswith("copy_shard")]
    assert client.run(run).tags["cdc/pipeline"] == pipe.name
    unique = "select indisunique from pg_index where indexrelid = to_regclass('customers_name')"
    assert pipe.rows(unique) == [(True,)], log

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
    assert pipe.rows(unique) == [(True,)]

    # a table more comes by itself; it is left out, and taken in again from the Launchpad
    pipe.run("create table late (id int primary key)", "insert into late values (1), (2)")
    wait_for(lambda: pipe.rows("select to_regclass('late') is not null") == [(True,)], "the new table")
    pipe.succeed("remove_table", table="late", drop_table=True)
    assert pipe.rows("select to_regclass('late')") == [(None,)]
    added = pipe.succeed("add_table", table="late")
    assert materialized(pipe, added) == {"late": 1}
    pipe.run("insert into late values (3)")
    wait_for(lambda: pipe.rows("select count(*) from late") == [(3,)], "its changes")
    pipe.succeed("resync_tables", tables=["order lines"])

    # a change that the target refuses is listed with its table, which is given back once that is mended
    pipe.target.execute("alter table customers add constraint short check (length(name) < 20)")
    pipe.run("update customers set name = 'a name that is too long' where id = 5")
    wait_for(lambda: pipe.rows("select count(*) from _cdc.dead_letter where state = 'held'") == [(1,)], "the letter")
    listed = tables_told(pipe, pipe.succeed("dead_letters"))
    assert [(row["table"], row["change"], row["key"]) for row in listed["dead letters"]] == [
        ("customers", "update", '{"id":5}')
    ]  # fmt: skip
    assert [(row["table"], row["dead letters"]) for row in listed["tables in quarantine"]] == [("customers", 1)]
    pipe.target.execute("alter table customers drop constraint short")
    released = pipe.succeed("release_tables", tables=["customers"])
    assert "customers" in materialized(pipe, released)
    assert pipe.rows("select name from customers where id = 5") == [("a name that is too long",)]
    assert pipe.rows("select state from _cdc.dead_letter") == [("applied",)]
    pipe.compare()

    pipe.succeed("teardown")
    assert pipe.rows("select count(*) from customers") == [(901,)], "target tables stay unless asked"
    assert pipe.dagster.partitions(pipe.name, "customers") == ([], 0)

    # of all of this, nothing that is kept holds a password
    kept = stored(pipe)
    assert "STEP 1/4" in kept
    for password in (stack.mysql.password, stack.postgres.password):
        assert password not in kept


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


def test_two_pipelines_start_at_the_same_time(make_dagster_pipe: Callable[..., DagsterPipe]) -> None:
    """Side by side; a second start of one of them waits for the first, and copies nothing."""
    one, two = make_dagster_pipe(tables=["customers"]), make_dagster_pipe(tables=["order lines"])
    one.run(*CUSTOMERS, *ORDERS)
    one.configure()
    two.configure()
    runs = [(pipe, pipe.launch("start_replication")) for pipe in (one, two, two)]
    for pipe, run in runs:
        pipe.client.succeed(run)
    assert [line[:8] for line in one.log(runs[0][1]) if line.startswith("STEP")] == STEPS
    assert sum(len(materialized(two, run)) for _, run in runs[1:]) == 1, "copied once"
    one.run("begin", "insert into customers values (901, 'x')", "delete from `order lines` where id > 890", "commit")
    wait_for(lambda: one.rows("select count(*) from customers") == [(901,)], "the change of one")
    wait_for(lambda: two.rows('select count(*) from "order lines"') == [(890,)], "the change of the other")
    one.client.reload()
    assert one.dagster.partitions(one.name, "customers")[1] == 1
    assert two.dagster.partitions(two.name, "order lines")[1] == 1


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
