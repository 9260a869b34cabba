"""Copying from real servers to a real server: complete, exact, and finished by the same call after any death."""

import json
import math
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.copy.chunk import Chunk
from cdc_pipelines.replication.copy.move import copy_chunks
from cdc_pipelines.replication.copy.plan import plan
from cdc_pipelines.replication.copy.progress import Progress
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.snapshot import Snapshot
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import (
    CdcError,
    ConfigurationError,
    FencedError,
    ResyncRequiredError,
    RetryableError,
)
from cdc_pipelines.replication.pipeline import Target
from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import PROJECT
from tests.integration.conftest import SourceServer

ONLY_MYSQL = pytest.mark.parametrize("server", ["mysql"], indirect=True)


class Copy:
    """One pipeline `shop` from a test's source database to its target database."""

    def __init__(self, server: SourceServer, target: Target) -> None:
        self.server, self.target = server, target
        self.conn = connect(target, purpose="shop:test")
        self.state = TargetState(self.conn, "shop")
        self.tables: dict[str, MappedTable] = {}
        self.epoch = 0
        self.copied: list[Chunk] = []

    def begin(self, *, chunk_bytes: int = 20_000, shards: int = 4, generation: int = 1) -> list[Chunk]:
        """A generation with empty tables and a plan."""
        self.state.ensure_schema()
        self.tables = {t.name: self.server.map(t) for t in self.server.source.tables()}
        self.epoch = self.state.new_generation(generation, self.server.source.identity(), list(self.tables.values()))
        for table in self.tables.values():
            ddl.create_table(self.conn, table)
            ddl.truncate(self.conn, table)
        with self.snapshot() as snapshot:
            chunks = plan(snapshot.sessions[0], list(self.tables.values()), chunk_bytes=chunk_bytes, shards=shards)
        self.state.save_plan(chunks)
        self.conn.commit()
        return chunks

    def snapshot(self, sessions: int = 1) -> Snapshot:
        return self.server.source.open_snapshot(sessions, [t.source for t in self.tables.values()])

    def copy(
        self, snapshot: Snapshot, chunks: Sequence[Chunk] | None = None, *, session: Any = None, **options: Any
    ) -> list[Chunk]:
        """Copy with the first session (or the given one); returns what was copied by this call."""
        copied: list[Chunk] = []
        options.setdefault("on_chunk", copied.append)
        copy_chunks(
            session or snapshot.sessions[0], snapshot.position, self.target, "shop", options.pop("generation", 1),
            options.pop("epoch", self.epoch), self.tables, self.chunks() if chunks is None else chunks, **options,
        )
        return copied

    def chunks(self, table: str | None = None) -> list[Chunk]:
        found = self.state.chunks(table)
        self.conn.commit()
        return found

    def target_rows(self, table: str) -> list[tuple[Any, ...]]:
        rows = self.conn.execute(sql.SQL("select * from {} order by 1, 2").format(sql.Identifier(table))).fetchall()
        self.conn.commit()
        return rows

    def count(self, table: str) -> int:
        found = self.state.count_rows(self.tables[table])
        self.conn.commit()
        return found


@pytest.fixture
def shop(server: SourceServer, stack: StackSettings, target_database: str) -> Iterator[Copy]:
    target = Target(
        type="postgres", host=stack.postgres.host, port=stack.postgres.port, database=target_database,
        user=stack.postgres.user, password="${env:CDC_STACK_POSTGRES_PASSWORD}",
    )
    copy = Copy(server, target)
    yield copy
    copy.conn.close()


def numbers(server: SourceServer, name: str, rows: int, key: str = "id bigint primary key", value: str = "i") -> None:
    """A table with keys 1, 8, 15, … and a text of about 100 bytes."""
    server.run(f"create table {name} ({key}, v varchar(200))")
    with server.admin() as connection, connection.cursor() as cursor:
        for start in range(0, rows, 10_000):
            cursor.executemany(
                f"insert into {name} values (%s, %s)",
                [(key_of(n, value), f"{n}-" + "x" * 90) for n in range(start, min(start + 10_000, rows))],
            )
    server.run(f"analyze table {name}")


def megabytes(server: SourceServer, size: int) -> None:
    """Table `a` without a key, of 1,000 · 2ⁿ rows and at least `size` MB."""
    server.run(
        "create table a (x int, v varchar(1000))",
        "insert into a values " + ",".join(f"({n}, repeat('y', 800))" for n in range(1000)),
        *["insert into a select x, v from a"] * math.ceil(math.log2(size / 0.805)),
        "analyze table a",
    )


