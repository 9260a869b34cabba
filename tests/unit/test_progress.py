"""Rows, rates and time left, under a clock of our own."""

import threading

import msgspec
import pytest

from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.progress import Progress


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(clock):
    progress = Progress(clock)
    progress.plan(CHUNKS)
    return progress


CHUNKS = [Chunk("a", 0, None, (100,), 100), Chunk("a", 1, (100,), None, 100), Chunk("b", 0, None, None, 50)]


def done(chunk, rows, size):
    return msgspec.structs.replace(chunk, state="done", rows=rows, bytes=size)


def test_starts_with_the_plan_and_no_rate(progress):
    facts = progress.snapshot()
    assert (facts["rows"], facts["rows_total"], facts["chunks"], facts["chunks_done"]) == (0, 250, 3, 0)
    assert facts["rows_per_second"] == 0
    assert facts["eta_seconds"] is None
    assert "time left unknown" in str(progress)


def test_rate_and_time_left(progress, clock):
    clock.now += 1
    progress.moved("a", 50, 5000)
    clock.now += 1
    facts = progress.snapshot()
    assert facts["rows_per_second"] == 25
    assert facts["bytes_per_second"] == 2500
    assert facts["eta_seconds"] == pytest.approx(200 / 25)
    assert facts["tables"]["a"] == {"rows": 50, "bytes": 5000, "rows_total": 200, "chunks": 2, "chunks_done": 0}


def test_a_finished_chunk_replaces_its_estimate(progress, clock):
    clock.now += 2
    progress.moved("a", 160, 1600)
    progress.finished(done(CHUNKS[0], 160, 1600))
    facts = progress.snapshot()
    assert facts["rows"] == 160
    assert facts["tables"]["a"]["rows_total"] == 260
    assert facts["rows_total"] == 310
    assert facts["chunks_done"] == 1


def test_all_done_has_no_time_left(progress, clock):
    clock.now += 1
    for chunk, rows in zip(CHUNKS, (90, 95, 0), strict=True):
        progress.moved(chunk.table, rows, rows)
        progress.finished(done(chunk, rows, rows))
    facts = progress.snapshot()
    assert facts["eta_seconds"] == 0
    assert facts["rows"] == facts["rows_total"] == 185
    assert "3/3 chunks" in str(progress)
    assert "(100 %)" in str(progress)


def test_a_failed_chunk_takes_its_rows_back(progress, clock):
    progress.moved("a", 70, 700)
    progress.undone("a", 70, 700)
    clock.now += 1
    facts = progress.snapshot()
    assert (facts["rows"], facts["bytes"], facts["rows_per_second"]) == (0, 0, 0)


def test_chunks_of_an_earlier_run_count_but_not_as_speed(clock):
    progress = Progress(clock)
    progress.plan([done(CHUNKS[0], 100, 1000), *CHUNKS[1:]])
    clock.now += 10
    facts = progress.snapshot()
    assert (facts["rows"], facts["chunks_done"], facts["rows_per_second"]) == (100, 1, 0)


def test_a_chunk_found_done_is_counted_once(progress):
    chunk = done(CHUNKS[2], 40, 400)
    progress.finished(chunk, moved=False)
    progress.finished(chunk, moved=False)
    assert progress.snapshot()["tables"]["b"] == {
        "rows": 40, "bytes": 400, "rows_total": 40, "chunks": 1, "chunks_done": 1,
    }


def test_a_table_that_starts_anew_loses_its_rows(progress):
    progress.moved("a", 100, 10)
    progress.finished(done(CHUNKS[0], 100, 10))
    progress.reset("a", CHUNKS[:2])
    assert progress.snapshot()["tables"]["a"] == {
        "rows": 0, "bytes": 0, "rows_total": 200, "chunks": 2, "chunks_done": 0,
    }


def test_old_speed_is_forgotten(progress, clock):
    for _ in range(100):
        clock.now += 1
        progress.moved("a", 1000, 1)
    for _ in range(60):
        clock.now += 1
        progress.moved("a", 10, 1)
    assert progress.snapshot()["rows_per_second"] == pytest.approx(10, rel=0.2)


def test_workers_in_threads_lose_no_row(progress):
    def work():
        for _ in range(2000):
            progress.moved("a", 1, 2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    facts = progress.snapshot()
    assert (facts["rows"], facts["bytes"]) == (8000, 16000)
