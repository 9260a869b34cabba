"""What comparisons found, kept on the target: the last one of each table, and how far the background's has come."""

from collections.abc import Iterable
from datetime import datetime

import msgspec
import psycopg

Key = tuple[int, ...]


class Verified(msgspec.Struct, frozen=True):
    """The last whole comparison of a table: `rows` are the source's, `position` (JSON) is its state that was compared.

    `by` is who compared: `command`, `dagster`, or `background`, which does it in slices: then `position` is the first
    slice's, and later ones saw later states.
    """

    table: str
    at: datetime
    position: str
    rows: int
    differences: int
    complete: bool = True
    by: str = "command"
    repaired: int = 0

    @property
    def equal(self) -> bool:
        return self.complete and self.differences == 0


class Walk(msgspec.Struct, frozen=True):
    """A table that the background has compared up to `next_key`, from the state at `position` on."""

    next_key: Key
    position: str
    rows: int
    differences: int


def record_verified(
    conn: psycopg.Connection, pipeline: str, table: str, *, position: str, rows: int, differences: int,
    complete: bool = True, by: str = "command", repaired: int = 0, ends_walk: bool = True,
) -> None:
    """Remember a comparison, in the caller's transaction. With it a walk through the table that is under way ends."""
    conn.execute(
        "insert into _cdc.verified (pipeline, table_name, position, verified_at, rows, differences, complete, "
        "verified_by, repaired) values (%s, %s, %s, clock_timestamp(), %s, %s, %s, %s, %s) "
        "on conflict (pipeline, table_name) do update set "
        "position = excluded.position, verified_at = excluded.verified_at, rows = excluded.rows, "
        "differences = excluded.differences, complete = excluded.complete, verified_by = excluded.verified_by, "
        "repaired = excluded.repaired",
        [pipeline, table, position, rows, differences, complete, by, repaired],
    )
    if ends_walk:
        conn.execute("delete from _cdc.verify_walk where pipeline = %s and table_name = %s", [pipeline, table])


def last_verified(conn: psycopg.Connection, pipeline: str) -> list[Verified]:
    """The last comparison of each table that was compared, by name."""
    rows: Iterable[tuple[object, ...]] = conn.execute(
        "select table_name, verified_at, coalesce(position, ''), rows, differences, complete, verified_by, repaired "
        'from _cdc.verified where pipeline = %s order by table_name collate "C"',
        [pipeline],
    )
    return [Verified(*row) for row in rows]  # type: ignore[arg-type]


def walks(conn: psycopg.Connection, pipeline: str) -> dict[str, Walk]:
    """The walks that are under way, by table."""
    rows = conn.execute(
        "select table_name, next_key, position, rows, differences from _cdc.verify_walk where pipeline = %s", [pipeline]
    )
    return {table: Walk(msgspec.json.decode(key, type=Key), *rest) for table, key, *rest in rows}


def record_walk(conn: psycopg.Connection, pipeline: str, table: str, walk: Walk) -> None:
    """Remember how far a walk has come, in the caller's transaction."""
    conn.execute(
        "insert into _cdc.verify_walk (pipeline, table_name, next_key, position, rows, differences) "
        "values (%s, %s, %s, %s, %s, %s) on conflict (pipeline, table_name) do update set "
        "next_key = excluded.next_key, position = excluded.position, rows = excluded.rows, "
        "differences = excluded.differences",
        [pipeline, table, msgspec.json.encode(walk.next_key).decode(), walk.position, walk.rows, walk.differences],
    )
