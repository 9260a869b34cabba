"""`cdc verify --repair`: whatever was changed on the target behind our back is mended, while writers are at work."""

import logging
import time
from collections.abc import Sequence

import pytest
import yaml

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.databases.mysql import snapshot
from cdc_pipelines.replication.databases.mysql.reader import Reader
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.verify import verify
from tests.e2e.conftest import Pipe, edit, wait_until
from tests.e2e.writing import change_all, change_keyed, writing
from tests.plain_compare import plain_compare

SCHEMA = (
    "create table account (id bigint unsigned primary key, note varchar(40), balance int not null, at datetime(6))",
    "create table line (a smallint, b int, note text, primary key (a, b))",
    "create table word (w varchar(30) collate utf8mb4_0900_ai_ci primary key, n int)",
    "create table seat (id int primary key, place int not null, unique key (place))",
    "create table visit (page varchar(20), n int)",
    "insert into account with recursive n(i) as (select 1 union all select i + 1 from n where i < 900) "
    "select i, if(i % 3, concat('note ', i), null), 100, '2024-05-05 05:05:05.123456' from n",
    "insert into account select id + 1000, note, balance, at from account",
    "insert into line select cast(id as signed) % 7 - 3, id, note from account",
    "insert into word select concat('Wort ', id), id from account",
    "insert into seat select id, id from account",
    "insert into visit select concat('p', id % 5), id % 50 from account",
)
KEYS = {"account": ["id"], "line": ["a", "b"], "word": ["w"], "seat": ["id"], "visit": []}
PLANTED = (
    "delete from account where id in (1, 500, 1900)",
    "update account set note = '' where id = 3",  # null on the source
    "update account set note = note || ' ' where id = 4",
    "update account set note = upper(note) where id = 5",
    "update account set at = at + interval '1 microsecond' where id = 6",
    "update account set balance = balance + 1 where id between 100 and 140",
    "insert into account (id, balance) values (0, 1), (18446744073709551615, 1)",
    "delete from line where b % 100 = 0",
    "update line set note = 'other' where b % 170 = 0",
    "insert into line values (-32768, 1, 'x')",
    "update word set w = lower(w) where n % 300 = 0",  # the same key to the source
    "delete from word where n = 77",
    "insert into word values ('niemals', null)",
    "update seat set place = -place where id in (10, 11)",
    "delete from seat where id = 12",
    "insert into seat values (-1, 12)",  # in the place of a row that must come back
    "delete from visit where ctid in (select ctid from visit where n = 5 limit 3)",
    "insert into visit values ('p1', 5), ('nowhere', null)",
)
COUNTS = {"account": 49, "line": 18 + 10 + 1, "word": 6 * 2 + 1 + 1, "seat": 4, "visit": 5}


def test_without_a_lock_rows_in_flight_are_no_differences(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    source = yaml.safe_load(pipe.file.read_text())["source"]
    edit(pipe.file, source=source | {"locking": "none"})
    pipe.run(*[statement for statement in SCHEMA if "visit" not in statement])
    pipe.configure()
    pipe.start()
    pipe.target.execute("update account set balance = -1 where id = 700")
    begin = snapshot._start_all

    def begin_later(readers: Sequence[Reader]) -> None:
        time.sleep(0.05)  # the writer commits between the position and the snapshot, each time
        begin(readers)

    monkeypatch.setattr(snapshot, "_start_all", begin_later)
    monkeypatch.setenv("CDC_HOME", str(pipe.home))
    with Runtime.open(pipe.name, ControlStore.open()) as rt, writing(pipe, change_keyed) as written:
        wait_until(lambda: written[0] > 50, "the writer to be at work")
        for _ in range(3):
            report = verify(rt, logging.getLogger("test"))
            differing = {table.table: table.differences for table in report.tables if not table.equal}
            assert {name: [d.key for d in found] for name, found in differing.items()} == {"account": [{"id": 700}]}


def test_what_was_changed_on_the_target_is_mended_under_load(pipe: Pipe) -> None:
    pipe.run(*SCHEMA)
    pipe.configure()
    pipe.start()
    for statement in PLANTED:
        pipe.target.execute(statement)
    with writing(pipe, change_all) as written:
        wait_until(lambda: written[0] > 50, "the writer to be at work")
        found = pipe.cdc("verify", pipe.name, "--json", "--max-keys", "1000")
        assert found.code == 3, found.stderr
        assert pipe.rows("select n from word where w = 'niemals'") == [(None,)], "without --repair nothing is changed"
        before = written[0]
        status = pipe.status()
        assert {each["kind"] for each in status["problems"]} == {"differences"}
        assert status["overall"] == "degraded"
        assert f"cdc verify {pipe.name} --table seat --repair" in " ".join(status["errors"])

        done = pipe.cdc("verify", pipe.name, "--repair", "--json")

        assert done.code == 0, done.stdout + done.stderr + pipe.log_tail()
        wait_until(lambda: written[0] > before + 50, "the writer to go on")
    report = {table["table"]: table for table in done.json["tables"]}
    for table, expected in COUNTS.items():
        repaired = report[table]["repaired"]
        assert repaired["rows_removed"] > 0, table
        assert repaired["rows_written"] > 0, table
        if table in ("line", "seat", "visit"):  # the writer mends some of the others by itself
            assert repaired["differences"] <= expected, table
    seats = report["seat"]["repaired"]
    assert seats["differences"] == COUNTS["seat"] == len(seats["listed"])
    before_it = next(table for table in found.json["tables"] if table["table"] == "seat")
    assert seats["listed"] == before_it["differences"], "the repair says other rows than were found to differ"
    visits = report["visit"]["repaired"]
    assert [visits[name] for name in ("differences", "rows_removed", "rows_written")] == [5, 35, 36]
    pipe.equal()
    for table, key in KEYS.items():
        assert plain_compare(pipe.mysql, pipe.target, table, table, key).equal, table
    verified = {t["table"]: t["verified"] for t in pipe.status()["tables"]}
    assert all(v["differences"] == 0 and v["complete"] and v["through"] for v in verified.values())
    assert not pipe.status()["errors"]
