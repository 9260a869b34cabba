"""Filtered tables and soft deletes from copy to resync: the target has the rows that were asked for, and verify agrees.

`sale`: a filter, one of whose columns is not replicated, and soft deletes. `word`: a filter, keyed by a text. `visit`:
a filter, no key. `person`: shapes of columns as well. `plain`: all rows as they are.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from tests.e2e.conftest import Pipe, edit, wait_until

SCHEMA = (
    "create table sale (id int primary key, status varchar(10) collate utf8mb4_0900_ai_ci, total decimal(8,2), "
    "archived tinyint(1))",
    "create table word (w varchar(20) primary key, n int)",
    "create table visit (page varchar(20), n int)",
    "create table person (id int primary key, mail varchar(40), state varchar(9), note varchar(9))",
    "create table plain (id int primary key)",
    "insert into sale values (1, 'paid', 10, 0), (2, 'PAID', 10, 0), (3, 'sent', 9.99, 0), (4, 'sent', 20, 1), "
    "(5, 'sent', 20, 0), (6, null, 20, 0), (7, 'paid', 30, 0), (8, 'paid', 40, 0), (9, 'paid', 50, 0)",
    "insert into word values ('in', 1), ('out', -1), ('null', null)",
    "insert into visit values ('a', 1), ('a', 1), ('b', -1)",
    "insert into person values (1, 'a@b.c', 'in', 'long note'), (2, 'd@e.f', 'out', null)",
    "insert into plain values (1)",
)
SHAPE: dict[str, Any] = {
    "sale": {"where": "status in ('paid', 'sent') and total >= 10 and not archived = 1", "deletes": "soft"},
    "word": {"where": "n > 0"},
    "visit": {"where": "n > 0 and page <> 'c'"},
    "person": {
        "columns": {"mail": {"hash": "sha256"}, "note": {"truncate": 4}},
        "add": {"_op": {"from": "operation"}, "origin": {"value": "crm"}},
        "where": "state = 'in' and mail <> 'x@y.z'", "deletes": "soft",
    },
}
TABLES = [{"source": "sale", "columns": ["id", "status", "total"]}, "word", "visit", "person", "plain"]
SALES = "select id, status, total::text, _deleted_at is null from sale order by id"


def live(pipe: Pipe, *ids: int) -> None:
    """Wait until these are the live rows of `sale`."""
    pipe.arrives("select id from sale where _deleted_at is null order by id", [(n,) for n in ids])


def test_rows_are_filtered_and_kept_by_copy_stream_verify_and_repair(make_pipe: Callable[..., Pipe]) -> None:
    pipe = make_pipe(tables=TABLES, shape=SHAPE)
    pipe.run(*SCHEMA)
    pipe.configure()
    pipe.start()
    assert [r[0] for r in pipe.rows(SALES)] == [1, 5, 7, 8, 9]
    assert pipe.rows("select w from word") == [("in",)]
    assert pipe.rows("select count(*) from visit") == [(2,)]
    assert {t["table"]: t["rows_source"] for t in pipe.equal()["tables"]} == {
        "sale": 5, "word": 1, "visit": 2, "person": 1, "plain": 1
    }

    follows_changes(pipe)
    shapes_columns_of_such_rows(pipe)
    finds_and_mends_differences(pipe)
    takes_another_filter(pipe)
    loses_a_column_of_the_filter(pipe)


def follows_changes(pipe: Pipe) -> None:
    pipe.run(
        "insert into sale values (10, 'paid', 10, 0), (11, 'new', 10, 0), (12, 'paid', 10, 0)",
        "update sale set total = 11 where id in (1, 11)",  # stays in, stays out
        "update sale set status = 'paid' where id = 2",  # enters: the same text to the collation, not to us
        "update sale set archived = 1 where id = 5",  # leaves, by a column that the target does not have
        "update sale set id = 70 where id = 7",  # another key
        "update sale set id = 60, status = 'new' where id = 10",  # another key, and out
        "delete from sale where id in (3, 8, 12)",
        "begin", "delete from sale where id = 9", "insert into sale values (9, 'sent', 99, 0)", "commit",
        "update word set n = -n where n is not null", "insert into word values ('new', 5)",
        "update visit set n = -n", "insert into visit values ('c', 1), ('d', 2)",
        "delete from visit where page = 'a' limit 1", "insert into plain values (2)",
    )
    pipe.arrives("select id from plain order by id", [(1,), (2,)])
    assert pipe.rows(SALES) == [
        (1, "paid", "11.00", True), (2, "paid", "10.00", True), (5, "sent", "20.00", False),
        (7, "paid", "30.00", False), (8, "paid", "40.00", False), (9, "sent", "99.00", True),
        (10, "paid", "10.00", False), (12, "paid", "10.00", False), (70, "paid", "30.00", True),
    ]  # fmt: skip
    assert pipe.rows("select w, n from word order by w") == [("new", 5), ("out", 1)]
    assert pipe.rows("select page, n from visit order by page") == [("b", 1), ("d", 2)]
    (age,) = pipe.rows("select max(abs(extract(epoch from now() - _deleted_at))) < 300 from sale")
    assert age == (True,), "the time of the delete is the source's"
    pipe.equal()

    pipe.run("insert into sale values (8, 'sent', 41, 0)", "truncate table sale")
    live(pipe)
    pipe.equal()
    pipe.run("insert into sale values (1, 'paid', 12, 0), (20, 'paid', 10, 0), (21, 'sent', 10, 0), (22, 'x', 10, 0)")
    live(pipe, 1, 20, 21)
    assert pipe.rows("select count(*) from sale") == [(11,)]
    pipe.equal()


def shapes_columns_of_such_rows(pipe: Pipe) -> None:
    """The filter asks the source's values, and a deleted row keeps its shape."""
    pipe.run(
        "insert into person values (3, 'x@y.z', 'in', 'no'), (4, 'g@h.i', 'in', 'deleted')",
        "update person set state = 'in', note = 'entered' where id = 2", "delete from person where id = 4",
        "update person set state = 'gone' where id = 1",
    )
    shown = "select id, mail, note, _op, origin, _deleted_at is null from person order by id"
    hashed = [sha256(mail.encode()).hexdigest() for mail in ("a@b.c", "d@e.f", "g@h.i")]
    pipe.arrives(shown, [
        (1, hashed[0], "long", "d", "crm", False), (2, hashed[1], "ente", "c", "crm", True),
        (4, hashed[2], "dele", "d", "crm", False),
    ])  # fmt: skip
    pipe.target.execute("update person set note = 'x' where id = 2")
    assert pipe.cdc("verify", pipe.name, "--table", "person").code == 3
    assert pipe.cdc("verify", pipe.name, "--table", "person", "--repair").code == 0
    pipe.ok("resync", "--table", "person")
    assert [(id_, mail, note, live) for id_, mail, note, _, _, live in pipe.rows(shown)] == [
        (1, hashed[0], "long", False), (2, hashed[1], "ente", True), (4, hashed[2], "dele", False),
    ]  # fmt: skip


