"""Seeded writers on the source: money that only moves, a counter that only grows, and everything else that is nasty."""

import threading
import time
from collections.abc import Callable
from random import Random

import pymysql

ACCOUNTS, BALANCE, BULK = 60, 1000, 60_000

SCHEMA = (
    "create table account (id int primary key, balance int not null)",
    "create table purse (id bigint unsigned primary key, balance int not null, note varchar(60))",
    "create table audit (n bigint not null, writer int not null)",
    "create table composite (a int, b varchar(20) collate utf8mb4_bin, v int, primary key (a, b))",
    "create table swap (id int primary key, seat int not null, unique key (seat))",
    "create table moving (id bigint unsigned primary key, v varchar(40))",
    "create table scratch (id int primary key, v int)",
    "create table named (name varchar(40) primary key, v int)",
    "create table parent (id int primary key, v int)",
    "create table child (id int primary key auto_increment, parent_id int not null, v text, "
    "foreign key (parent_id) references parent (id))",
    "create table beat (id int primary key, n bigint not null)",
    "create table bulk (id int primary key, pad varchar(200), v int)",
    f"insert into account with recursive n(i) as (select 1 union all select i + 1 from n where i < {ACCOUNTS}) "
    f"select i, {BALANCE} from n",
    f"insert into purse select id, {BALANCE}, 'start' from account",
    "insert into swap select id, id from account",
    "insert into moving select id, 'start' from account",
    "insert into parent select id, 0 from account",
    "insert into beat values (1, 0)",
    # Large enough that a copy lasts, for who wants to kill it.
    f"insert into bulk with recursive n(i) as (select 1 union all select i + 1 from n where i < {BULK}) "
    "select i, repeat(char(65 + i % 26), 150), 0 from n",
    "analyze table bulk",  # chunks are cut by what the source knows of its size
)
TABLES = {
    "account": ["id"], "purse": ["id"], "audit": [], "composite": ["a", "b"], "swap": ["id"], "moving": ["id"],
    "scratch": ["id"], "named": ["name"], "parent": ["id"], "child": ["id"], "beat": ["id"],
    "bulk": ["id"],
}  # fmt: skip
SUM = 2 * ACCOUNTS * BALANCE
BANK = "select (select sum(balance) from account) + (select sum(balance) from purse)"


