"""What the last comparison of each table found, kept on the target for the status."""

import psycopg


def record_verified(
    conn: psycopg.Connection, pipeline: str, table: str, *, position: str, rows: int, differences: int
) -> None:
    """Remember a comparison, in the caller's transaction. `rows` are the source's, `position` is JSON."""
    conn.execute(
        "insert into _cdc.verified (pipeline, table_name, position, verified_at, rows, differences) "
        "values (%s, %s, %s, clock_timestamp(), %s, %s) on conflict (pipeline, table_name) do update set "
        "position = excluded.position, verified_at = excluded.verified_at, rows = excluded.rows, "
        "differences = excluded.differences",
        [pipeline, table, position, rows, differences],
    )
