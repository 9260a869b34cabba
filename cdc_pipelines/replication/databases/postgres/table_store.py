"""The tables of a pipeline, as the target keeps them: mappings, what the log said of them, which stand apart."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from cdc_pipelines.replication.catalog import MappedTable, mapped_table_from_json, to_json
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.carried import drop_foreign_keys
from cdc_pipelines.replication.databases.postgres.carried_store import Carried, CarriedStore

DetachedKind = Literal["quarantined", "changed", "lane"]
"""quarantined: the target refused a change, somebody must mend that; changed: its definition changed so that it must be
copied again, which needs nobody; lane: it is being copied again, or was and joins the stream soon."""


class Detached(msgspec.Struct, frozen=True):
    """A table that stands apart from the stream, and why.

    Its rows are those of the source's state at `position` (JSON); from `offset` of the change log on its changes are
    not applied. `skipped` counts them. Both are None where the table never was in the stream.
    """

    table: str
    kind: DetachedKind
    reason: str
    position: str | None
    offset: int | None
    since: datetime
    skipped: int
    relearn: bool = False


_OF_ONE_TABLE = ("chunk", "verify_walk", "verified", "dead_letter", "mapped_table")


class TableStore:
    """Mappings of pipeline `name`, in the caller's transaction."""

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
        """The table is replicated no more. Its claim stays, with what was carried; but no foreign keys to others."""
        drop_foreign_keys(self._conn, self._name, name, "its parent is not replicated any more")
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
        self._conn.execute(
            "delete from _cdc.carried where pipeline = %s and table_name = %s and table_name <> %s",
            [self._name, after.name, name],  # of one that had the name before
        )
        self._conn.execute(
            "update _cdc.carried set table_name = %s, target_schema = %s, target_table = %s "
            "where pipeline = %s and table_name = %s",
            [after.name, after.target_schema, after.target_name, self._name, name],
        )
        self._conn.execute(
            "update _cdc.carried set parent = %s where pipeline = %s and parent = %s", [after.name, self._name, name]
        )
        self.save_mapping(after)

    def carries(self, indexes: Sequence[Carried]) -> None:
        """These unique indexes are about to be made: who applies changes must look at their tables again."""
        store = CarriedStore(self._conn, self._name)
        for each in indexes:
            store.save(each)
        self._conn.execute(
            "update _cdc.mapped_table set revision = revision + 1 where pipeline = %s and table_name = any(%s)",
            [self._name, [each.table for each in indexes]],
        )

    def is_to_be_unique(self, table: str) -> bool:
        """Whether a unique index of this table is being made: it may refuse rows before it is seen."""
        return CarriedStore(self._conn, self._name).makes_unique(table)

    def detach(
        self, table: str, reason: str, kind: DetachedKind, *, position: str | None = None, offset: int | None = None,
        relearn: bool = False,
    ) -> None:
        """Let the stream pass by the table from `offset` (source: `position`) on.

        `relearn`: the connector must learn its columns from the source again before it is copied.

        For one that stands apart already only kind and reason change: its rows are as old as they were.
        """
        if kind not in get_args(DetachedKind):
            raise ValueError(f"table {table}: {kind!r} is none of {', '.join(get_args(DetachedKind))}")
        self._conn.execute(
            "update _cdc.mapped_table set kind = %s, reason = %s, state = 'detached', relearn = relearn or %s, "
            "since_position = case state when 'live' then %s else since_position end, "
            "since_offset = case state when 'live' then %s else since_offset end, "
            "since = case state when 'live' then clock_timestamp() else since end, "
            "skipped = case state when 'live' then 0 else skipped end "
            "where pipeline = %s and table_name = %s",
            [kind, reason, relearn, position, offset, self._name, table],
        )

    def attach(self, table: str) -> None:
        """Give the table back to the stream: its rows are now those of the source's state at the stream's position."""
        self._conn.execute(
            "update _cdc.mapped_table set state = 'live', kind = null, reason = null, relearn = false, "
            "since_position = null, since_offset = null, since = null, skipped = 0 "
            "where pipeline = %s and table_name = %s",
            [self._name, table],
        )

    def adopt(self, table: str, lane: str) -> None:
        """Take a table over from a lane's state: its mapping, its chunks, what the log said of its columns.

        A target table that it had before, under another name, is not claimed any more; it stays.
        """
        self._conn.execute(
            "delete from _cdc.claim c using _cdc.mapped_table old, _cdc.mapped_table new "
            "where old.pipeline = %(name)s and old.table_name = %(table)s and new.pipeline = %(lane)s "
            "and new.table_name = %(table)s and c.pipeline = %(name)s "
            "and (c.target_schema, c.target_name) = (old.target_schema, old.target_name) "
            "and (old.target_schema, old.target_name) <> (new.target_schema, new.target_name)",
            {"name": self._name, "lane": lane, "table": table},
        )
        self._conn.execute(
            "insert into _cdc.mapped_table as m "
            "(pipeline, table_name, target_schema, target_name, mapping, log_columns) select %s, table_name, "
            "target_schema, target_name, mapping, log_columns from _cdc.mapped_table "
            "where pipeline = %s and table_name = %s on conflict (pipeline, table_name) do update set "
            "target_schema = excluded.target_schema, target_name = excluded.target_name, mapping = excluded.mapping, "
            "log_columns = excluded.log_columns, revision = m.revision + 1",
            [self._name, lane, table],
        )
        self.attach(table)
        for name in ("chunk", "verified", "verify_walk"):
            self._conn.execute(
                sql.SQL("delete from _cdc.{} where pipeline = %s and table_name = %s").format(sql.Identifier(name)),
                [self._name, table],
            )
        self._conn.execute(
            "update _cdc.chunk set pipeline = %s where pipeline = %s and table_name = %s", [self._name, lane, table]
        )
        # The stream has passed by these, or has them as well.
        self._conn.execute(
            "insert into _cdc.schema_change (pipeline, table_name, kind, done, what, statement, place, digest, "
            "source_ms, at) select %s, table_name, kind, done, what, statement, place, digest, source_ms, at "
            "from _cdc.schema_change where pipeline = %s and table_name = %s order by number on conflict do nothing",
            [self._name, lane, table],
        )

    def table_marks(self) -> dict[str, tuple[int, str | None]]:
        """What changes with a table's place in the stream, by table: equal marks, equal tables."""
        rows = self._conn.execute(
            "select table_name, revision, kind from _cdc.mapped_table where pipeline = %s", [self._name]
        )
        return {table: (revision, kind) for table, revision, kind in rows}

    def learnt(self, table: str) -> None:
        """The connector knows the table's columns again."""
        self._conn.execute(
            "update _cdc.mapped_table set relearn = false where pipeline = %s and table_name = %s", [self._name, table]
        )

    def detached(self) -> dict[str, Detached]:
        """The tables that stand apart, by name."""
        rows = self._conn.execute(
            "select table_name, kind, reason, since_position, since_offset, since, skipped, relearn "
            "from _cdc.mapped_table where pipeline = %s and state = 'detached' order by table_name collate \"C\"",
            [self._name],
        )
        return {row[0]: Detached(*row) for row in rows}

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

    def drop_tables(self) -> list[str]:
        """Drop the pipeline's target tables. Returns their names; those that are gone already are not among them."""
        for table in self.mapped_tables():
            drop_foreign_keys(self._conn, self._name, table.name, "its table was dropped")
        return [
            f"{table.target_schema}.{table.target_name}"
            for table in self.mapped_tables()
            if ddl.drop_table(self._conn, table)
        ]
