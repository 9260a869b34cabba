"""One table at a time: copied again, taken in, left out, while the other tables stream and readers read."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pymysql
import pytest

from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import CommandResult
from tests.e2e.conftest import Pipe, edit, processes_of, wait_until
from tests.e2e.writing import writing

SCHEMA = (
    "create table account (id int primary key, balance int not null)",
    "create table clock (id int primary key, at bigint not null)",
    "create table word (w varchar(30) collate utf8mb4_0900_ai_ci primary key, n int)",
    "create table visit (page varchar(20), n int)",
    "create table late (id int primary key, v varchar(20))",
    "insert into account with recursive n(i) as (select 1 union all select i + 1 from n where i < 900) "
    "select i, 100 from n",
    "insert into account select id + 1000, balance from account",
    "insert into clock values (1, 0)",
    "insert into word select concat('Wort ', id), id from account",
    "insert into visit select concat('p', id % 5), id from account",
    "insert into late select id, concat('v', id) from account",
)


def change_every_table(cursor: pymysql.cursors.Cursor, step: int) -> None:
    one, other = 1 + step % 900, 1001 + step % 800
    cursor.execute("update account set balance = balance - 1 where id = %s", (one,))
    cursor.execute("update account set balance = balance + 1 where id = %s", (other,))
    cursor.execute("update clock set at = %s", (time.time_ns(),))
    cursor.execute("insert into visit values ('new', %s)", (step,))
    cursor.execute("delete from visit where page = 'new' and n = %s", (step - 3,))
    cursor.execute("update word set n = n + 1 where w = %s", (f"Wort {one}",))
    cursor.execute("update late set v = %s where id = %s", (f"w{step}", one))


def more(written: list[int]) -> None:
    """Wait until the writer has written more."""
    seen = written[0]
    wait_until(lambda: written[0] > seen + 20, "the writer")


class Reading:
    """Looks at the target all the time: what it saw of a table's rows, and how old the clock's row became."""

    def __init__(self, pipe: Pipe, query: str) -> None:
        self.seen: set[Any] = set()
        self.ages_s: list[float] = []
        self._query = query
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._dsn = pipe.target.info.dsn + f" password={pipe.target.info.password}"
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> "Reading":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert not self._failed, self._failed

    def _read(self) -> None:
        try:
            with psycopg.connect(self._dsn, autocommit=True) as conn:
                while not self._stop.is_set():
                    with suppress(psycopg.errors.UndefinedTable):
                        self.seen.add(conn.execute(self._query).fetchone())  # type: ignore[arg-type]
                    row = conn.execute("select at from clock").fetchone()
                    if row and row[0]:
                        self.ages_s.append((time.time_ns() - row[0]) / 1e9)
                    time.sleep(0.03)
        except BaseException as error:  # noqa: BLE001
            self._failed.append(error)


def age_s(pipe: Pipe) -> float:
    """How old the newest change is that the target has, of a table that changes all the time."""
    [(at,)] = pipe.rows("select at from clock")
    time.sleep(0.2)
    return (time.time_ns() - at) / 1e9 - 0.2


@pytest.fixture
def running(
    request: pytest.FixtureRequest, cdc: Callable[..., CommandResult], cdc_home: Path, target: psycopg.Connection,
    pipeline_file: Callable[..., Path], target_database: str, stack: StackSettings,
) -> Iterator[Pipe]:
    """A running pipeline of four of the five tables, which looks for changes as often as a user's does."""
    flavor = getattr(request, "param", "mysql")
    database, connection = (request.getfixturevalue(name) for name in (f"{flavor}_database", flavor))
    file = pipeline_file(
        database, target_database, source_type=flavor, tables=["account", "clock", "word", "visit"],
        connect={"url": stack.connect_url},
    )
    pipe = Pipe(file.stem, file, cdc, cdc_home, connection, target)
    pipe.run(*(s.replace("utf8mb4_0900_ai_ci", "utf8mb4_general_ci") for s in SCHEMA))
    pipe.configure()
    pipe.start()
    yield pipe
    cdc("teardown", pipe.name, "--yes")
    for process in processes_of(cdc_home):
        process.kill()


