"""Tables whose versions are kept, from copy to resync: each change that was committed is one of them, and stays it.

`item`: one of its columns is not replicated. `word`: keyed by a text, names of its own. `person`: a filter, shapes of
columns, added ones. `bulk`: for transactions of many rows. `plain`: all rows as they are.
"""

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
from tests.e2e.writing import writing

SCHEMA = (
    "create table item (id int primary key, name varchar(20) not null, price decimal(8,2), hidden int, "
    "unique key name (name))",
    "create table word (w varchar(20) primary key, n int)",
    "create table person (id int primary key, mail varchar(40), state varchar(9))",
    "create table bulk (id int primary key, v int)",
    "create table plain (id int primary key)",
    "insert into item values (1, 'a', 1, 0), (2, 'b', 2, 0), (3, 'c', 3, 0)",
    "insert into word values ('one', 1), ('two', 2)",
    "insert into person values (1, 'a@b.c', 'in'), (2, 'd@e.f', 'out')",
    "insert into plain values (1)",
)
NAMES = {"valid_from_column": "since", "valid_to_column": "until %", "version_column": "nr"}
SHAPE: dict[str, Any] = {
    "item": {"history": True},
    "word": {"history": True} | NAMES,
    "person": {
        "history": True, "where": "state = 'in'", "columns": {"mail": {"hash": "sha256"}},
        "add": {"_op": {"from": "operation"}, "origin": {"value": "crm"}},
    },
    "bulk": {"history": True},
}
TABLES = [{"source": "item", "columns": ["id", "name", "price"]}, "word", "person", "bulk", "plain"]
ITEMS = "select id, _version, name, price::text, _valid_to is null from item order by id, _version"
WORDS = 'select w, nr, n, "until %" is null from word order by w, nr'
ALL = {
    "item": "select * from item order by id, _version", "word": "select * from word order by w, nr",
    "person": "select * from person order by id, _version", "bulk": "select * from bulk order by id, _version",
}


def started(pipe: Pipe, **sections: Any) -> Pipe:
    """With `sections` of its file changed."""
    edit(pipe.file, tables=TABLES, shape=SHAPE, **sections)
    pipe.run(*SCHEMA)
    pipe.configure()
    pipe.start()
    return pipe


def comes_up(pipe: Pipe) -> None:
    """What was written until now has been applied."""
    pipe.run("insert into plain select max(id) + 1 from plain")
    pipe.arrives("select max(id) from plain", pipe.source_rows("select max(id) from plain"))


def everything(pipe: Pipe) -> dict[str, list[tuple[Any, ...]]]:
    return {table: pipe.rows(query) for table, query in ALL.items()}


# What each change is


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
            wait_until(lambda seen=seen: written[0] > seen + 100, "the writer")
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


# What versions outlive


def test_versions_outlive_resyncs_repairs_and_schema_changes(shared: Pipe) -> None:
    pipe = started(shared, carry={"indexes": True})
    pipe.run("update item set price = 7 where id = 1", "delete from item where id = 2", "update word set n = 5")
    comes_up(pipe)
    pipe.target.execute("grant select on item to public")
    pipe.target.execute("create view open_items as select id, price from item where _valid_to is null")
    assert pipe.rows("select indexdef ~ 'UNIQUE' from pg_indexes where tablename = 'item' and indexdef ~ 'name'") == [
        (False,)
    ]
    finds_and_mends_differences(pipe)
    is_copied_again_beside_the_stream(pipe)
    is_copied_again_as_a_whole(pipe)
    pipe.target.execute("drop view open_items")
    follows_alterations(pipe)
    goes_on_after_a_quarantine(pipe)
    takes_other_names(pipe)
    asks_for_a_new_table_under_another_key(pipe)


