"""The hand-over on the real stack: a copy's position, then Debezium from exactly there, on MySQL and MariaDB."""

import contextlib
import itertools
import json
from collections.abc import Callable

import pymysql
import pytest
import requests

from cdc_pipelines.replication.connect import RefusedError
from cdc_pipelines.replication.errors import ConfigurationError, ResyncRequiredError
from cdc_pipelines.stack.settings import StackSettings
from tests.integration.conftest import SourceServer
from tests.integration.handover_bench import Bench, Killed, bench, distinct, ids, make_bench, row_id
from tests.integration.writers import ONLY_MYSQL

__all__ = ["bench", "make_bench"]  # fixtures


def test_from_exactly_the_position_in_commit_order(bench: Bench) -> None:
    server = bench.server
    done = bench.hand_over()
    assert not done.kept
    assert done.seconds < 60, "3 to 5 s on an idle machine"
    assert "snapshot" not in done.offset
    assert bench.client.config(bench.name)["snapshot.mode"] == "no_data"  # type: ignore[index]
    assert bench.state()["healthy"]

    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("begin")
        cursor.execute("insert into item values (4, null, 1), (5, 'tx', 2)")
        cursor.execute("update note set body = 'tx' where id = 3")
        cursor.execute("delete from item where id = 5")
        cursor.execute("commit")
        cursor.execute("alter table item add column extra varchar(9) not null default 'e'")
        cursor.execute("insert into item (id, v) values (6, 1)")
        cursor.execute("update item set id = 60 where id = 6")
        cursor.execute("truncate table note")
        cursor.execute("insert into note values (7, 'last')")
    records = bench.log_until(lambda seen: seen[-1].kind == "END" and 7 in ids(seen))

    ours = [r for r in records if r.kind in ("c", "u", "d", "t", "ddl")]
    assert [(r.kind, r.value["source"]["table"], row_id(r)) for r in ours] == [
        ("c", "item", 2), ("c", "note", 3),
        ("c", "item", 4), ("c", "item", 5), ("u", "note", 3), ("d", "item", 5),
        ("ddl", "item", None),
        ("c", "item", 6), ("d", "item", 6), ("c", "item", 60),
        ("t", "note", None), ("c", "note", 7),
    ]
    four, six = ours[2], ours[7]
    assert four.value["after"] == {"id": 4, "name": None, "v": 1}  # NULL stays NULL, whatever the default
    assert six.value["after"]["extra"] == "e"
    assert [r.value["transaction"]["total_order"] for r in ours[2:6]] == [1, 2, 3, 4]
    assert len({r.value["transaction"]["id"] for r in ours[2:6]}) == 1
    ends = [r for r in records if r.kind == "END" and r.value["id"] == four.value["transaction"]["id"]]
    assert [e.value["event_count"] for e in ends] == [4]
    begin = next(r for r in records if r.kind == "BEGIN" and r.value["id"] == four.value["transaction"]["id"])
    assert begin.offset < four.offset < ends[0].offset
    old, new = ours[8], ours[9]
    assert json.loads(old.headers["__debezium.newkey"]) == {"id": 60}
    assert json.loads(new.headers["__debezium.oldkey"]) == {"id": 6}
    assert old.value["source"]["pos"] == new.value["source"]["pos"]
    added = next(c for c in ours[6].value["tableChanges"][0]["table"]["columns"] if c["name"] == "extra")
    assert added["typeName"] == "VARCHAR"
    assert "__debezium.context.runId" in four.headers


@ONLY_MYSQL
def test_what_rest_returns_holds_no_secret(bench: Bench, stack: StackSettings) -> None:
    bench.hand_over()
    password = getattr(stack, bench.server.flavor).password
    for path in ("", "/config", "/status", "/offsets", "/tasks"):
        text = requests.get(f"{stack.connect_url}/connectors/{bench.name}{path}", timeout=30).text
        assert password not in text, path
    assert bench.client.config(bench.name)["database.password"].startswith("${env:")  # type: ignore[index]


STEPS = ["history", "created", "guarded", "placed", "resumed", "recovered", "stopped", "switched", "streaming"]


@ONLY_MYSQL
@pytest.mark.parametrize("step", STEPS)
def test_killed_after_any_step_it_is_run_again(bench: Bench, step: str) -> None:
    numbers = itertools.count(10)

    def die(done: str) -> None:
        if done == step:
            raise Killed

    with pytest.raises(Killed):
        bench.hand_over(on_step=die)
    bench.server.run(f"insert into item values ({next(numbers)}, 'dead', 1)")
    done = bench.hand_over()
    assert done.kept is (step != "history")
    bench.server.run(f"insert into item values ({next(numbers)}, 'last', 1)")
    rows = bench.rows_until(11)
    assert distinct(rows) == [2, 3, 10, 11]
    assert ids(rows) == [2, 3, 10, 11], "nothing was sent twice"
    assert bench.state()["healthy"]


