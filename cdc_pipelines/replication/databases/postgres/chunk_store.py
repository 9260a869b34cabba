"""The chunks of a pipeline's initial copy, as the target keeps them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from cdc_pipelines.replication.chunk import Chunk, key_from_json, key_to_json
from cdc_pipelines.replication.errors import FencedError

_COLUMNS = sql.SQL(
    "table_name, ordinal, lower_key, upper_key, rows_estimate, shard, state, rows, bytes, seconds, position, "
    "fingerprint, copied_at"
)


class ChunkStore:
    """Plan and marks of the initial copy of pipeline `name`, in the caller's transaction."""

    def __init__(self, conn: psycopg.Connection, name: str) -> None:
        self._conn = conn
        self._name = name

    def save_plan(self, chunks: Sequence[Chunk]) -> None:
        """Store the chunks; what was planned or done for the same tables before is forgotten."""
        tables = sorted({c.table for c in chunks})
        self._conn.execute(
            "delete from _cdc.chunk where pipeline = %s and table_name = any(%s)", [self._name, tables]
        )
        statement = sql.SQL("copy _cdc.chunk (pipeline, {}) from stdin").format(
            _COLUMNS
        )
        with self._conn.cursor() as cursor, cursor.copy(statement) as copy:
            for c in chunks:
                copy.write_row((
                    self._name, c.table, c.ordinal, key_to_json(c.lower), key_to_json(c.upper), c.rows_estimate,
                    c.shard, c.state, c.rows, c.bytes, c.seconds, c.position, c.fingerprint, c.copied_at,
                ))

    def chunks(self, table: str | None = None) -> list[Chunk]:
        """The plan, by table and ordinal."""
        rows = self._conn.execute(
            sql.SQL(
                "select {} from _cdc.chunk where pipeline = %s and (%s::text is null or table_name = %s) "
                "order by table_name collate \"C\", ordinal"
            ).format(_COLUMNS),
            [self._name, table, table],
        )
        return [_chunk(row) for row in rows]

    def lock_chunk(self, table: str, ordinal: int) -> Chunk | None:
        """The chunk, its row locked till the transaction ends: a second worker on it waits, and finds it done."""
        row = self._conn.execute(
            sql.SQL(
                "select {} from _cdc.chunk where pipeline = %s and table_name = %s and ordinal = %s for update"
            ).format(_COLUMNS),
            [self._name, table, ordinal],
        ).fetchone()
        return None if row is None else _chunk(row)

    def lock_chunks(self, table: str) -> list[Chunk]:
        """All chunks of a table, likewise locked."""
        rows = self._conn.execute(
            sql.SQL(
                "select {} from _cdc.chunk where pipeline = %s and table_name = %s order by ordinal for update"
            ).format(_COLUMNS),
            [self._name, table],
        )
        return [_chunk(row) for row in rows]

    def reserve_table(self, table: str, position: str) -> None:
        """Note on all chunks of the table that it is read at `position`."""
        self._conn.execute(
            "update _cdc.chunk set position = %s where pipeline = %s and table_name = %s",
            [position, self._name, table],
        )

    def finish_chunk(self, chunk: Chunk) -> datetime:
        """Mark the chunk done, with its rows, bytes, seconds, position and fingerprint. Returns the time of it."""
        row = self._conn.execute(
            "update _cdc.chunk set state = 'done', rows = %s, bytes = %s, seconds = %s, position = %s, "
            "fingerprint = %s, copied_at = clock_timestamp() "
            "where pipeline = %s and table_name = %s and ordinal = %s returning copied_at",
            [
                chunk.rows, chunk.bytes, chunk.seconds, chunk.position, chunk.fingerprint,
                self._name, chunk.table, chunk.ordinal,
            ],
        ).fetchone()
        if row is None:
            raise FencedError(f"pipeline {self._name}: chunk {chunk} is not in the plan any more", "start again.")
        copied_at = row[0]
        assert isinstance(copied_at, datetime)
        return copied_at

    def reset_table(self, table: str) -> None:
        """All chunks of the table back to planned. The rows themselves are the caller's to delete."""
        self._conn.execute(
            "update _cdc.chunk set state = 'planned', rows = 0, bytes = 0, seconds = 0, position = null, "
            "copied_at = null where pipeline = %s and table_name = %s",
            [self._name, table],
        )

    def replan_at(self, positions: Sequence[str]) -> int:
        """The chunks read at these positions back to planned; returns how many. Copying one replaces its range."""
        return self._conn.execute(
            "update _cdc.chunk set state = 'planned', rows = 0, bytes = 0, seconds = 0, position = null, "
            "copied_at = null where pipeline = %s and state = 'done' and position = any(%s)",
            [self._name, list(positions)],
        ).rowcount


def _chunk(row: tuple[Any, ...]) -> Chunk:
    table, ordinal, lower, upper, *rest = row
    return Chunk(table, ordinal, key_from_json(lower), key_from_json(upper), *rest)
