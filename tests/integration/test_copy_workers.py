"""Several workers, and old ones: each chunk is copied once, and only by the newest."""

import threading

import psycopg
import pytest

from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.databases.mysql.snapshot import Snapshot
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import CdcError, FencedError, ResyncRequiredError, RetryableError
from tests.control_fixtures import wait_until
from tests.integration.copy_stage import Copy, Slow, expected, numbers, shop
from tests.integration.writers import ONLY_MYSQL

__all__ = ["shop"]  # fixtures


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


def test_a_second_worker_waits_for_the_first_ones_chunk(shop: Copy, target: psycopg.Connection) -> None:
    numbers(shop.server, "a", 10)
    [chunk] = shop.begin()
    shop.state.lock_chunk("a", 0)
    with shop.snapshot() as snapshot:
        copied: list[Chunk] = []
        thread = threading.Thread(target=lambda: copied.extend(shop.copy(snapshot, [chunk])))
        thread.start()
        waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        wait_until(lambda: target.execute(waiting).fetchone())
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


@ONLY_MYSQL
def test_another_definition_than_the_planned_one_is_refused(shop: Copy) -> None:
    numbers(shop.server, "a", 10)
    chunks = shop.begin()
    shop.server.run("alter table a add column more int")
    shop.tables = {t.name: shop.server.map(t) for t in shop.server.source.tables()}
    with shop.snapshot() as snapshot, pytest.raises(ResyncRequiredError, match="table a: its definition"):
        shop.copy(snapshot, chunks)
    assert shop.chunks() == chunks