def test_killed_again_and_again(bench: Bench) -> None:
    """One step further each time, or to the end where the dead one's connector has gone on; a row at every death."""
    for number, step in enumerate(STEPS, 10):
        def die(done: str, last: str = step) -> None:
            if done == last:
                raise Killed

        with contextlib.suppress(Killed):
            bench.hand_over(on_step=die)
        bench.server.run(f"insert into item values ({number}, 'dead', 1)")
    bench.hand_over()
    bench.server.run("insert into item values (99, 'last', 1)")
    assert ids(bench.rows_until(99)) == [2, 3, *range(10, 10 + len(STEPS)), 99]


@pytest.mark.parametrize("change", [
    "alter table note add column later int",
    "alter table note modify body varchar(40) first",  # same width: decoded wrongly with no error at all
    "drop table note",
])
def test_a_changed_definition_asks_for_a_resync(bench: Bench, change: str) -> None:
    bench.server.run(change)
    with pytest.raises(ResyncRequiredError, match="note") as caught:
        bench.hand_over()
    assert "item" not in caught.value.message
    assert bench.client.config(bench.name) is None, "no connector was made"


def test_definitions_are_held_still_meanwhile(bench: Bench) -> None:
    """DDL waits while the connector learns the definitions, and goes through afterwards, into the log."""
    refused: list[int] = []

    def alter(step: str) -> None:
        if step in ("guarded", "resumed"):
            with bench.server.admin() as connection, connection.cursor() as cursor:
                cursor.execute("set session lock_wait_timeout = 1")
                with pytest.raises(pymysql.err.OperationalError) as caught:
                    cursor.execute("alter table item add column held int")
                refused.append(caught.value.args[0])

    bench.hand_over(on_step=alter)
    assert refused == [1205, 1205]
    bench.server.run("alter table item add column held int", "insert into item values (4, 'last', 1, 4)")
    records = bench.log_until(lambda seen: row_id(seen[-1]) == 4)
    ours = [r for r in records if r.kind in ("c", "ddl")]
    assert [r.kind for r in ours] == ["c", "c", "ddl", "c"]
    assert ours[-1].value["after"]["held"] == 4


def test_odd_names_and_columns_left_out(make_bench: Callable[..., Bench], server: SourceServer) -> None:
    odd = ["com,ma", "a.b", "x$y", "sp ace", "gr`öße", "p|q", "(br)", "per%s"]
    for number, name in enumerate(odd):
        quoted = "`" + name.replace("`", "``") + "`"
        server.run(f"create table {quoted} (id int primary key, `na,me.x` varchar(9), secret varchar(9))",
                   f"insert into {quoted} values ({number}, 'old', 's')")
    server.run("create table aXb (id int primary key)", "create table p (id int primary key)")
    tables = [{"source": name} for name in odd[:-1]] + [{"source": odd[-1], "columns": ["id", "na,me.x"]}]
    bench = make_bench(server, tables=tables)
    bench.copied()
    server.run("insert into aXb values (1000)", "insert into p values (1001)")
    bench.hand_over()
    for number, name in enumerate(odd):
        server.run("insert into `" + name.replace("`", "``") + f"` values ({number + 100}, 'new', 's')")
    rows = bench.rows_until(99 + len(odd))
    assert [(r.value["source"]["table"], row_id(r)) for r in rows] == [(n, i + 100) for i, n in enumerate(odd)]
    assert rows[0].value["after"] == {"id": 100, "na,me.x": "new", "secret": "s"}
    assert rows[-1].value["after"] == {"id": 99 + len(odd), "na,me.x": "new"}


def test_the_worker_can_not_log_in(make_bench: Callable[..., Bench], server: SourceServer) -> None:
    other = {"mysql": "MARIADB", "mariadb": "MYSQL"}[server.flavor]
    source = server.source.spec.model_dump() | {"connect_password": f"${{env:CDC_STACK_{other}_PASSWORD}}"}
    server.run("create table item (id int primary key)", "insert into item values (1)")
    bench = make_bench(server, source=source)
    bench.copied()
    with pytest.raises((RefusedError, ConfigurationError), match="Access denied"):
        bench.hand_over()
