"""What the pipeline stands on gives way: networks, the control store, the source's log."""

import sqlite3
import time
from random import Random

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.position import log_file_number
from tests.chaos.arena import Arena
from tests.chaos.fault import Fault
from tests.chaos.faults_operations import connector


def _cut(link: str) -> Fault:
    def fault(arena: Arena, random: Random) -> None:
        proxy = getattr(arena, link)
        for _ in range(random.randint(1, 3)):
            proxy.cut()
            time.sleep(random.uniform(0, 5))
            proxy.restore()
            time.sleep(random.uniform(0, 1))

    return fault


def _stall(link: str) -> Fault:
    def fault(arena: Arena, random: Random) -> None:
        proxy = getattr(arena, link)
        proxy.stall()
        time.sleep(random.uniform(2, 15))
        if random.random() < 0.5:
            proxy.cut()  # what was under way is lost
            proxy.restore()
        proxy.resume()

    return fault


def store_locked(arena: Arena, random: Random) -> None:
    store = sqlite3.connect(arena.home / "control.db", timeout=60, isolation_level=None)
    store.execute("begin exclusive")
    time.sleep(random.choice((random.uniform(1, 10), random.uniform(31, 40))))
    store.execute("rollback")
    store.close()


def store_gone(arena: Arena, random: Random) -> None:
    """Moved away, and back: as a disk that is not mounted for a while."""
    store, away = arena.home / "control.db", arena.home / "away.db"
    store.rename(away)
    time.sleep(random.uniform(1, 15))
    away.rename(store)


def binlog_rotated(arena: Arena, random: Random) -> None:
    with arena.source() as connection, connection.cursor() as cursor:
        for _ in range(random.randint(1, 3)):
            cursor.execute("flush binary logs")
            time.sleep(random.uniform(0, 0.5))


def binlog_purged(arena: Arena, random: Random) -> None:
    """Up to what the target has applied and the connector has committed, as a careful administrator does."""
    with arena.source() as connection, connection.cursor() as cursor:
        cursor.execute("flush binary logs")
        cursor.execute("show binary logs")
        newest = cursor.fetchall()[-1][0]
        deadline = time.monotonic() + 60
        while min(_files_read(arena)) < log_file_number(newest):
            assert time.monotonic() < deadline, f"{_files_read(arena)} is not {newest} after 60 s"
            time.sleep(0.3)
        cursor.execute(f"purge binary logs to '{newest}'")


def _files_read(arena: Arena) -> list[int]:
    with arena.target() as target:
        (position,) = target.execute("select position from _cdc.log_offset").fetchone() or ("",)
    offsets = connector(arena, "GET", "/offsets")["offsets"]
    return [log_file_number(MySqlPosition.from_json(position).file)] + [
        log_file_number(entry["offset"]["file"]) for entry in offsets
    ]


ENVIRONMENT: dict[str, Fault] = {
    "source cut off": _cut("source_link"),
    "source stalled": _stall("source_link"),
    "target cut off": _cut("target_link"),
    "target stalled": _stall("target_link"),
    "control store locked": store_locked,
    "control store gone": store_gone,
    "binlog rotated": binlog_rotated,
    "binlog purged": binlog_purged,
}
