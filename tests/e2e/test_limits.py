"""What can't be followed exactly leaves its table as it was before it does harm, and says what to do."""

import pytest

from tests.e2e.conftest import Pipe, edit, wait_until


def left_behind(pipe: Pipe) -> str:
    """What is said of the table that stands apart because its definition can't be followed."""
    problems = wait_until(
        lambda: [p for p in pipe.status()["problems"] if p["kind"] == "table_changed"], "a table to stand apart"
    )
    return str(problems[0]["message"])


def test_a_column_made_anew_and_a_dropped_database_leave_the_table(pipe: Pipe) -> None:
    """No row event, and no difference of columns, tells of either."""
    pipe.run("create table t (id int primary key, v int)", "insert into t values (1, 7)")
    pipe.configure()
    pipe.start()
    computed = "alter table t drop column v, add column v int default (3 + 4)"
    pipe.run(computed, "insert into t values (2, 8)")
    message = left_behind(pipe)
    assert "table t gained column v: its default" in message
    assert computed in message
    assert pipe.rows("select id, v from t") == [(1, 7)]
    pipe.ok("heal")
    assert pipe.rows("select id, v from t order by id") == [(1, 7), (2, 8)]

    pipe.run(f"drop database {pipe.mysql.db.decode()}")
    assert "table t was dropped with its database" in left_behind(pipe)
    assert len(pipe.rows("select id from t")) == 2


def gone(pipe: Pipe) -> list[str]:
    return [p["message"] + p["next_step"] for p in pipe.status()["problems"] if p["kind"] == "table_gone"]


def test_a_table_that_is_moved_to_another_database_is_missed(pipe: Pipe) -> None:
    """The statement belongs to the other database, so that Debezium leaves it out."""
    other = f"{pipe.mysql.db.decode()}_other"
    pipe.run("create table t (id int primary key)", "create table k (id int primary key)", f"create database {other}")
    try:
        pipe.run(f"create table {other}.k (id int primary key)")
        pipe.configure()
        pipe.start()
        pipe.run(f"rename table t to {other}.t", "insert into k values (1)")
        pipe.arrives("select id from k", [(1,)])
        report = pipe.cdc("verify", pipe.name)
        assert report.code == 3
        assert "t: not compared, it is gone from the source" in report.stdout

        pipe.run(f"rename table k to {other}.k2, {other}.k to k")  # one that comes in is seen
        assert "table k got its name from a table that is not replicated" in left_behind(pipe)

        (told,) = wait_until(lambda: gone(pipe), "the table to be missed", 90)  # by two looks, 15 seconds apart
        assert told.startswith("table t is gone from the source")
        assert f"`cdc remove-table {pipe.name} t`" in told
        pipe.ok("remove-table", "t")
        assert gone(pipe) == []
        assert pipe.rows("select count(*) from t") == [(0,)], "the copy is kept"
    finally:
        pipe.run(f"drop database {other}")


@pytest.mark.parametrize("shared", ["mariadb"], indirect=True)
def test_tables_that_no_connector_can_read_are_refused_and_harm_no_other(shared: Pipe) -> None:
    pipe = shared
    pipe.run(
        "create table t (id int primary key, v int)",
        "create table price (id int primary key, v int without system versioning, w int) with system versioning",
        "create table host (id int primary key, ip inet6)",
        "create table page (id int primary key, v text compressed)",
    )
    refused = pipe.cdc("configure", pipe.file)
    assert refused.code == 2
    for words in ("table price: has system versioning", "table host: has ip (inet6)", "table page: has v (text"):
        assert words in refused.stderr
    proposed = pipe.cdc("discover", pipe.file).stdout
    assert "# price has system versioning" in proposed
    assert "{source: t}" in proposed
    pipe.run("drop table price, host, page")
    pipe.configure()
    pipe.start()
    pipe.run("create table price (id int primary key, v int) with system versioning", "insert into price values (1, 1)",
             "update price set v = 2", "insert into t values (1, 1)")
    failed = wait_until(
        lambda: [p["message"] for p in pipe.status()["problems"] if p["kind"] == "task_failed"], "the connector to fail"
    )
    assert "row in price" in failed[0]
    edit(pipe.file, exclude=["price"])
    pipe.configure()
    pipe.start()
    pipe.arrives("select id from t", [(1,)])
    pipe.equal()


@pytest.mark.parametrize("shared", ["mariadb"], indirect=True)
def test_a_cascade_that_comes_while_it_streams_is_told_and_mended(shared: Pipe) -> None:
    """The server deletes children without a word in its log."""
    pipe = shared
    pipe.run("create table p (id int primary key)", "insert into p values (1), (2)",
             "create table c (id int primary key, p int)", "insert into c values (10, 1), (20, 2)")
    pipe.configure()
    pipe.start()
    pipe.run("alter table c add constraint k foreign key (p) references p (id) on delete cascade",
             "delete from p where id = 1")
    pipe.arrives("select id from p", [(2,)])

    def told() -> list[dict[str, str]]:
        return [each for each in pipe.status()["problems"] if each["kind"] == "cascade"]

    (problem,) = wait_until(told, "the foreign key to be told")
    assert "table c has a foreign key to p" in problem["message"]
    assert pipe.rows("select id from c order by id") == [(10,), (20,)]
    cure = problem["next_step"].removeprefix("on the source: ").split(" Let the application")[0]
    pipe.run(*[statement for statement in cure.split(";") if statement.strip()])
    assert pipe.cdc("verify", pipe.name, "--table", "c", "--repair").code == 0
    assert pipe.rows("select id from c") == [(20,)]
    wait_until(lambda: not told(), "the problem to pass")
    pipe.equal()
