"""Loading rows in bulk: every text as it was, or nothing, and the place of what was refused."""

import threading
from collections.abc import Iterator

import psycopg
import pytest

from cdc_pipelines.replication.databases.postgres import ddl, existing
from cdc_pipelines.replication.databases.postgres.load import copy_rows
from cdc_pipelines.replication.errors import (
    ConfigurationError,
    IntegrityError,
    RetryableError,
)
from tests.integration.target_stage import ID, USERS, column, conn, mapped, open_, scalar, spec

__all__ = ["conn", "open_", "spec"]  # fixtures


def test_every_text_arrives_as_it_was(conn: psycopg.Connection) -> None:
    table = mapped("t", ID, column("v", "text"))
    ddl.create_table(conn, table)
    values = ["", "\\", "\\N", "\\.", "\t", "\n", "\r\n", "\\t", "a\\", "'\"", "é", "💥", "\x01\x7f", "\ufeff"]
    values.append("x" * 100_000)
    rows = [(str(n).encode(), v.encode()) for n, v in enumerate(values)] + [(b"99", None)]
    count, size = copy_rows(conn, table, [rows[:3], [], rows[3:]])
    assert count == len(rows)
    assert size > 100_000
    assert conn.execute("select v from t order by id").fetchall() == [(v,) for v in [*values, None]]


def test_a_readers_error_commits_nothing(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.commit()
    closed = []

    def read() -> Iterator[list[tuple[bytes, bytes]]]:
        try:
            yield [(b"1", b"x")]
            raise RetryableError("source went away", "wait.")
        finally:
            closed.append(threading.current_thread().name)

    with pytest.raises(RetryableError, match="source went away"), conn.transaction():
        copy_rows(conn, USERS, read())
    assert closed == ["read-users"]
    assert existing.is_empty(conn, USERS)
    assert scalar(conn, "select 1") == 1  # the session is of use


def test_a_refused_value_ends_the_reader_too(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.commit()
    given = []

    def read() -> Iterator[list[tuple[bytes, bytes]]]:
        for n in range(1_000):
            given.append(n)
            yield [(b"1", b"much too long a name" * 10)] * 5000

    with pytest.raises(ConfigurationError) as caught, conn.transaction():
        copy_rows(conn, USERS, read(), what="table users, chunk 3")
    text = str(caught.value)
    assert "table users, chunk 3: column name (varchar(10) → varchar(10))" in text
    assert "too long" in text
    assert "Next step: change the value on the source" in text
    assert len(text) < 1000
    assert not [t for t in threading.enumerate() if t.name.startswith("read-")]
    assert len(given) < 150  # of about 1 MB each: the error is found before all of them are sent


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("tinyint", b"40000", 'value "40000" is out of range for type smallint'),
        ("date", b"0000-00-00", "date/time field value out of range"),
        ("json", b'"\\u0000"', "unsupported Unicode escape"),
        ("int", b"3000000000", "out of range for type integer"),
        ("text", b"a\xc3(", "invalid byte sequence"),
    ],
)
def test_values_that_postgres_cannot_hold_name_table_chunk_and_column(
    conn: psycopg.Connection, kind: str, value: bytes, message: str
) -> None:
    table = mapped("t", ID, column("odd", kind))
    ddl.create_table(conn, table)
    with pytest.raises(ConfigurationError, match="table t, chunk 4") as caught, conn.transaction():
        copy_rows(conn, table, [[(b"1", None), (b"2", value)]], what="table t, chunk 4")
    assert message in str(caught.value)
    if kind != "text":
        assert f"column odd ({kind}" in str(caught.value)


def test_nul_is_refused_before_it_is_sent(conn: psycopg.Connection) -> None:
    table = mapped("t", ID, column("a", "text"), column("b", "text"))
    ddl.create_table(conn, table)
    with pytest.raises(ConfigurationError, match=r"table t, chunk 0: column b holds the character NUL") as caught:
        copy_rows(conn, table, [[(b"1", b"x", b"y"), (b"2", b"x", b"y\0z")]], what="table t, chunk 0")
    assert "Next step: remove it on the source" in str(caught.value)


def test_a_trigger_that_swallows_rows_is_noticed(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.execute(
        "create function swallow() returns trigger language plpgsql as "
        "$$ begin return case when new.id = 1 then null else new end; end $$; "
        "create trigger s before insert on users for each row execute function swallow()"
    )
    with pytest.raises(IntegrityError, match=r"2 rows were read, but public\.users took 1"):
        copy_rows(conn, USERS, [[(b"1", b"x"), (b"2", b"x")]])


def test_rows_of_another_origin_are_noticed(conn: psycopg.Connection) -> None:
    ddl.create_table(conn, USERS)
    conn.execute("insert into users values (1, 'x')")
    with pytest.raises(IntegrityError, match="has such a row already"):
        copy_rows(conn, USERS, [[(b"1", b"x")]])