class Writer(threading.Thread):
    """One connection that commits one random transaction after the other; the source may vanish at any time."""

    def __init__(
        self, number: int, seed: int, connect: Callable[[], pymysql.Connection], *, pause_s: float,
        ahead: Callable[[], bool] = lambda: False,
    ) -> None:
        """While `ahead()`, the target is too far behind for more to make a difference: it only would take longer."""
        super().__init__(name=f"writer-{number}", daemon=True)
        self.number, self.random, self._connect, self._pause_s = number, Random(f"{seed}/{number}"), connect, pause_s
        self._ahead = ahead
        self.commits = self.counter = 0
        self.error: BaseException | None = None
        self.idle, self.going = threading.Event(), threading.Event()
        self.going.set()
        self._stop_event = threading.Event()
        self._fresh = number * 10_000_000 + 1000  # keys that no other writer makes

    def stop(self) -> None:
        self._stop_event.set()
        self.going.set()

    def pause(self) -> None:
        """Returns when no transaction of this writer is under way."""
        self.idle.clear()
        self.going.clear()
        while not self.idle.wait(0.5) and self.is_alive():
            pass

    def run(self) -> None:
        connection: pymysql.Connection | None = None
        kinds = [self.transfer, self.transfer, self.count, self.many, self.seats, self.move_key, self.reborn,
                 self.rolled_back, self.family, self.emptied, self.names, self.bulk, self.nothing]
        while not self._stop_event.is_set():
            if not self.going.is_set():
                self.idle.set()
                self.going.wait()
                continue
            try:
                connection = connection or self._connect()
                with connection.cursor() as cursor:
                    cursor.execute("begin")
                    self.random.choice(kinds)(cursor)
                    cursor.execute("commit")
                self.commits += 1
            except pymysql.err.MySQLError as error:
                if error.args and error.args[0] in (1205, 1213, 1062):  # lock wait, deadlock, seat taken
                    assert connection is not None
                    try:
                        connection.rollback()
                        continue
                    except pymysql.err.MySQLError:
                        pass
                elif error.args and error.args[0] not in (0, 1053, 2003, 2006, 2013, 1927, 1290):
                    self.error = error
                    return
                connection = None
                time.sleep(0.2)
            except OSError:
                connection = None
                time.sleep(0.2)
            self._stop_event.wait(self.random.expovariate(1 / self._pause_s))
            while self._ahead() and self.going.is_set() and not self._stop_event.wait(0.2):
                pass

    # Transactions

    def transfer(self, cursor: pymysql.cursors.Cursor) -> None:
        """Between the two tables, in some rows each: the sum of both never changes."""
        for _ in range(self.random.randint(1, 6)):
            amount = self.random.randint(1, 50)
            source, target = (self.random.sample(("account", "purse"), 2))
            cursor.execute(f"update {source} set balance = balance - {amount} where id = {self._account()}")
            if self.random.random() < 0.2:
                cursor.execute("savepoint here")
                cursor.execute(f"update {target} set balance = balance + 7777 where id = {self._account()}")
                cursor.execute("rollback to here")
            cursor.execute(f"update {target} set balance = balance + {amount} where id = {self._account()}")

    def count(self, cursor: pymysql.cursors.Cursor) -> None:
        for _ in range(self.random.randint(1, 5)):
            self.counter += 1
            cursor.execute(f"insert into audit values ({self.counter}, {self.number})")

    def many(self, cursor: pymysql.cursors.Cursor) -> None:
        """A transaction of up to 50,000 rows, mostly smaller ones."""
        rows = self.random.choice((1, 3, 20, 50, 50, 200, 200, 1000, 1000, 3000))
        if self.random.random() < 0.008:
            rows = 50_000
        self._fresh += rows
        cursor.execute(
            f"insert into composite with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows}) "
            f"select {self.number}, concat({self._fresh}, '-', i), i from n"
        )
        cursor.execute(f"delete from composite where a = {self.number} and v > 300 limit 60000")
        cursor.execute(f"update composite set v = v + 1 where a = {self.number} limit 500")

    def seats(self, cursor: pymysql.cursors.Cursor) -> None:
        """Two rows change their unique values."""
        one, two = self.random.sample(range(1, ACCOUNTS + 1), 2)
        cursor.execute(f"select id, seat from swap where id in ({one}, {two}) order by id for update")
        (a, seat_a), (b, seat_b) = cursor.fetchall()
        free = -(self.number * 1000 + 1)
        cursor.execute(f"update swap set seat = {free} where id = {a}")
        cursor.execute(f"update swap set seat = {seat_a} where id = {b}")
        cursor.execute(f"update swap set seat = {seat_b} where id = {a}")

    def move_key(self, cursor: pymysql.cursors.Cursor) -> None:
        self._fresh += 1
        cursor.execute(f"update moving set id = {2**63 + self._fresh}, v = 'moved' where id = {self._account()}")
        cursor.execute(f"insert ignore into moving values ({self._account()}, 'again {self._fresh}')")

    def reborn(self, cursor: pymysql.cursors.Cursor) -> None:
        """The same key deleted and inserted again, in one transaction."""
        key = self._account()
        cursor.execute(f"delete from moving where id = {key}")
        cursor.execute(f"insert into moving values ({key}, 'reborn {self._fresh}')")
        if self.random.random() < 0.5:
            cursor.execute(f"delete from moving where id = {key}")

    def rolled_back(self, cursor: pymysql.cursors.Cursor) -> None:
        cursor.execute(f"update account set balance = balance + 1000000 where id = {self._account()}")
        cursor.execute(f"insert into audit values (-1, {self.number})")
        cursor.execute("rollback")

    def family(self, cursor: pymysql.cursors.Cursor) -> None:
        key = self._account()
        cursor.execute(f"update parent set v = v + 1 where id = {key}")
        cursor.execute(f"insert into child (parent_id, v) values ({key}, 'tab\\t line\\n back\\\\ 🙂 {self._fresh}')")
        cursor.execute(f"delete from child where parent_id = {self._account()} limit 2")

    def emptied(self, cursor: pymysql.cursors.Cursor) -> None:
        cursor.execute(f"insert ignore into scratch values ({self._account()}, {self._fresh})")
        if self.random.random() < 0.3:
            cursor.execute("truncate table scratch")

    def names(self, cursor: pymysql.cursors.Cursor) -> None:
        """Keys of text, which the source compares otherwise than the target: capitals and accents come and go."""
        key = self._account()
        before, after = (f"{''.join(map(self.random.choice, ('nN', 'aáÁ', 'mM', 'eéE')))} {key}" for _ in range(2))
        cursor.execute(f"insert ignore into named values ('{before}', {self._fresh})")
        cursor.execute(f"update named set name = '{after}', v = v + 1 where name = '{before}'")
        if self.random.random() < 0.2:
            cursor.execute(f"delete from named where name = '{before}'")

    def bulk(self, cursor: pymysql.cursors.Cursor) -> None:
        """All over a table that takes a while to copy."""
        at = self.random.randint(1, BULK)
        cursor.execute(f"update bulk set v = v + 1 where id between {at} and {at + self.random.randint(0, 60)}")

    def nothing(self, cursor: pymysql.cursors.Cursor) -> None:
        """An idle phase."""
        self._stop_event.wait(self.random.random())

    def _account(self) -> int:
        return self.random.randint(1, ACCOUNTS)
