"""Copying from real servers to a real server: complete, exact, and each table under the positions it needs."""

import queue
import threading

import pytest

from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.progress import Progress
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import RetryableError
from tests.integration.copy_stage import Copy, Failing, expected, key_of, numbers, shop

__all__ = ["shop"]  # fixtures


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
