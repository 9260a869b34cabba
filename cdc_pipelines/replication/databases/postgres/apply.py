"""Applies folded changes to PostgreSQL inside the caller's transaction.

A small batch goes out as pipelined statements, so that one change is visible within milliseconds; a large one is
staged with COPY. Per table all deletes come before all upserts. Values travel as text without a type: the server
takes the column's (an explicit cast to `varchar(n)` would cut a long value silently; this way it is an error).
"""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.changes.batches import (
    SMALL,
    Batch,
    CopyBatch,
    HistoryBatch,
    KeyedBatch,
    OrderedBatch,
    Row,
)
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.errors import IntegrityError

_RETRY_FRESH_AFTER = 20  # batches without optimism after one that met existing rows


def _conditions(template: LiteralString, columns: Sequence[sql.Identifier]) -> sql.Composed:
    """`template` with each column, compared with $1, $2, …; raw placeholders, as a name may hold a percent sign."""
    return sql.SQL(" and ").join(
        sql.SQL(template).format(column) + sql.SQL(f"${n}")
        for n, column in enumerate(columns, 1)
    )


class TableApplier:
    """Applies one table's batches. `unique` says that the target has secondary unique indexes on it."""

    def __init__(self, conn: psycopg.Connection, codec: RowCodec, number: int, *, unique: bool) -> None:
        self._conn = conn
        self._codec = codec
        self._unique = unique
        self._pessimism = 0
        table: MappedTable = codec.table
        self._name = sql.Identifier(table.target_schema, table.target_name)
        self._stage = sql.Identifier(f"_cdc_stage_{number}")
        self._gone = sql.Identifier(f"_cdc_gone_{number}")
        self._staged = False
        self._columns = [sql.Identifier(name) for name, _ in table.landing]
        self._types = [sql.SQL(kind) for _, kind in table.landing]
        self._told = len(table.columns)  # the first ones are the source's; only they tell a row
        self._key = [self._columns[i] for i in codec.key_indexes]
        self._list = sql.SQL(", ").join(self._columns)
        self._prepare()

    @property
    def unique(self) -> bool:
        return self._unique

    def pack(self, batch: KeyedBatch | HistoryBatch) -> Batch:
        """As `apply` takes it quickest."""
        assert isinstance(batch, KeyedBatch)
        return self._codec.pack(batch)

    def undone(self) -> None:
        """What was applied last was rolled back: stages that were made with it are gone."""
        self._staged = False

    def _prepare(self) -> None:
        values = sql.SQL(", ").join([sql.SQL(f"${n}") for n in range(1, len(self._columns) + 1)])
        insert = sql.SQL("insert into {} ({}) overriding system value").format(self._name, self._list)
        self._insert_values = sql.SQL("{} values ({})").format(insert, values)
        self._insert_stage = sql.SQL("{} select {} from {}").format(insert, self._list, self._stage)
        if self._key:
            order = sql.SQL(", ").join(self._key)
            rest = [c for i, c in enumerate(self._columns) if i not in self._codec.key_indexes]
            conflict = sql.SQL(" on conflict ({}) do ").format(order) + (
                sql.SQL("update set ") + sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(c) for c in rest)
                if rest
                else sql.SQL("nothing")
            )
            self._upsert_values = self._insert_values + conflict
            # In key order the index is walked, not jumped through.
            self._upsert_stage = self._insert_stage + sql.SQL(" order by {}").format(order) + conflict
            self._delete_key = sql.SQL("delete from {} where {}").format(
                self._name,
                _conditions("{} = ", self._key),
            )
            self._delete_gone, self._delete_stage = (
                sql.SQL("delete from {0} using {1} where {2}").format(
                    self._name,
                    keys,
                    sql.SQL(" and ").join(sql.SQL("{0}.{2} = {1}.{2}").format(self._name, keys, c) for c in self._key),
                )
                for keys in (self._gone, self._stage)
            )
        self._delete_one = sql.SQL("delete from {0} where ctid = (select ctid from {0} where {1} limit 1)").format(
            self._name,
            _conditions("{} is not distinct from ", self._columns[: self._told]),
        )

    def apply(self, batch: Batch) -> None:
        """Raises psycopg errors as they come; IntegrityError where a keyless change hits no row."""
        match batch:
            case KeyedBatch():
                self._apply_small(batch)
            case CopyBatch():
                self._apply_large(batch)
            case OrderedBatch():
                self._apply_ordered(batch)

    # Small batches

    def _apply_small(self, batch: KeyedBatch) -> None:
        rows = [row for row in batch.images.values() if row is not None]
        # An upsert would meet other rows' unique values: make room for all first.
        gone = [key for key, row in batch.images.items() if row is None or self._unique]
        with psycopg.RawCursor(self._conn) as cursor:
            if gone:
                cursor.executemany(self._delete_key, [self._codec.key_texts(key) for key in gone])
            if rows:
                statement = self._insert_values if self._unique else self._upsert_values
                cursor.executemany(statement, [self._codec.texts(row) for row in rows])

    # Large batches

    def _apply_large(self, batch: CopyBatch) -> None:
        if batch.fresh and not self._unique and self._insert_fresh(batch.rows):
            return
        self._make_stages()
        if batch.gone:
            self._copy(self._gone, self._key, batch.gone)
            self._conn.execute(self._delete_gone)
            self._conn.execute(sql.SQL("truncate {}").format(self._gone))
        if batch.rows:
            self._copy(self._stage, self._columns, batch.rows)
            if self._unique:  # as above
                self._conn.execute(self._delete_stage)
            self._conn.execute(self._insert_stage if self._unique else self._upsert_stage)
            self._conn.execute(sql.SQL("truncate {}").format(self._stage))

    def _insert_fresh(self, rows: bytes) -> bool:
        """Straight into the table, where every row was inserted on the source and so is new here, unless replayed."""
        if self._pessimism > 0:
            self._pessimism -= 1
            return False
        try:
            with self._conn.transaction():
                self._copy(self._name, self._columns, rows)
        except psycopg.errors.UniqueViolation:
            self._pessimism = _RETRY_FRESH_AFTER
            return False
        return True

    def _make_stages(self) -> None:
        if self._staged:
            return
        for stage, indexes in ((self._stage, range(len(self._columns))), (self._gone, self._codec.key_indexes)):
            columns = sql.SQL(", ").join(sql.SQL("{} {}").format(self._columns[i], self._types[i]) for i in indexes)
            self._conn.execute(sql.SQL("drop table if exists pg_temp.{}").format(stage))
            self._conn.execute(sql.SQL("create temporary table {} ({})").format(stage, columns))
        self._staged = True

    def _copy(self, name: sql.Identifier, columns: Sequence[sql.Identifier], lines: bytes) -> None:
        statement = sql.SQL("copy {} ({}) from stdin").format(name, sql.SQL(", ").join(columns))
        with self._conn.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(lines)

    # Tables without a key

    def _apply_ordered(self, batch: OrderedBatch) -> None:
        """One row per event and in order; neighbouring inserts go together."""
        pending: list[Row] = []
        with psycopg.RawCursor(self._conn) as cursor:
            for before, after in batch.changes:
                if before is not None:
                    self._insert_all(cursor, pending)
                    cursor.execute(self._delete_one, self._codec.texts(before)[: self._told])
                    if cursor.rowcount != 1:
                        table = self._codec.table
                        raise IntegrityError(
                            f"table {table.name} (no key): a changed or deleted row of the source is not in "
                            f"{table.target_schema}.{table.target_name}",
                            "the target was changed by someone else; `cdc verify NAME` shows the difference, "
                            "`cdc start NAME --force-resync` copies again.",
                        )
                if after is not None:
                    pending.append(after)
            self._insert_all(cursor, pending)

    def _insert_all(self, cursor: psycopg.Cursor, rows: list[Row]) -> None:
        if len(rows) > SMALL:
            self._copy(self._name, self._columns, self._codec.copy_text(rows))
        elif rows:
            cursor.executemany(self._insert_values, [self._codec.texts(row) for row in rows])
        rows.clear()
