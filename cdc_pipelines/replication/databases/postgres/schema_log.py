"""The schema changes that a pipeline met, kept on the target: what came, when, where, and what was done about it."""

from datetime import UTC, datetime
from typing import Any

import psycopg

from cdc_pipelines.replication.changes.batches import SchemaChange

KEPT = 1000
"""How many are remembered of one pipeline."""


def record(conn: psycopg.Connection, pipeline: str, change: SchemaChange) -> None:
    """Remember it, in the caller's transaction. One that stopped the stream comes at each try, and is kept once."""
    number = conn.execute(
        "insert into _cdc.schema_change (pipeline, table_name, kind, done, what, statement, place, digest, source_ms) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (pipeline, place, digest, table_name, kind, what) "
        "do update set done = excluded.done, at = excluded.at returning number",
        [pipeline, change.table, change.kind, change.done, change.what, change.statement, change.place, change.digest,
         change.at_ms],
    ).fetchone()
    assert number is not None
    conn.execute(
        "delete from _cdc.schema_change where pipeline = %s and number < %s", [pipeline, int(number[0]) - KEPT]
    )


def latest(conn: psycopg.Connection, pipeline: str, limit: int = 20) -> list[dict[str, Any]]:
    """The last ones, the newest first, ready for JSON.

    `at` is when it was made on the source, `seen_at` when it came here; for the rest see `SchemaChange`.
    """
    rows = conn.execute(
        "select number, table_name, kind, done, what, statement, place, "
        "to_timestamp(source_ms / 1000.0), at from _cdc.schema_change where pipeline = %s "
        "order by number desc limit %s",
        [pipeline, limit],
    ).fetchall()
    return [
        {"number": number, "table": table, "kind": kind, "done": done, "what": what, "statement": statement,
         "place": place, "at": _iso(at), "seen_at": _iso(seen)}
        for number, table, kind, done, what, statement, place, at, seen in rows
    ]


def applied_at_last_place(conn: psycopg.Connection, pipeline: str) -> tuple[str, set[str]]:
    """The place of the newest one, and the digests of the statements there; one statement may come as several."""
    row = conn.execute(
        "select place from _cdc.schema_change where pipeline = %s and done <> 'stopped' order by number desc limit 1",
        [pipeline],
    ).fetchone()
    if row is None:
        return "", set()
    digests = conn.execute(
        "select distinct digest from _cdc.schema_change where pipeline = %s and place = %s and done <> 'stopped'",
        [pipeline, row[0]],
    ).fetchall()
    return row[0], {digest for (digest,) in digests}


def _iso(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