def finds_and_mends_differences(pipe: Pipe) -> None:
    before = pipe.rows(ALL["item"])
    pipe.target.execute("update item set price = 8 where id = 1 and _valid_to is null")
    pipe.target.execute("update item set _valid_to = now() where id = 3")
    pipe.target.execute("insert into item values (99, 'z', 1, now(), null, 1)")
    found = pipe.cdc("verify", pipe.name, "--json")
    assert found.code == 3
    assert {t["table"]: t["difference_count"] for t in found.json["tables"] if t["difference_count"]} == {"item": 3}
    mended = pipe.cdc("verify", pipe.name, "--repair", "--json")
    assert mended.code == 0, mended.stderr
    assert pipe.rows(ITEMS) == [
        (1, 1, "a", "1.00", False), (1, 2, "a", "8.00", False), (1, 3, "a", "7.00", True),
        (2, 1, "b", "2.00", False), (3, 1, "c", "3.00", False), (3, 2, "c", "3.00", True), (99, 1, "z", "1.00", False),
    ]  # fmt: skip
    assert pipe.rows(ALL["item"])[0] == before[0]

    pipe.target.execute("update item set _valid_to = _valid_to + interval '1 day' where id = 1 and _version = 1")
    pipe.target.execute("update word set since = '2100-01-01', \"until %\" = '2099-01-01' where w = 'one' and nr = 1")
    found = pipe.cdc("verify", pipe.name, "--repair", "--json")
    assert found.code == 3
    assert {t["table"]: (t["difference_count"], t["malformed"]) for t in found.json["tables"] if not t["equal"]} == {
        "item": (0, 1), "word": (0, 1)
    }
    told = pipe.cdc("verify", pipe.name, "--table", "item")
    assert (told.code, "item: 1 version(s) of its history end before" in told.stdout) == (3, True)
    pipe.target.execute("update item set _valid_to = _valid_to - interval '1 day' where id = 1 and _version = 1")
    pipe.target.execute(
        "update word a set since = b.since, \"until %\" = b.since from word b where a.w = 'one' and a.nr = 1 "
        "and b.w = 'one' and b.nr = 2"
    )
    pipe.equal()


def is_copied_again_beside_the_stream(pipe: Pipe) -> None:
    before = everything(pipe)
    pipe.ok("resync", "--table", "item", "--table", "word")
    assert everything(pipe) == before, "nothing had changed"
    pipe.target.execute("update item set price = 9 where id = 1 and _valid_to is null")
    pipe.target.execute("delete from item where id = 3 and _valid_to is null")
    pipe.target.execute("insert into word values ('strange', 1, now(), null, 1)")
    pipe.ok("resync", "--table", "item", "--table", "word")
    assert pipe.rows(ITEMS)[2:7] == [
        (1, 3, "a", "9.00", False), (1, 4, "a", "7.00", True), (2, 1, "b", "2.00", False), (3, 1, "c", "3.00", False),
        (3, 2, "c", "3.00", True),
    ]  # fmt: skip
    assert pipe.rows(WORDS) == [
        ("one", 1, 1, False), ("one", 2, 5, True), ("strange", 1, 1, False), ("two", 1, 2, False), ("two", 2, 5, True)
    ]  # fmt: skip
    assert pipe.rows("select id from open_items order by id") == [(1,), (3,)]
    pipe.ok("remove-table", "word")
    pipe.run("update word set n = 6 where w = 'one'", "delete from word where w = 'two'")
    pipe.ok("add-table", "word")
    assert pipe.rows(WORDS)[1:] == [
        ("one", 2, 5, False), ("one", 3, 6, True), ("strange", 1, 1, False), ("two", 1, 2, False), ("two", 2, 5, False)
    ]  # fmt: skip
    pipe.equal()


def is_copied_again_as_a_whole(pipe: Pipe) -> None:
    before = everything(pipe)
    pipe.ok("stop")
    pipe.run(
        "update item set price = 12 where id = 1", "insert into item values (4, 'd', 4, 0)",
        "delete from item where id = 3", "delete from word where w = 'one'", "insert into word values ('four', 4)",
    )
    pipe.start("--force-resync")
    assert [row for row in pipe.rows(ITEMS) if row[1] > 1 or row[0] == 4][3:] == [
        (1, 5, "a", "12.00", True), (3, 2, "c", "3.00", False), (4, 1, "d", "4.00", True)
    ]  # fmt: skip
    assert pipe.rows(WORDS)[:1] + pipe.rows(WORDS)[3:4] == [("four", 1, 4, True), ("one", 3, 6, False)]
    after = everything(pipe)
    for table, ends in (("item", 4), ("word", 3)):
        closed = {row for row in before[table] if row[ends] is not None}
        assert closed <= set(after[table]), "closed versions stay as they are"
    assert after["person"] == before["person"]
    pipe.equal()


REMARKS = [(1, "d"), (2, "e"), (3, "longer than nine"), (4, None)]


