"""An error in the middle of a chunk: no part of it stays, and it is named."""

import threading
from typing import Any

import pytest

from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.progress import Progress
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from tests.integration.copy_stage import Copy, Failing, Slow, expected, megabytes, numbers, shop
from tests.integration.writers import ONLY_MYSQL

__all__ = ["shop"]  # fixtures


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
