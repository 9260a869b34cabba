"""Versions that were written stay what they are, through repairs, resyncs, schema changes and other settings."""

from tests.e2e.conftest import Pipe, edit, wait_until
from tests.e2e.history_tables import ALL, ITEMS, SHAPE, WORDS, comes_up, everything, started


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
