"""Disks that are full: of the target's rows, of its log, of the broker. Each is a small file system for a while."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil

from cdc_pipelines.stack import orchestrate
from cdc_pipelines.stack.layout import discover
from cdc_pipelines.stack.postgres import Postgres
from cdc_pipelines.stack.settings import load_env
from tests.chaos.arena import Arena
from tests.chaos.fault import Fault
from tests.chaos.faults_operations import LANES
from tests.conftest import postgres_connection


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


def log_disk_of_target_full(arena: Arena, random: Random) -> None:
    """The target's server panics, and again while it recovers, until there is room: what it had committed stays."""
    with _log_of_target_on_small_disk(arena) as folder:
        _fill_until_it_panics(arena, random, folder)


def log_disk_of_target_full_amid_copy(arena: Arena, random: Random) -> None:
    """The same under a copy of everything, or of one table. The plain command finishes it."""
    table = random.choice((None, random.choice(LANES)))
    first = ["resync", "chaos", "--table", table] if table else ["start", "chaos", "--force-resync"]
    with contextlib.nullcontext() if table else arena.observer.away():
        with _log_of_target_on_small_disk(arena) as folder:
            copying = arena.spawn_cdc(*first)
            try:
                time.sleep(random.uniform(1, 4))
                _fill_until_it_panics(arena, random, folder)
                said = "".join(copying.communicate(timeout=240))
            finally:
                copying.kill()
            arena.say(f"  cdc {' '.join(first)}: exit {copying.returncode}")
            assert "Traceback" not in said, said[-3000:]
            assert copying.returncode == 0 or "Next step" in said, said[-3000:]
        arena.must(*(first if table else ["start", "chaos"]))


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


@contextlib.contextmanager
def _log_of_target_on_small_disk(arena: Arena) -> Iterator[Path]:
    """Of the log's segments only the one that the server begins at comes along: the others would be room enough."""
    log, kept = discover().data("postgres") / "pg_wal", discover().data("pg_wal-kept")
    with _small_disk(96) as folder:
        _stop_target()
        space = folder / "space"
        subprocess.run(
            ["cp", "-a", str(log / _segment_to_begin_at()), str(log / "archive_status"), str(space)], check=True
        )
        log.rename(kept)
        log.symlink_to(space)
        try:
            arena.up()
            yield folder
        finally:
            _stop_target()
            log.unlink()
            subprocess.run(["cp", "-a", f"{space}/.", str(log)], check=True)
            (log / "filler").unlink(missing_ok=True)
            shutil.rmtree(kept)
            arena.up()


def _stop_target() -> None:
    orchestrate.down(["postgres"], wipe=False, say=lambda line: None)


def _segment_to_begin_at() -> str:
    """Of a server that was shut down in order, all that is in the log's later segments is old."""
    part = Postgres(discover(), load_env())
    program = part.bin / "pg_controldata"
    apart = program.is_relative_to(part.root.path)
    command = part.root.command(str(program.relative_to(part.root.path))) if apart else (str(program),)
    told = subprocess.run(
        [*command, "-D", str(part.data)], env={"LC_ALL": "C"}, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"cluster state: +shut down$", told, re.MULTILINE), told
    found = re.search(r"REDO WAL file: +(\w+)$", told, re.MULTILINE)
    assert found, told
    return found[1]


def _fill_until_it_panics(arena: Arena, random: Random, folder: Path) -> None:
    log = discover().logs("postgres") / "postgres.log"
    before, deadline = log.stat().st_size, time.monotonic() + 90
    _fill(folder)
    while not (panics := re.findall(r"PANIC: .*No space left on device", log.read_bytes()[before:].decode())):
        assert time.monotonic() < deadline, "what is written does not fill the target's log"
        with arena.source() as connection, connection.cursor() as cursor:
            cursor.execute(
                "insert into composite with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) "
                f"select 96, concat({random.randint(1, 10**9)}, '-', i), i from n"
            )
        arena.observer.passed(arena.beats.last, 5)
    arena.say(f"  {panics[0]}")
    time.sleep(random.uniform(1, 12))
    (folder / "filler").unlink()
    arena.up()
    with arena.source() as connection, connection.cursor() as cursor:
        cursor.execute("delete from composite where a = 96")
    arena.observer.passed(arena.beats.last, 60)


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


DISKS: dict[str, Fault] = {
    "disk of target full": disk_of_target_full,
    "disk of target's log full": log_disk_of_target_full,
    "disk of target's log full amid a copy": log_disk_of_target_full_amid_copy,
    "disk of broker full": disk_of_broker_full,
}
