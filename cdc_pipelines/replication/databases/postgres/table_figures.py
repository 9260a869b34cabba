"""The tables of a pipeline in figures, as the target keeps them: rows, changes, comparisons."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.postgres import ddl


class TableFigures:
    """Counters of pipeline `name`, in the caller's transaction."""

    def __init__(self, conn: psycopg.Connection, name: str) -> None:
        self._conn = conn
        self._name = name

    def count_changes(self, changes: Mapping[str, tuple[int, int, int, int]], last_change_ms: int | None) -> None:
        """Add (inserts, updates, deletes, truncates) per table to the totals."""
        rows = [(*counts, last_change_ms, self._name, table) for table, counts in sorted(changes.items())]
        with self._conn.cursor() as cursor:
            cursor.executemany(
                "update _cdc.mapped_table set inserts = inserts + %s, updates = updates + %s, deletes = deletes + %s, "
                "truncates = truncates + %s, last_change_ms = coalesce(%s, last_change_ms) "
                "where pipeline = %s and table_name = %s",
                rows,
            )

    # Tables that stand apart from the stream

    def count_skipped(self, changes: Mapping[str, int]) -> None:
        """Add to the totals of changes that passed by tables that stand apart."""
        with self._conn.cursor() as cursor:
            cursor.executemany(
                "update _cdc.mapped_table set skipped = skipped + %s "
                "where pipeline = %s and table_name = %s and state = 'detached'",
                [(count, self._name, table) for table, count in sorted(changes.items())],
            )

    def count_rows(self, table: MappedTable) -> int:
        """The rows in the target table that the source has, too: reads all of it."""
        counted = sql.SQL("select count(*) from {}").format(ddl.table_name(table))
        if table.rows.ended:
            counted += sql.SQL(" where {} is null").format(sql.Identifier(table.rows.ended))
        row = self._conn.execute(counted).fetchone()
        assert row is not None
        return int(row[0])

    def analyze(self, tables: Sequence[MappedTable]) -> None:
        """Let the planner know the tables that were filled just now."""
        for table in tables:
            self._conn.execute(sql.SQL("analyze {}").format(ddl.table_name(table)))

    def table_stats(self, since: datetime | None = None) -> list[dict[str, Any]]:
        """Every table in figures, by name, ready for JSON.

        `chunks_done_since` counts those of `chunks_done` that were copied after `since`; none without one.
        `rows_copied`, `bytes_copied`, `copy_seconds` (summed over chunks) are the copy's; `inserts` … `truncates` and
        their sum `changes_applied` the stream's; `verified` is the last comparison, if there was
        one, `through` the position (JSON) of the source's state that was compared. `state` is `live`, or `detached`,
        which `detached` tells of; `dead_letters` are those that are held.
        """
        rows = self._conn.execute(
            """
            select m.table_name, m.target_schema, m.target_name,
                   coalesce(c.chunks, 0), coalesce(c.done, 0), coalesce(c.since, 0), coalesce(c.rows, 0),
                   coalesce(c.bytes, 0), coalesce(c.seconds, 0), m.inserts, m.updates, m.deletes, m.truncates,
                   m.last_change_ms, v.verified_at, v.rows, v.differences, v.position, v.complete, v.verified_by,
                   m.state, m.kind, m.reason, m.since, m.since_position, m.since_offset, m.skipped,
                   (select count(*) from _cdc.dead_letter d
                    where d.pipeline = m.pipeline and d.table_name = m.table_name and d.state = 'held')
            from _cdc.mapped_table m
            left join (
                select table_name, count(*) as chunks, count(*) filter (where state = 'done') as done,
                       count(*) filter (where state = 'done' and copied_at > %(since)s::timestamptz) as since,
                       sum(rows)::bigint as rows, sum(bytes)::bigint as bytes, sum(seconds) as seconds
                from _cdc.chunk where pipeline = %(name)s group by table_name
            ) c using (table_name)
            left join _cdc.verified v on v.pipeline = m.pipeline and v.table_name = m.table_name
            where m.pipeline = %(name)s
            order by m.table_name collate "C"
            """,
            {"name": self._name, "since": since},
        )
        return [_stats(*row) for row in rows]


def _stats(
    table: str, schema: str, name: str, chunks: int, done: int, done_since: int, rows: int, size: int, seconds: float,
    inserts: int, updates: int, deletes: int, truncates: int, last_change_ms: int | None,
    verified_at: datetime | None, verified_rows: int | None, differences: int | None, verified_through: str | None,
    complete: bool | None, verified_by: str | None,
    state: str, kind: str | None, reason: str | None, since: datetime | None, position: str | None,
    offset: int | None, skipped: int, dead_letters: int,
) -> dict[str, Any]:
    verified = None if verified_at is None else {
        "at": _iso(verified_at), "through": verified_through, "rows": verified_rows, "differences": differences,
        "complete": complete, "by": verified_by,
    }
    return {
        "table": table,
        "target": f"{schema}.{name}",
        "chunks": chunks,
        "chunks_done": done,
        "chunks_done_since": done_since,
        "rows_copied": rows,
        "bytes_copied": size,
        "copy_seconds": round(seconds, 3),
        "changes_applied": inserts + updates + deletes + truncates,
        "inserts": inserts,
        "updates": updates,
        "deletes": deletes,
        "truncates": truncates,
        "last_change_at": None if last_change_ms is None else _iso(datetime.fromtimestamp(last_change_ms / 1000, UTC)),
        "verified": verified,
        "state": state,
        "detached": None if since is None else {
            "kind": kind, "reason": reason, "since": _iso(since), "position": position, "offset": offset,
            "skipped": skipped,
        },
        "dead_letters": dead_letters,
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
