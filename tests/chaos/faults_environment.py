"""What the pipeline stands on gives way: networks, disks, the control store, the source's log."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.position import log_file_number
from cdc_pipelines.stack.layout import discover
from tests.chaos.arena import Arena
from tests.chaos.fault import Fault
from tests.chaos.faults_operations import connector
from tests.conftest import postgres_connection


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


def disk_of_target_full(arena: Arena, random: Random) -> None:
    """A table of the target moves to a small file system, which something else fills up."""
    with _small_disk(256) as folder, postgres_connection(arena.stack.postgres, "chaos", admin=True) as admin:
        admin.execute(f"create tablespace small location '{folder}/space'")  # type: ignore[arg-type]
        try:
            admin.execute("alter table composite set tablespace small")
            _fill(folder)
            with arena.source() as connection, connection.cursor() as cursor:
                cursor.execute(
                    "insert into composite with recursive n(i) as (select 1 union all select i + 1 from n "
                    f"where i < 20000) select 98, concat({random.randint(1, 10**9)}, '-', i), i from n"
                )
            time.sleep(random.uniform(2, 10))
            (folder / "filler").unlink()
            with arena.source() as connection, connection.cursor() as cursor:
                cursor.execute("delete from composite where a = 98")
            arena.observer.passed(arena.beats.last, 60)
        finally:
            admin.execute("alter table composite set tablespace pg_default")
            admin.execute("drop tablespace small")


def disk_of_broker_full(arena: Arena, random: Random) -> None:
    """The broker's data moves to a small file system, which something else fills up: the broker ends by itself."""
    data = discover().data("kafka")
    kept = data.with_name("kafka-kept")
    _kill(arena, "kafka")
    with _small_disk(_megabytes(data) + 80) as folder:
        subprocess.run(["cp", "-a", "--sparse=always", f"{data}/.", str(folder / "space")], check=True)
        data.rename(kept)
        data.symlink_to(folder / "space")
        try:
            arena.up()
            arena.observer.passed(arena.beats.last, 90)
            _fill(folder)
            with arena.source() as connection, connection.cursor() as cursor:
                cursor.execute(
                    "insert into composite with recursive n(i) as (select 1 union all select i + 1 from n "
                    f"where i < 50000) select 97, concat({random.randint(1, 10**9)}, '-', i), i from n"
                )
            broker = arena.part("kafka")
            with contextlib.suppress(psutil.TimeoutExpired):
                if broker is not None:
                    broker.wait(30)
            (folder / "filler").unlink()
        finally:
            _kill(arena, "kafka")
            data.unlink()
            kept.rename(data)
            shutil.rmtree(data)
            shutil.copytree(folder / "space", data, symlinks=True)
            subprocess.run(["chown", "-R", f"{discover().user.uid}:{discover().user.gid}", str(data)], check=True)
    # A worker of Connect 4.3 that lived through it stays busy "ensuring membership in the cluster" for ever.
    _kill(arena, "connect")
    arena.up()
    with arena.source() as connection, connection.cursor() as cursor:
        cursor.execute("delete from composite where a = 97")


def _fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(1 << 12)):
            pass


def _kill(arena: Arena, part: str) -> None:
    process = arena.part(part)
    if process is not None:
        process.kill()
        process.wait(30)


def _megabytes(folder: Path) -> int:
    """What it takes on the disk: indexes are sparse files."""
    return sum(file.stat().st_blocks for file in folder.rglob("*")) * 512 // 2**20


@contextlib.contextmanager
def _small_disk(megabytes: int) -> Iterator[Path]:
    """A tmpfs that the target's server may write to. Needs root."""
    folder = Path(tempfile.mkdtemp(prefix="cdc-small-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        (folder / "space").mkdir()
        for path in (folder, folder / "space"):
            path.chmod(0o700 if path.name == "space" else 0o755)
            os.chown(path, discover().user.uid, discover().user.gid)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


ENVIRONMENT: dict[str, Fault] = {
    "source cut off": _cut("source_link"),
    "source stalled": _stall("source_link"),
    "target cut off": _cut("target_link"),
    "target stalled": _stall("target_link"),
    "disk of target full": disk_of_target_full,
    "disk of broker full": disk_of_broker_full,
    "control store locked": store_locked,
    "control store gone": store_gone,
    "binlog rotated": binlog_rotated,
    "binlog purged": binlog_purged,
}
