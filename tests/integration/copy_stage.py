"""One pipeline's copy from a test's source database, and tables and readers to copy with."""

import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.move import copy_chunks
from cdc_pipelines.replication.copy.plan import plan
from cdc_pipelines.replication.databases.mysql.snapshot import Snapshot
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.pipeline import Target
from cdc_pipelines.stack.settings import StackSettings
from tests.integration.conftest import SourceServer


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


class Slow:
    """A session that gives one batch, says so, and then takes its time."""

    def __init__(self, session: Any, reading: threading.Event, seconds: float) -> None:
        self._session, self._reading, self._seconds = session, reading, seconds

    def read(self, table: Any, where: Any) -> Iterator[Any]:
        for batch in self._session.read(table, where):
            yield batch
            self._reading.set()
            time.sleep(min(self._seconds, 5))


class Failing:
    """A session whose reading fails after the first batch."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def read(self, table: Any, where: Any) -> Iterator[Any]:
        for batch in self._session.read(table, where):
            yield batch
            raise RetryableError("the source went away in mid-read", "run it again.")
