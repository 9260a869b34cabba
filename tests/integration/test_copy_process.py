"""A copy as a process: killed at any moment, watched, and within its memory."""

import json
import os
import random
import subprocess
import sys
import time
from typing import Any

from cdc_pipelines.replication.copy.progress import Progress
from tests.conftest import PROJECT
from tests.integration.copy_stage import Copy, expected, megabytes, numbers, shop
from tests.integration.writers import ONLY_MYSQL

__all__ = ["shop"]  # fixtures


def start_worker(shop: Copy) -> "subprocess.Popen[str]":
    facts = {
        "source": shop.server.spec().model_dump(by_alias=True), "target": shop.target.model_dump(by_alias=True),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.copy_worker", json.dumps(facts)],
        cwd=PROJECT, env=dict(os.environ), stdout=subprocess.PIPE, text=True,
    )


def test_killed_at_any_moment_the_same_again_ends_at_the_same_data(shop: Copy) -> None:
    numbers(shop.server, "a", 40_000)
    numbers(shop.server, "b", 3_000, key="id varchar(20) primary key", value="t")
    shop.server.run("create table loose as select * from b limit 2000")
    planned = shop.begin(chunk_bytes=60_000)
    chance = random.Random(7)
    killed_in_mid = 0
    for _ in range(8):
        worker = start_worker(shop)
        assert worker.stdout is not None
        for _ in range(chance.randint(1, 4)):  # after the snapshot is open, or some chunks
            if not worker.stdout.readline():
                break
        time.sleep(chance.random() * 0.15)
        worker.kill()
        worker.wait()
        worker.stdout.close()
        done = sum(c.done for c in shop.chunks())
        killed_in_mid += done < len(planned)
        # Nothing but whole chunks, at any time.
        for table in ("a", "b", "loose"):
            wait_for_backends(shop)
            assert shop.count(table) == sum(c.rows for c in shop.chunks(table) if c.done)
        if done == len(planned):
            break
    assert killed_in_mid >= 2
    worker = start_worker(shop)
    assert worker.wait(120) == 0
    assert worker.stdout is not None
    worker.stdout.close()
    assert all(c.done for c in shop.chunks())
    assert shop.target_rows("a") == expected(40_000)
    assert shop.target_rows("b") == expected(3_000, "t")
    assert len(shop.target_rows("loose")) == 2000
    for table in ("b", "loose"):
        assert len({c.position for c in shop.chunks(table)}) == 1


def wait_for_backends(shop: Copy) -> None:
    """A killed client's backend needs a moment to notice."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        row = shop.conn.execute(
            "select count(*) from pg_stat_activity where application_name = 'cdc:shop:copy'"
        ).fetchone()
        shop.conn.commit()
        if row == (0,):
            return
        time.sleep(0.02)
    raise AssertionError("the killed worker's session on the target did not end")


def grown_mib(shop: Copy) -> float:
    """Let a process of its own copy what is planned; by how many MiB it grew meanwhile."""
    worker = start_worker(shop)
    assert worker.stdout is not None
    output = worker.stdout.read().split("\n")
    worker.stdout.close()
    assert worker.wait() == 0
    before, after = (int(line.split()[1]) for line in output if line.startswith(("open", "end")))
    return (after - before) / 1024


@ONLY_MYSQL
def test_memory_does_not_grow_with_the_table(shop: Copy) -> None:
    """One chunk of about 200 MB in a process of its own: the rows pass through, they do not pile up."""
    megabytes(shop.server, 205)
    [chunk] = shop.begin(chunk_bytes=1 << 30)
    grown = grown_mib(shop)
    assert shop.chunks()[0].bytes > 190 << 20
    assert shop.count("a") == 256_000
    assert grown < 60
    assert chunk.ordinal == 0


@ONLY_MYSQL
def test_memory_does_not_grow_with_large_values(shop: Copy) -> None:
    """Rows of 4 MiB, and twice that as COPY text: not thousands of them at once."""
    shop.server.run("create table a (id int primary key, v mediumblob)")
    with shop.server.admin() as connection, connection.cursor() as cursor:
        for n in range(60):
            cursor.execute("insert into a values (%s, repeat(%s, 4 << 20))", (n, "y"))
    shop.begin(chunk_bytes=1 << 40)
    grown = grown_mib(shop)
    assert shop.chunks()[0].bytes > 480 << 20
    assert shop.count("a") == 60
    assert grown < 150


@ONLY_MYSQL
def test_progress_can_be_watched_while_rows_move(shop: Copy) -> None:
    numbers(shop.server, "a", 20_000)
    chunks = shop.begin(chunk_bytes=100_000)
    progress = Progress()
    progress.plan(chunks)
    seen: list[dict[str, Any]] = []
    with shop.snapshot() as snapshot:
        shop.copy(snapshot, progress=progress, on_chunk=lambda c: seen.append(progress.snapshot()))
    assert [s["chunks_done"] for s in seen] == list(range(1, len(chunks) + 1))
    assert seen[0]["rows"] < seen[-1]["rows"] == 20_000
    assert seen[-2]["eta_seconds"] > 0
    assert f"{len(chunks)}/{len(chunks)} chunks, 20,000 of about 20,000 rows (100 %)" in str(progress)
