"""The tables of a pipeline, as the target keeps them: mappings, what the log said of them, counters."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from cdc_pipelines.replication.catalog import MappedTable, mapped_table_from_json, to_json
from cdc_pipelines.replication.databases.postgres import ddl

_OF_ONE_TABLE = ("chunk", "verify_walk", "verified", "mapped_table")


class TableStore:
    """Mappings and counters of pipeline `name`, in the caller's transaction."""

    def __init__(self, conn: psycopg.Connection, name: str) -> None:
        self._conn = conn
        self._name = name

    def mapped_tables(self) -> list[MappedTable]:
        """The mappings as of the log's offset, by name."""
        cursor = self._conn.cursor(row_factory=scalar_row)
        cursor.execute(
            'select mapping from _cdc.mapped_table where pipeline = %s order by table_name collate "C"', [self._name]
        )
        return [mapped_table_from_json(text) for text in cursor]

    def save_mapping(self, table: MappedTable) -> None:
        """Store a mapping, in place of the table's present one if it has one."""
        self._conn.execute(
            "insert into _cdc.mapped_table (pipeline, table_name, target_schema, target_name, mapping) "
            "values (%s, %s, %s, %s, %s) on conflict (pipeline, table_name) do update set "
            "target_schema = excluded.target_schema, target_name = excluded.target_name, mapping = excluded.mapping",
            [self._name, table.name, table.target_schema, table.target_name, to_json(table)],
        )

    def claim(self, table: MappedTable) -> None:
        """The table on the target is this pipeline's. One that another has claimed stays that one's."""
        self._conn.execute(
            "insert into _cdc.claim (target_schema, target_name, pipeline) values (%s, %s, %s) on conflict do nothing",
            [table.target_schema, table.target_name, self._name],
        )

    def disclaim(self, table: MappedTable) -> None:
        self._conn.execute(
            "delete from _cdc.claim where target_schema = %s and target_name = %s and pipeline = %s",
            [table.target_schema, table.target_name, self._name],
        )

    def forget_table(self, name: str) -> None:
        """The table is replicated no more. Its claim stays."""
        for where in _OF_ONE_TABLE:
            self._conn.execute(
                sql.SQL("delete from _cdc.{} where pipeline = %s and table_name = %s").format(sql.Identifier(where)),
                [self._name, name],
            )

    def rename_table(self, name: str, after: MappedTable) -> None:
        """Everything that is known of a table goes on under another name."""
        for where in _OF_ONE_TABLE:
            self._conn.execute(
                sql.SQL("update _cdc.{} set table_name = %s where pipeline = %s and table_name = %s").format(
                    sql.Identifier(where)
                ),
                [after.name, self._name, name],
            )
        self.save_mapping(after)

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

    def log_columns(self) -> dict[str, str]:
        """Per table the columns as the change log described them last (the text that `learn_columns` was given)."""
        rows = self._conn.execute(
            "select table_name, log_columns from _cdc.mapped_table where pipeline = %s and log_columns is not null",
            [self._name],
        )
        return dict(rows.fetchall())

    def learn_columns(self, table: str, columns: str) -> None:
        self._conn.execute(
            "update _cdc.mapped_table set log_columns = %s where pipeline = %s and table_name = %s",
            [columns, self._name, table],
        )

    def count_rows(self, table: MappedTable) -> int:
        """The rows in the target table: reads all of it."""
        row = self._conn.execute(sql.SQL("select count(*) from {}").format(ddl.table_name(table))).fetchone()
        assert row is not None
        return int(row[0])

    def analyze(self, tables: Sequence[MappedTable]) -> None:
        """Let the planner know the tables that were filled just now."""
        for table in tables:
            self._conn.execute(sql.SQL("analyze {}").format(ddl.table_name(table)))

    def drop_tables(self) -> list[str]:
        """Drop the pipeline's target tables. Returns their names; those that are gone already are not among them."""
        return [
            f"{table.target_schema}.{table.target_name}"
            for table in self.mapped_tables()
            if ddl.drop_table(self._conn, table)
        ]

    def table_stats(self) -> list[dict[str, Any]]:
        """Every table in figures, by name, ready for JSON.

        `rows_copied`, `bytes_copied`, `copy_seconds` (summed over chunks) are the copy's; `inserts` … `truncates` and
        their sum `changes_applied` the stream's; `verified` is the last comparison, if there was
        one, `through` the position (JSON) of the source's state that was compared.
        """
        rows = self._conn.execute(
            """
            select m.table_name, m.target_schema, m.target_name,
                   coalesce(c.chunks, 0), coalesce(c.done, 0), coalesce(c.rows, 0), coalesce(c.bytes, 0),
                   coalesce(c.seconds, 0), m.inserts, m.updates, m.deletes, m.truncates, m.last_change_ms,
                   v.verified_at, v.rows, v.differences, v.position, v.complete, v.verified_by
            from _cdc.mapped_table m
            left join (
                select table_name, count(*) as chunks, count(*) filter (where state = 'done') as done,
                       sum(rows)::bigint as rows, sum(bytes)::bigint as bytes, sum(seconds) as seconds
                from _cdc.chunk where pipeline = %(name)s group by table_name
            ) c using (table_name)
            left join _cdc.verified v on v.pipeline = m.pipeline and v.table_name = m.table_name
            where m.pipeline = %(name)s
            order by m.table_name collate "C"
            """,
            {"name": self._name},
        )
        return [_stats(*row) for row in rows]


def _stats(
    table: str, schema: str, name: str, chunks: int, done: int, rows: int, size: int, seconds: float,
    inserts: int, updates: int, deletes: int, truncates: int, last_change_ms: int | None,
    verified_at: datetime | None, verified_rows: int | None, differences: int | None, verified_through: str | None,
    complete: bool | None, verified_by: str | None,
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
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