def test_tables_are_copied_again_while_all_streams_and_everybody_reads(running: Pipe) -> None:
    """Swapped or, where a view hangs on it, merged; by integer, by text, and without a key."""
    pipe, target = running, running.target
    with writing(pipe, change_every_table) as written:
        wait_until(lambda: written[0] > 20, "the writer")
        pipe.arrives("select count(*) from visit where page <> 'new'", [(1800,)])
        # What was written while the pipeline came up is no matter of lanes.
        wait_until(lambda: age_s(pipe) < 0.3 and age_s(pipe) < 0.3, "the stream to have caught up", 120)
        target.execute("create index account_balance on account (balance) where balance > 0")
        target.execute("comment on table account is 'what they have'")
        target.execute("grant select on account to public")
        target.execute("create view words as select * from word")
        target.execute("delete from account where id < 50")

        target.execute("insert into account values (500000, 0)")
        target.execute("delete from word where n % 7 = 0")
        target.execute("delete from visit where page = 'p1'")
        # On a busy machine changes are late without being held. A lane that holds them does so each time.
        for left in (2, 1, 0):
            with Reading(pipe, "select count(*) > 1700 and count(*) < 1900, (select count(*) > 1500 from word), "
                               "(select count(*) > 1300 from visit) from account") as reading:  # fmt: skip
                outcome = pipe.ok("resync", *(f"--table={t}" for t in ("account", "word", "visit")), "--json").json
            assert [(o["table"], o["how"]) for o in outcome] == [
                ("account", "swapped"), ("word", "merged"), ("visit", "swapped")
            ]
            assert reading.seen == {(True, True, True)}, "a reader met a table that was empty, or half"
            oldest = max(reading.ages_s)
            if oldest < 1:
                break
            assert left, f"the other tables had to wait, for {oldest:.1f} s"
        more(written)
    pipe.equal()
    assert pipe.rows("select sum(balance), count(*) from account") == [(180000, 1800)]
    assert pipe.rows(
        "select obj_description('account'::regclass), has_table_privilege('pg_monitor', 'account', 'select'), "
        "array_agg(indexname order by indexname) from pg_indexes where tablename = 'account' and schemaname = 'public'"
    ) == [("what they have", True, ["account_balance", "account_pkey"])]
    assert pipe.rows("select count(*) from words") == [(1800,)]
    assert pipe.rows("select count(*) from pg_tables where schemaname = '_cdc' and tablename like 'lane\\_%'") == [(0,)]
    pipe.arrives("select count(*) from account", [(1800,)])
    pipe.run("update account set balance = 0 where id = 1")
    pipe.arrives("select balance from account where id = 1", [(0,)])


POINTS = {  # in the order in which a worker comes by
    "planned": "cdc_pipelines.replication.lanes.worker.copy_missing",
    "copied": "cdc_pipelines.replication.lanes.worker.follower",
    "parked, to detach": "cdc_pipelines.replication.verify.request.Request.hold",
    "detached": "cdc_pipelines.replication.lanes.worker.replace",
    "parked, to join": "cdc_pipelines.replication.databases.postgres.state.TargetState.adopt",
}
STRUCK = """
import os, sys
from unittest.mock import patch
from cdc_pipelines.cli import main

point, signal, sys.argv = sys.argv[1], int(sys.argv[2]), ["cdc", *sys.argv[3:]]
from pkgutil import resolve_name
there = resolve_name(point)

def struck(*args, **kwargs):
    os.kill(os.getpid(), signal)
    return there(*args, **kwargs)

with patch(point, struck):
    main()
"""


def struck(pipe: Pipe, point: str, by: int) -> "subprocess.Popen[str]":
    """A worker of the table's lane that gets a signal where it comes to `point`."""
    return subprocess.Popen(
        [sys.executable, "-c", STRUCK, point, str(int(by)), "resync", pipe.name, "--table", "account"],
        env=os.environ | {"CDC_HOME": str(pipe.home)}, stderr=subprocess.PIPE, text=True,
    )