def key_of(n: int, kind: str) -> Any:
    return 1 + 7 * n if kind == "i" else f"k{n:07d}"


def expected(rows: int, kind: str = "i") -> list[tuple[Any, str]]:
    return [(key_of(n, kind), f"{n}-" + "x" * 90) for n in range(rows)]


# Complete and exact


def test_all_rows_arrive_with_several_workers(shop: Copy) -> None:
    numbers(shop.server, "a", 5000)
    numbers(shop.server, "b", 300, key="id varchar(20) primary key", value="t")
    shop.server.run("create table nothing (id int primary key, v int)", "create table loose (x int, y varchar(9))",
                    "insert into loose values (1,'a'),(1,'a'),(null,null),(2,'')")
    chunks = shop.begin()
    assert len([c for c in chunks if c.table == "a"]) > 10
    progress = Progress()
    progress.plan(chunks)
    work: queue.Queue[list[Chunk]] = queue.Queue()
    for shard in sorted({c.shard for c in chunks}):
        work.put([c for c in chunks if c.shard == shard])
    copied: list[Chunk] = []
    with shop.snapshot(2) as snapshot:
        def run(number: int) -> None:
            while not work.empty():
                shop.copy(snapshot, work.get(), session=snapshot.sessions[number], on_chunk=copied.append,
                          progress=progress)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        position = snapshot.position.to_json()

    assert shop.target_rows("a") == expected(5000)
    assert shop.target_rows("b") == expected(300, "t")
    assert shop.target_rows("nothing") == []
    assert shop.target_rows("loose") == [(1, "a"), (1, "a"), (2, ""), (None, None)]
    done = shop.chunks()
    assert sorted(copied, key=str) == sorted(done, key=str)
    assert all(c.done and c.position == position and c.copied_at and c.seconds > 0 for c in done)
    assert sum(c.rows for c in done if c.table == "a") == 5000
    facts = progress.snapshot()
    assert (facts["rows"], facts["chunks_done"], facts["eta_seconds"]) == (5304, len(chunks), 0)


def test_running_it_again_changes_nothing(shop: Copy) -> None:
    numbers(shop.server, "a", 1000)
    numbers(shop.server, "b", 1000, key="id varchar(20) primary key", value="t")
    shop.begin()
    with shop.snapshot() as snapshot:
        assert len(shop.copy(snapshot)) == len(shop.chunks())
    before = shop.chunks()
    shop.server.run("update a set v = 'later'", "update b set v = 'later'")
    with shop.snapshot() as snapshot:
        assert shop.copy(snapshot) == []
    assert shop.chunks() == before
    assert shop.target_rows("a") == expected(1000)
    assert shop.target_rows("b") == expected(1000, "t")


def test_a_resumed_copy_reads_the_rest_at_a_later_position(shop: Copy) -> None:
    numbers(shop.server, "a", 2000)
    chunks = shop.begin()
    half = len(chunks) // 2
    with shop.snapshot() as snapshot:
        shop.copy(snapshot, chunks[:half])
    shop.server.run("update a set v = 'later'")
    with shop.snapshot() as snapshot:
        rest = shop.copy(snapshot)
    assert [c.ordinal for c in rest] == [c.ordinal for c in chunks[half:]]
    positions = [MySqlPosition.from_json(c.position or "") for c in shop.chunks()]
    early, late = positions[0], positions[-1]
    assert set(positions[:half]) == {early}
    assert set(positions[half:]) == {late}
    assert late.includes(early)
    assert not early.includes(late)
    border = chunks[half].lower
    assert border is not None
    assert {v == "later" for k, v in shop.target_rows("a") if k < border[0]} == {False}
    assert {v == "later" for k, v in shop.target_rows("a") if k >= border[0]} == {True}


def test_whatever_lies_in_a_planned_range_is_replaced(shop: Copy) -> None:
    numbers(shop.server, "a", 500)
    shop.begin()
    shop.conn.execute("insert into a values (1, 'old'), (2, 'stray'), (999999, 'stray')")
    shop.conn.commit()
    with shop.snapshot() as snapshot:
        shop.copy(snapshot)
    assert shop.target_rows("a") == expected(500)


# One position for tables whose ranges can't be told outside the server


