"""Tables whose versions are kept: each change that was committed is one of them, exactly once."""

import os
import signal
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pymysql
import pytest
import requests

from cdc_pipelines.stack.settings import StackSettings
from tests.e2e.conftest import Pipe, edit, wait_until
from tests.e2e.history_tables import ITEMS, SCHEMA, WORDS, comes_up, everything, started
from tests.e2e.writing import writing


def test_versions_of_all_kinds_of_changes_and_of_a_killed_consumer(shared: Pipe, stack: StackSettings) -> None:
    pipe = started(shared, apply={"run_events": 1000})
    assert pipe.rows(ITEMS) == [
        (1, 1, "a", "1.00", True), (2, 1, "b", "2.00", True), (3, 1, "c", "3.00", True)
    ]  # fmt: skip
    assert {t["table"]: t["rows_target"] for t in pipe.equal()["tables"]} == {
        "item": 3, "word": 2, "person": 1, "bulk": 0, "plain": 1
    }
    follows_changes(pipe)
    follows_a_truncate(pipe)
    takes_a_large_transaction_for_one(pipe)
    makes_each_version_once(pipe, stack)


def follows_changes(pipe: Pipe) -> None:
    ((before,),) = pipe.source_rows("select unix_timestamp()")
    pipe.run(
        "insert into item values (4, 'new', 4, 0)", "update item set price = 11 where id = 1",
        "update item set hidden = 5 where id = 1",  # nothing that the target has
        "update item set id = 20 where id = 2",
        "delete from item where id = 3", "insert into item values (3, 'again', 3, 0)",
        "begin", "update item set price = 5 where id = 4", "update item set price = 6 where id = 4",
        "insert into item values (5, 'x', 1, 0)", "delete from item where id = 5", "commit",
        "begin", "delete from item where id = 1", "insert into item values (1, 'back', 1, 0)", "commit",
        "update word set n = 10 where w = 'one'", "update word set w = 'three' where w = 'two'",
        "update person set state = 'in' where id = 2", "update person set state = 'out' where id = 1",
        "update person set mail = 'x@y.z' where id = 1", "update person set mail = 'g@h.i' where id = 2",
    )
    comes_up(pipe)
    assert pipe.rows(ITEMS) == [
        (1, 1, "a", "1.00", False), (1, 2, "a", "11.00", False), (1, 3, "back", "1.00", True),
        (2, 1, "b", "2.00", False), (3, 1, "c", "3.00", False), (3, 2, "again", "3.00", True),
        (4, 1, "new", "4.00", False), (4, 2, "new", "6.00", True), (20, 1, "b", "2.00", True),
    ]  # fmt: skip
    assert pipe.rows(WORDS) == [
        ("one", 1, 1, False), ("one", 2, 10, True), ("three", 1, 2, True), ("two", 1, 2, False)
    ]  # fmt: skip
    hashed = [sha256(mail.encode()).hexdigest() for mail in ("a@b.c", "d@e.f", "g@h.i")]
    assert pipe.rows(
        "select id, _version, mail, _op, origin, _valid_to is null from person order by id, _version"
    ) == [
        (1, 1, hashed[0], "r", "crm", False), (2, 1, hashed[1], "c", "crm", False), (2, 2, hashed[2], "u", "crm", True),
    ]  # fmt: skip
    ((after,),) = pipe.source_rows("select unix_timestamp()")
    times = pipe.rows(
        "select extract(epoch from t)::float from item, lateral (values (_valid_from), (_valid_to)) v(t) "
        "where t is not null and (_version > 1 or t <> _valid_from)"
    )
    assert times
    assert all(float(before) - 1 <= time <= float(after) + 1 for (time,) in times), "times are those of the commits"
    assert pipe.rows("select a._valid_to = b._valid_from from item a, item b where a.id = 2 and b.id = 20") == [(True,)]
    chained = "select bool_and(a._valid_to = b._valid_from) from item a join item b using (id) where id in (1, 4) and "
    assert pipe.rows(f"{chained} b._version = a._version + 1") == [(True,)]
    pipe.equal()


def follows_a_truncate(pipe: Pipe) -> None:
    pipe.run("truncate table item", "insert into item values (1, 'a', 1, 0), (6, 'b', 1, 0)", "truncate table word")
    comes_up(pipe)
    assert pipe.rows("select id, _version, name from item where _valid_to is null order by id") == [
        (1, 4, "a"), (6, 1, "b")
    ]  # fmt: skip
    assert pipe.rows('select count(*) from word where "until %" is null') == [(0,)]
    assert pipe.rows("select count(*) from item") == [(11,)]
    pipe.equal()


