"""One table at a time: copied again, taken in, left out, while the other tables stream and readers read."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pymysql
import pytest

from cdc_pipelines.stack.settings import StackSettings, load_env
from tests.conftest import mysql_connection
from tests.e2e.conftest import Pipe, wait_until

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


@contextmanager
def writing(pipe: Pipe) -> Iterator[list[int]]:
    """Changes of every table, without a pause; the list's number is how many transactions there were."""
    stop, written, failed = threading.Event(), [0], []

    def write() -> None:
        access = StackSettings.from_env(load_env()).mysql
        try:
            with mysql_connection(access, pipe.mysql.db.decode()) as connection, connection.cursor() as cursor:
                while not stop.is_set():
                    step = written[0]
                    one, other = 1 + step % 900, 1001 + step % 800
                    connection.begin()
                    cursor.execute("update account set balance = balance - 1 where id = %s", (one,))
                    cursor.execute("update account set balance = balance + 1 where id = %s", (other,))
                    cursor.execute("update clock set at = %s", (time.time_ns(),))
                    cursor.execute("insert into visit values ('new', %s)", (step,))
                    cursor.execute("delete from visit where page = 'new' and n = %s", (step - 3,))
                    cursor.execute("update word set n = n + 1 where w = %s", (f"Wort {one}",))
                    cursor.execute("update late set v = %s where id = %s", (f"w{step}", one))
                    connection.commit()
                    written[0] += 1
                    stop.wait(0.01)
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        stop.set()
        thread.join()
    assert not failed, failed


class Reading:
    """Looks at the target all the time: what it saw of a table's rows, and how old the clock's row became."""

    def __init__(self, pipe: Pipe, query: str) -> None:
        self.seen: set[Any] = set()
        self.oldest_s = 0.0
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
                    self.seen.add(conn.execute(self._query).fetchone())  # type: ignore[arg-type]
                    row = conn.execute("select at from clock").fetchone()
                    if row and row[0]:
                        self.oldest_s = max(self.oldest_s, (time.time_ns() - row[0]) / 1e9)
                    time.sleep(0.01)
        except BaseException as error:  # noqa: BLE001
            self._failed.append(error)


@pytest.fixture
def running(make_pipe: Any, mysql: pymysql.Connection) -> Pipe:
    with mysql.cursor() as cursor:
        for statement in SCHEMA:
            cursor.execute(statement)
    pipe: Pipe = make_pipe(tables=["account", "clock", "word", "visit"])
    pipe.configure()
    pipe.start()
    return pipe


def test_a_table_is_copied_again_while_all_streams_and_everybody_reads(running: Pipe) -> None:
    pipe = running
    with writing(pipe) as written, Reading(pipe, "select count(*), sum(balance) from account") as reading:
        wait_until(lambda: written[0] > 20, "the writer")
        pipe.target.execute("delete from account where id < 50")
        pipe.target.execute("create index account_balance on account (balance)")
        pipe.target.commit()
        reading.oldest_s, t0 = 0.0, time.monotonic()
        outcome = pipe.ok("resync", "--table", "account", "--json").json
        print(outcome, "oldest", reading.oldest_s, time.monotonic() - t0, len(reading.seen), reading.seen)
    pipe.equal()
