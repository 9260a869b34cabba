"""An application at work on a pipeline's source while a test does something else."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pymysql

from cdc_pipelines.stack.settings import StackSettings, load_env
from tests.conftest import mysql_connection
from tests.e2e.conftest import Pipe

_PAUSE_S = 0.03  # between transactions: two cores are for all tests and servers


@contextmanager
def writing(pipe: Pipe, change: Callable[[pymysql.cursors.Cursor, int], None]) -> Iterator[list[int]]:
    """`change(cursor, step)` as one transaction after the other; the list's one number is how many there were."""
    settings = StackSettings.from_env(load_env())
    access = settings.mysql if pipe.mysql.port == settings.mysql.port else settings.mariadb
    stop, written, failed = threading.Event(), [0], []

    def write() -> None:
        try:
            with mysql_connection(access, pipe.mysql.db.decode()) as connection, connection.cursor() as cursor:
                while not stop.wait(_PAUSE_S):
                    connection.begin()
                    change(cursor, written[0])
                    connection.commit()
                    written[0] += 1
        except BaseException as error:  # noqa: BLE001 (told by the test)
            failed.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        stop.set()
        thread.join()
    assert not failed, failed


def change_keyed(cursor: pymysql.cursors.Cursor, step: int) -> None:
    """Changes of the tables `account`, `line` and `word`, of the same rows again and again."""
    cursor.execute("update account set balance = balance + 1 where id = %s", (100 + step % 41,))
    cursor.execute("update line set note = concat('n', %s) where b = %s", (step, 1 + step % 900))
    cursor.execute("insert into account values (%s, 'new', 1, now(6))", (10_000 + step,))
    cursor.execute("update word set n = n + 10000 where w = %s", (f"Wort {300 + step % 3}",))
    cursor.execute("replace into account values (1900, 'reborn', %s, null)", (step,))


def change_all(cursor: pymysql.cursors.Cursor, step: int) -> None:
    """The same, and of `visit`, which has no key."""
    change_keyed(cursor, step)
    cursor.execute("insert into visit values ('p9', %s)", (step,))
    cursor.execute("delete from visit where page = 'p9' and n = %s", (step - 5,))