def takes_a_large_transaction_for_one(pipe: Pipe) -> None:
    """It comes in several parts, which change the same rows."""
    pipe.run(
        "insert into bulk values (0, 0)", *[f"insert into bulk select id + {1 << n}, 0 from bulk" for n in range(12)],
        "begin", "update bulk set v = 1", "delete from bulk where id < 1500", "update bulk set v = 2 where id < 2900",
        "insert into bulk select id - 1500, 3 from bulk where id < 2000", "update bulk set v = v + 10 where id < 100",
        "insert into bulk select id + 9000, 4 from bulk where id < 100", "delete from bulk where id >= 9050", "commit",
        "update bulk set v = 5 where id = 1",
    )
    comes_up(pipe)
    assert pipe.rows("select count(*), count(distinct id) from bulk where _version = 1") == [(4146, 4146)]
    assert pipe.rows("select _version, v, count(*), count(distinct _valid_from) from bulk where _valid_to is null "
                     "group by 1, 2 order by 1, 2") == [
        (1, 4, 50, 1), (2, 1, 1196, 1), (2, 2, 1400, 1), (2, 3, 400, 1), (2, 13, 99, 1), (3, 5, 1, 1),
    ]  # fmt: skip
    assert pipe.rows("select count(*), count(distinct id) from bulk where _valid_to is not null") == [(4097, 4096)]
    assert pipe.rows("select count(distinct _valid_to) from bulk where _version = 1 and _valid_to is not null") == [
        (1,)
    ]
    pipe.equal()


def makes_each_version_once(pipe: Pipe, stack: StackSettings) -> None:
    """Through kills of the consumer, restarts of the connector, and a stretch of the log that is sent twice."""
    name = pipe.status()["config"]["connector_name"]
    url = f"{stack.connect_url}/connectors/{name}"

    def change(cursor: pymysql.cursors.Cursor, step: int) -> None:
        cursor.execute("update item set name = %s where id = 1", (f"n{step}",))
        cursor.execute("replace into word values ('counted', %s)", (step,))
        cursor.execute("replace into bulk values (%s, %s)", (5000 + step % 7, step))
        if step % 9 == 8:
            cursor.execute("delete from word where w = 'counted'")

    earlier = requests.get(f"{url}/offsets", timeout=30).json()
    for entry in earlier["offsets"]:  # to a transaction's begin, not to a row in it
        entry["offset"] = {k: v for k, v in entry["offset"].items() if k in ("file", "pos", "gtids", "server_id")}
    with writing(pipe, change) as written:
        for number in range(3):
            seen = written[0]
            wait_until(lambda seen=seen: written[0] > seen + 40, "the writer")
            os.kill(pipe.consumer().pid, signal.SIGKILL)
            if number == 1:
                requests.post(f"{url}/restart?includeTasks=true", timeout=90)
    count = written[0]
    each = "select array_agg(name order by _version) from item where id = 1 and name ~ '^n[0-9]+$'"
    comes_up(pipe)
    assert pipe.rows(each) == [([f"n{n}" for n in range(count)],)]
    assert pipe.rows("select array_agg(n order by nr) from word where w = 'counted'") == [
        ([n for n in range(count) if n % 9 != 8],)
    ]
    assert pipe.rows("select array_agg(v order by v) from bulk where id >= 5000 and id < 6000") == [
        (list(range(count)),)
    ]
    pipe.equal()

    before = everything(pipe)
    requests.put(f"{url}/stop", timeout=90).raise_for_status()
    wait_until(lambda: not requests.get(f"{url}/status", timeout=30).json()["tasks"], "the connector to be stopped")
    wait_until(lambda: requests.patch(f"{url}/offsets", json=earlier, timeout=90).ok, "the offset")
    requests.put(f"{url}/resume", timeout=90).raise_for_status()
    comes_up(pipe)
    assert everything(pipe) == before, "a stretch that came again changed something"
    pipe.equal()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"visit": {"history": True}}, "shape.visit.history needs a key"),
        ({"item": {"history": True, "deletes": "soft"}}, "leave `deletes: soft` out"),
        ({"item": {"history": True, "version_column": "name"}}, "the table has a column name of its own"),
    ],
)
def test_what_can_have_no_history_is_refused_at_configure(pipe: Pipe, shape: dict[str, Any], words: str) -> None:
    pipe.run(SCHEMA[0], "create table visit (page varchar(9))")
    edit(pipe.file, shape=shape)
    refused = pipe.cdc("configure", pipe.file)
    assert refused.code == 2
    assert words in " ".join(refused.stderr.split())


def test_a_history_is_not_put_into_a_table_of_another_pipeline(make_pipe: Callable[..., Pipe]) -> None:
    one, other = make_pipe(), make_pipe(shape={"item": {"history": True}})
    one.run(*SCHEMA)
    one.configure()
    one.start()
    other.configure()
    for command in ("check", "start"):
        refused = other.cdc(command, other.name)
        assert refused.code != 0
        assert one.name in refused.stderr + refused.stdout
    assert len(one.rows("select * from item")[0]) == 4, "the table is as it was"