def test_a_table_that_needs_one_position_starts_anew_under_another(shop: Copy) -> None:
    numbers(shop.server, "a", 1000, key="id varchar(20) primary key", value="t")
    chunks = shop.begin()
    first = chunks[: len(chunks) // 2]
    with shop.snapshot() as snapshot:
        shop.copy(snapshot, first)
        assert shop.count("a") > 0
        assert len(shop.copy(snapshot, first)) == 0  # the same position: what is done stays
    shop.server.run("update a set v = 'later'")
    progress = Progress()
    progress.plan(shop.chunks())
    with shop.snapshot() as snapshot:
        again = shop.copy(snapshot, progress=progress)
        position = snapshot.position.to_json()
    assert len(again) == len(chunks)
    assert {c.position for c in shop.chunks()} == {position}
    assert shop.target_rows("a") == [(key_of(n, "t"), "later") for n in range(1000)]
    assert progress.snapshot()["rows"] == 1000


def test_a_table_without_a_key_starts_empty(shop: Copy) -> None:
    """Its reader died before; rows that came from elsewhere can't be told from its own."""
    numbers(shop.server, "a", 1000, key="id varchar(20)", value="t")
    shop.begin()
    with shop.snapshot() as snapshot, pytest.raises(RetryableError):
        shop.copy(snapshot, session=Failing(snapshot.sessions[0]))
    shop.conn.execute("insert into a values ('stray', 'stray')")
    shop.conn.commit()
    shop.server.run("update a set v = 'later'")
    with shop.snapshot() as snapshot:
        [done] = shop.copy(snapshot)
        assert done.position == snapshot.position.to_json()
    assert shop.target_rows("a") == [(key_of(n, "t"), "later") for n in range(1000)]


def test_of_two_readers_of_such_a_table_the_later_one_takes_it(shop: Copy) -> None:
    numbers(shop.server, "a", 1000, key="id varchar(20) primary key", value="t")
    chunks = shop.begin()
    assert len(chunks) > 3
    with shop.snapshot() as early:
        shop.server.run("update a set v = 'later'")
        with shop.snapshot() as late:
            seen: list[Chunk] = []

            def other_reader_comes(chunk: Chunk) -> None:
                seen.append(chunk)
                if len(seen) == 1:
                    shop.copy(late, chunks[:2])

            with pytest.raises(RetryableError, match="another worker reads the table"):
                shop.copy(early, on_chunk=other_reader_comes)
            shop.copy(late)
    assert shop.target_rows("a") == [(key_of(n, "t"), "later") for n in range(1000)]


# Two workers, fences


def test_two_workers_on_the_same_chunks_copy_each_once(shop: Copy) -> None:
    numbers(shop.server, "a", 3000)
    shop.begin()
    copied: list[list[Chunk]] = [[], []]
    failed: list[CdcError] = []
    with shop.snapshot(2) as snapshot:
        def run(number: int) -> None:
            try:
                copied[number] = shop.copy(snapshot, chunks, session=snapshot.sessions[number])
            except CdcError as error:
                failed.append(error)

        chunks = shop.chunks()
        threads = [threading.Thread(target=run, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed
    assert sorted(c.ordinal for worker in copied for c in worker) == [c.ordinal for c in chunks]
    assert shop.target_rows("a") == expected(3000)


def test_a_second_worker_waits_for_the_first_ones_chunk(shop: Copy) -> None:
    numbers(shop.server, "a", 10)
    [chunk] = shop.begin()
    shop.state.lock_chunk("a", 0)
    with shop.snapshot() as snapshot:
        copied: list[Chunk] = []
        thread = threading.Thread(target=lambda: copied.extend(shop.copy(snapshot, [chunk])))
        thread.start()
        time.sleep(0.5)
        assert thread.is_alive()
        shop.conn.rollback()
        thread.join(20)
    assert len(copied) == 1


@ONLY_MYSQL
def test_a_worker_of_an_old_epoch_writes_nothing_more(shop: Copy) -> None:
    numbers(shop.server, "a", 1000)
    shop.begin()
    counted: list[int] = []

    def take_over(_: Chunk) -> None:
        counted.append(shop.count("a"))
        shop.state.raise_epoch()
        shop.conn.commit()

    with shop.snapshot() as snapshot, pytest.raises(FencedError, match="something newer took over"):
        shop.copy(snapshot, on_chunk=take_over)
    assert len(counted) == 1
    assert shop.count("a") == counted[0]
    with shop.snapshot() as snapshot, pytest.raises(FencedError):
        shop.copy(snapshot, epoch=shop.epoch + 1, generation=2)


@ONLY_MYSQL
def test_a_resync_ends_a_worker_in_the_middle_of_a_chunk(shop: Copy) -> None:
    """The old worker's rows are gone with its transaction, and it can't begin another."""
    numbers(shop.server, "a", 20_000)
    shop.begin(chunk_bytes=1 << 30)
    reading = threading.Event()
    caught: list[CdcError] = []

    def work(snapshot: Snapshot) -> None:
        try:
            shop.copy(snapshot, session=Slow(snapshot.sessions[0], reading, seconds=30))
        except CdcError as error:
            caught.append(error)

    with shop.snapshot() as snapshot:
        old = shop.chunks()
        thread = threading.Thread(target=work, args=(snapshot,))
        thread.start()
        assert reading.wait(20)
        other = TargetState(shop.conn, "shop")
        epoch = other.new_generation(2, "server", list(shop.tables.values()))
        ddl.truncate(shop.conn, shop.tables["a"])
        shop.conn.commit()
        thread.join(60)
        assert len(caught) == 1
        assert isinstance(caught[0], RetryableError)
    with shop.snapshot() as snapshot, pytest.raises(FencedError):
        shop.copy(snapshot, old)
    assert epoch > shop.epoch
    assert shop.count("a") == 0


class Slow:
    """A session that gives one batch, says so, and then takes its time."""

    def __init__(self, session: Any, reading: threading.Event, seconds: float) -> None:
        self._session, self._reading, self._seconds = session, reading, seconds

    def read(self, table: Any, where: Any) -> Iterator[Any]:
        for batch in self._session.read(table, where):
            yield batch
            self._reading.set()
            time.sleep(min(self._seconds, 5))


@ONLY_MYSQL
def test_another_definition_than_the_planned_one_is_refused(shop: Copy) -> None:
    numbers(shop.server, "a", 10)
    chunks = shop.begin()
    shop.server.run("alter table a add column more int")
    shop.tables = {t.name: shop.server.map(t) for t in shop.server.source.tables()}
    with shop.snapshot() as snapshot, pytest.raises(ResyncRequiredError, match="table a: its definition"):
        shop.copy(snapshot, chunks)
    assert shop.chunks() == chunks


# Errors in mid-chunk


class Failing:
    """A session whose reading fails after the first batch."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def read(self, table: Any, where: Any) -> Iterator[Any]:
        for batch in self._session.read(table, where):
            yield batch
            raise RetryableError("the source went away in mid-read", "run it again.")


@ONLY_MYSQL
def test_a_readers_error_leaves_no_part_of_a_chunk(shop: Copy) -> None:
    numbers(shop.server, "a", 12_000)
    shop.begin(chunk_bytes=1 << 30)
    progress = Progress()
    progress.plan(shop.chunks())
    with shop.snapshot() as snapshot, pytest.raises(RetryableError, match="went away in mid-read"):
        shop.copy(snapshot, session=Failing(snapshot.sessions[0]), progress=progress)
    assert shop.count("a") == 0
    assert [c.state for c in shop.chunks()] == ["planned"]
    assert progress.snapshot()["rows"] == 0
    with shop.snapshot() as snapshot:
        shop.copy(snapshot, progress=progress)
    assert shop.target_rows("a") == expected(12_000)
    assert progress.snapshot()["rows"] == 12_000


@ONLY_MYSQL
def test_a_mark_that_can_not_be_written_takes_its_rows_with_it(shop: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the process died between the two: there is no between."""
    numbers(shop.server, "a", 1000)
    shop.begin()
    finish, finished = TargetState.finish_chunk, []

    def fail_at_third(state: TargetState, chunk: Chunk) -> Any:
        finished.append(chunk)
        if len(finished) == 3:
            raise RetryableError("the target went away", "run it again.")
        return finish(state, chunk)

    monkeypatch.setattr(TargetState, "finish_chunk", fail_at_third)
    with shop.snapshot() as snapshot, pytest.raises(RetryableError, match="the target went away"):
        shop.copy(snapshot)
    assert finished[2].rows > 0
    assert sum(c.done for c in shop.chunks()) == 2
    assert shop.count("a") == sum(c.rows for c in shop.chunks() if c.done)
    monkeypatch.undo()
    with shop.snapshot() as snapshot:
        shop.copy(snapshot)
    assert shop.target_rows("a") == expected(1000)


def test_a_killed_source_session_leaves_no_part_of_a_chunk(shop: Copy) -> None:
    """The real thing: the server ends the session while rows are on their way."""
    megabytes(shop.server, 25)
    shop.begin(chunk_bytes=1 << 30)
    reading = threading.Event()
    with shop.snapshot() as snapshot:
        session = snapshot.sessions[0]

        def kill() -> None:
            assert reading.wait(20)
            shop.server.run(f"kill {session.reader.session_id}")

        killer = threading.Thread(target=kill)
        killer.start()
        # Each batch waits a second, so that what is not read yet is still on the server when it ends the session.
        with pytest.raises(RetryableError):
            shop.copy(snapshot, session=Slow(session, reading, seconds=1))
        killer.join()
    assert shop.count("a") == 0
    with shop.snapshot() as snapshot:
        shop.copy(snapshot)
    assert shop.count("a") == 32_000


@ONLY_MYSQL
def test_stop_is_heard_within_a_chunk(shop: Copy) -> None:
    numbers(shop.server, "a", 20_000)
    shop.begin(chunk_bytes=1 << 30)
    asked = iter([False, False, True, True, True])
    with shop.snapshot() as snapshot:
        assert shop.copy(snapshot, stop=lambda: next(asked)) == []
    assert shop.count("a") == 0
    assert [c.state for c in shop.chunks()] == ["planned"]


@ONLY_MYSQL
@pytest.mark.parametrize(
    ("column", "value", "texts"),
    [
        ("odd date", "'2024-02-31'", ["column odd (date → date)", "2024-02-31"]),
        ("odd text", "concat('a', char(0), 'b')", ["column odd holds the character NUL"]),
        ("odd json", "'\"\\\\u0000\"'", ["column odd (json → jsonb)", "\\u0000"]),
    ],
)
def test_a_value_that_the_target_cannot_hold_names_table_chunk_and_column(
    shop: Copy, column: str, value: str, texts: list[str]
) -> None:
    shop.server.run(f"create table a (id int primary key, {column})")
    with shop.server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("set sql_mode = 'ALLOW_INVALID_DATES'")
        cursor.execute(f"insert into a values (1, {value})")
    shop.begin()
    with shop.snapshot() as snapshot, pytest.raises(ConfigurationError) as caught:
        shop.copy(snapshot)
    for text in ["table a, chunk 0", "Next step", "leave the column out", *texts]:
        assert text in str(caught.value)
    assert shop.count("a") == 0


# Death


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


@ONLY_MYSQL
def test_memory_does_not_grow_with_the_table(shop: Copy) -> None:
    """One chunk of about 200 MB in a process of its own: the rows pass through, they do not pile up."""
    megabytes(shop.server, 205)
    [chunk] = shop.begin(chunk_bytes=1 << 30)
    worker = start_worker(shop)
    assert worker.stdout is not None
    output = worker.stdout.read().split("\n")
    worker.stdout.close()
    assert worker.wait() == 0
    before, after = (int(line.split()[1]) for line in output if line.startswith(("open", "end")))
    assert shop.chunks()[0].bytes > 190 << 20
    assert shop.count("a") == 256_000
    assert (after - before) / 1024 < 60  # MiB
    assert chunk.ordinal == 0


@ONLY_MYSQL
def test_memory_does_not_grow_with_large_values(shop: Copy) -> None:
    """Rows of 4 MiB, and twice that as COPY text: not thousands of them at once."""
    shop.server.run("create table a (id int primary key, v mediumblob)")
    with shop.server.admin() as connection, connection.cursor() as cursor:
        for n in range(60):
            cursor.execute("insert into a values (%s, repeat(%s, 4 << 20))", (n, "y"))
    shop.begin(chunk_bytes=1 << 40)
    worker = start_worker(shop)
    assert worker.stdout is not None
    output = worker.stdout.read().split("\n")
    worker.stdout.close()
    assert worker.wait() == 0
    before, after = (int(line.split()[1]) for line in output if line.startswith(("open", "end")))
    assert shop.chunks()[0].bytes > 480 << 20
    assert shop.count("a") == 60
    assert (after - before) / 1024 < 150  # MiB


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