def test_killed_or_frozen_anywhere_it_is_finished_by_the_next(running: Pipe) -> None:
    pipe = running
    phase = "select phase from _cdc.lane where table_name = 'account'"
    with writing(pipe, change_every_table) as written, Reading(pipe, "select count(*) = 1800 from account") as reading:
        wait_until(lambda: written[0] > 20, "the writer")
        for words, point in POINTS.items():
            died = struck(pipe, point, signal.SIGKILL)
            assert died.wait(120) == -signal.SIGKILL, (words, died.communicate()[1])
            seen = written[0]
            wait_until(
                lambda n=seen: (pipe.rows("select max(n) from visit where page = 'new'")[0][0] or 0) > n,
                f"the stream, after a death while {words}",
            )
            if words == "copied":
                pipe.target.execute("update _cdc.lane set beat_at = now() - interval '2 minutes'")
                assert {each["kind"] for each in pipe.status()["problems"]} == {"lane_idle"}
        assert pipe.rows(phase) == [("merged",)]
        pipe.ok("resync", "--table", "account")
        assert pipe.rows("select count(*) from _cdc.lane") == [(0,)]

        # one that is frozen where it was about to replace the table
        frozen = struck(pipe, POINTS["detached"], signal.SIGSTOP)
        try:
            wait_until(lambda: pipe.rows(phase) == [("detached",)], "the lane")
            wait_until(lambda: psutil.Process(frozen.pid).status() == psutil.STATUS_STOPPED, "the frozen worker")
            busy = pipe.cdc("resync", pipe.name, "--table", "account")
            assert (busy.code, "another process works on table account" in busy.stderr) == (1, True)
            pipe.target.execute("update _cdc.lane set beat_at = now() - interval '2 minutes'")
            problems = {each["kind"]: each["next_step"] for each in pipe.status()["problems"]}
            assert "cdc resync" in problems["table_left_behind"]
            pipe.ok("heal")
            assert pipe.rows("select count(*) from _cdc.lane") == [(0,)]
            pipe.run("update account set balance = balance + 1 where id in (1, 2)")
        finally:
            frozen.send_signal(signal.SIGCONT)
        assert frozen.wait(60) == 1, "a worker that was passed over changed something"
        assert reading.seen == {(True,)}
    pipe.equal()
    assert pipe.rows("select name from _cdc.pipeline where name like '%/%'") == []
    assert pipe.rows("select schemaname from pg_tables where tablename = 'account'") == [("public",)]


@pytest.mark.parametrize("running", ["mysql", "mariadb"], indirect=True)
def test_tables_are_taken_in_and_left_out_while_all_streams(running: Pipe) -> None:
    """By commands, and by an edited file; the connector is changed without a loss and without a repetition."""
    pipe = running
    whole_or_not_there = "select (select count(*) from late) in (0, 1800)"
    with writing(pipe, change_every_table) as written, Reading(pipe, whole_or_not_there) as reading:
        wait_until(lambda: written[0] > 20, "the writer")
        outcome = pipe.ok("add-table", "late", "--json").json
        assert (outcome["added"], outcome["rows"], outcome["target"]) == (True, 1800, "public.late")
        assert pipe.ok("add-table", "late", "--json").json["added"] is False
        more(written)
        assert max(reading.ages_s) < 30, "a restart of the connector's task takes seconds, not more"
        pipe.equal()
        assert pipe.status()["statistics"]["tables_enabled"] == 5
        assert pipe.ok("remove-table", "word", "--json").json["removed"] is True
        assert pipe.ok("remove-table", "word", "--json").json["removed"] is False
        left = pipe.rows("select sum(n) from word")
        more(written)
        pipe.equal()
        assert pipe.rows("select sum(n) from word") == left, "a table that was left out is still written to"
        edit(pipe.file, tables=[
            "account", "clock", {"source": "word", "target": "words"}, {"source": "late", "columns": ["id"]}
        ])  # fmt: skip
        plan = pipe.cdc("configure", pipe.file, "--plan", "--json").json
        assert [change.split(" (")[0] for change in plan["changes"]] == [
            "table late has other columns or another key", "table visit is left out", "table word is new"
        ]
        pipe.configure()
        done = pipe.start()
        assert {t: done["tables"][t] for t in ("late", "word")} == {"late": 1800, "word": 1800}
        more(written)
    report = pipe.equal()
    assert {t["table"] for t in report["tables"]} == {"account", "clock", "word", "late"}
    assert pipe.rows("select column_name from information_schema.columns where table_name = 'late'") == [("id",)]
    pipe.ok("restart")
    pipe.run("insert into late values (99999, 'after the restart')")
    pipe.arrives("select id from late where id = 99999", [(99999,)])
    pipe.equal()