def follows_alterations(pipe: Pipe) -> None:
    pipe.run(
        "alter table person add column note varchar(9) not null default 'd'", "update person set note = 'e'",
        "alter table person rename column note to remark", "alter table person modify remark varchar(20)",
        "update person set remark = 'longer than nine'", "alter table word rename column w to term",
        "update word set n = 40 where term = 'four'", "alter table person drop column remark",
        "update person set mail = 'k@l.m'",
    )
    comes_up(pipe)
    assert pipe.rows("select _version, _op, _valid_to is null from person where id = 1 order by 1") == [
        (1, "r", False), (2, "u", False), (3, "u", False), (4, "u", True)
    ]  # fmt: skip
    assert pipe.rows('select nr, n, "until %" is null from word where term = \'four\' order by nr') == [
        (1, 4, False), (2, 40, True)
    ]  # fmt: skip
    pipe.run("alter table word rename column term to w")
    pipe.run(  # made again, in another order of columns
        "drop table word", "create table word (n int, w varchar(20) character set utf8mb4 primary key)",
        "insert into word values (1, 'four')",
    )
    pipe.arrives("select nr, n, \"until %\" is null from word where w = 'four' order by nr",
                 [(1, 4, False), (2, 40, False), (3, 1, True)])
    comes_up(pipe)
    pipe.equal()
    assert pipe.rows("select _version, remark from person where id = 1 order by 1") == REMARKS


def goes_on_after_a_quarantine(pipe: Pipe) -> None:
    pipe.target.execute("alter table item add constraint positive check (price > 0)")
    pipe.run("begin", "update item set price = 13 where id = 1", "update item set price = -1 where id = 4", "commit",
             "update item set price = 14 where id = 1")
    comes_up(pipe)
    opened = "select id, _version, price::text from item where _valid_to is null order by id"
    apart = "select state from _cdc.mapped_table where table_name = 'item'"
    assert pipe.rows(apart) == [("detached",)]
    assert pipe.rows(opened) == [(1, 5, "12.00"), (4, 1, "4.00")]
    (letter,) = pipe.cdc("deadletters", "list", pipe.name, "--json").json
    assert (letter["op"], letter["key"]) == ("u", {"id": 4})
    pipe.target.execute("alter table item drop constraint positive")
    released = pipe.cdc("quarantine", "release", pipe.name, "item", timeout=300)
    assert released.code == 0, released.stderr
    wait_until(lambda: pipe.rows(apart) == [("live",)], "the table to be back")
    assert pipe.rows(opened) == [(1, 6, "14.00"), (4, 2, "-1.00")]
    pipe.equal()


def takes_other_names(pipe: Pipe) -> None:
    before = pipe.rows("select w, n, since, \"until %\", nr from word order by w, nr")
    pipe.target.execute("grant select on word to public")
    edit(pipe.file, shape=SHAPE | {"word": {"history": True}, "person": SHAPE["person"] | {"version_column": "nr"}})
    plan = pipe.cdc("configure", pipe.file, "--plan", "--json").json
    assert [change.split(":")[0] for change in plan["changes"]] == [
        "table person has another shape", "table word has another shape"
    ]  # fmt: skip
    pipe.configure()
    pipe.start()
    assert pipe.rows("select w, n, _valid_from, _valid_to, _version from word order by w, _version") == before
    assert pipe.rows("select nr, remark from person where id = 1 order by 1") == REMARKS, "what the source lost stays"
    assert pipe.rows("select relacl::text ~ '=r/' from pg_class where relname = 'word'") == [(True,)], "grants stay"
    pipe.run("delete from word")
    pipe.arrives("select count(*) from word where _valid_to is null", [(0,)])
    pipe.equal()
    pipe.start("--force-resync")
    edit(pipe.file, shape=SHAPE | {"word": {"history": True}})
    pipe.configure()
    pipe.start("--force-resync")
    assert pipe.rows("select _version, remark from person where id = 1 order by 1") == REMARKS, "however often"


def asks_for_a_new_table_under_another_key(pipe: Pipe) -> None:
    pipe.run("insert into bulk values (1, 1)", "alter table bulk drop primary key, add primary key (id, v)")
    comes_up(pipe)
    ((reason,),) = pipe.rows("select reason from _cdc.mapped_table where table_name = 'bulk' and state = 'detached'")
    assert "has another key, by which its history is not kept" in reason
    refused = pipe.cdc("resync", pipe.name, "--table", "bulk")
    assert refused.code == 2
    assert "kept by the key (id), and the table has the key (id, v) now" in " ".join(refused.stderr.split())
    pipe.target.execute("alter table bulk rename to bulk_until_now")
    pipe.ok("resync", "--table", "bulk")
    assert pipe.rows("select id, v, _version from bulk") == [(1, 1, 1)]
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