def finds_and_mends_differences(pipe: Pipe) -> None:
    before = pipe.rows("select id, _deleted_at from sale where _deleted_at is not null and id <> 7 order by id")
    pipe.target.execute("update sale set total = 13 where id = 1")
    pipe.target.execute("update sale set _deleted_at = now() where id = 20")
    pipe.target.execute("update sale set _deleted_at = null where id = 7")
    pipe.target.execute("delete from sale where id = 21")
    pipe.target.execute("insert into sale values (99, 'paid', 10)")
    pipe.target.execute("insert into word values ('extra', 1)")
    found = pipe.cdc("verify", pipe.name, "--json")
    assert found.code == 3
    assert {t["table"]: t["difference_count"] for t in found.json["tables"] if t["difference_count"]} == {
        "sale": 5, "word": 1
    }
    mended = pipe.cdc("verify", pipe.name, "--repair", "--json")
    assert mended.code == 0, mended.stderr
    live(pipe, 1, 20, 21)
    assert pipe.rows("select total from sale where id in (1, 20)") == [(12,), (10,)]
    assert pipe.rows("select id from sale where id in (7, 99) and _deleted_at is not null order by id") == [(7,), (99,)]
    kept = pipe.rows(
        "select id, _deleted_at from sale where _deleted_at is not null and id not in (7, 99) order by id"
    )
    assert kept == before, "repair left the other deleted rows alone"
    pipe.equal()


def takes_another_filter(pipe: Pipe) -> None:
    edit(pipe.file, shape=SHAPE | {
        "sale": {"where": "total >= 11 and archived = 0", "deletes": "soft"},
        "word": {"where": "n > 1", "deletes": "soft", "deleted_column": "gone"},
    })
    plan = pipe.cdc("configure", pipe.file, "--plan", "--json").json
    assert [change.split(":")[0] for change in plan["changes"]] == ["table sale has another shape",
                                                                    "table word has another shape"]
    assert all("at the next start, beside the stream" in change for change in plan["changes"])
    pipe.run("insert into sale values (25, 'any', 11, 0)")
    before = pipe.rows("select id, total, _deleted_at from sale where _deleted_at is not null order by id")
    pipe.configure()
    assert set(pipe.start()["tables"]) >= {"sale", "word"}
    live(pipe, 1, 25)
    assert pipe.rows("select count(*) from sale where _deleted_at is not null and id in (20, 21)") == [(2,)]
    kept = "select id, total, _deleted_at from sale where _deleted_at is not null and id not in (20, 21) order by id"
    assert pipe.rows(kept) == before
    assert pipe.rows("select w, gone is null from word") == [("new", True)]
    pipe.run("delete from word where w = 'new'")
    pipe.arrives("select w, gone is null from word", [("new", False)])
    pipe.equal()


def loses_a_column_of_the_filter(pipe: Pipe) -> None:
    pipe.run("alter table word change n amount int", "insert into plain values (3)")
    pipe.arrives("select count(*) from plain", [(3,)])
    apart = wait_until(
        lambda: pipe.rows("select reason from _cdc.mapped_table where table_name = 'word' and state = 'detached'"),
        "the table to stand apart",
    )
    assert "amount for n, which shape.word.where asks" in apart[0][0]
