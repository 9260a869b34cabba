"""Applies versions to a table of PostgreSQL that keeps its history, inside the caller's transaction.

Per key the open version is closed, then the new ones come. A version begins where the one before it ended, never
before that: the log's times are the statements' or whole seconds, and a clock may have been set back.
"""

import psycopg
from psycopg import sql

from cdc_pipelines.replication.changes import versions
from cdc_pipelines.replication.changes.batches import Batch, HistoryBatch, HistoryCopyBatch, KeyedBatch
from cdc_pipelines.replication.changes.rows import RowCodec, moment
from cdc_pipelines.replication.databases.postgres.ddl import table_name

_OPEN_BEFORE = """
    select {version} as version, coalesce({valid_to}, {valid_from}) as since from {table} h where {same}
    order by {version} desc limit 1
"""


class HistoryApplier:
    """Applies one table's batches."""

    unique = False
    """Only closed versions can be in a new one's way, and they are closed first."""

    def __init__(self, conn: psycopg.Connection, codec: RowCodec, number: int) -> None:
        self._conn, self._codec = conn, codec
        table = codec.table
        rules = table.rows
        self._loaded = table.loaded
        self._parts = {
            "table": table_name(table),
            "columns": sql.SQL(", ").join(sql.Identifier(name) for name, _ in table.landing),
            "stage": sql.Identifier(f"_cdc_versions_{number}"),
            "during": sql.Identifier(f"_cdc_during_{number}"),
            "valid_from": sql.Identifier(rules.valid_from),
            "valid_to": sql.Identifier(rules.valid_to),
            "version": sql.Identifier(rules.version),
            "stage_key": sql.SQL(", ").join(sql.Identifier(f"c{i}") for i in codec.key_indexes),
            "loaded": sql.SQL(", ").join(sql.Identifier(f"c{i}") for i in range(len(self._loaded))),
        }
        self._key = [sql.Identifier(table.columns[i].target_name) for i in codec.key_indexes]
        self._staged = False
        self._close, self._open = self._small_close(), self._small_open()

    def pack(self, batch: KeyedBatch | HistoryBatch) -> Batch:
        """As `apply` takes it quickest."""
        assert isinstance(batch, HistoryBatch)
        return versions.pack(self._codec, batch)

    def undone(self) -> None:
        """What was applied last was rolled back: stages that were made with it are gone."""
        self._staged = False

    def apply(self, batch: Batch) -> None:
        """Raises psycopg errors as they come."""
        if isinstance(batch, HistoryBatch):
            packed = self.pack(batch)
            if isinstance(packed, HistoryBatch):
                self._apply_small(packed)
                return
            batch = packed
        assert isinstance(batch, HistoryCopyBatch)
        self._apply_large(batch)

    # Small batches

    def _small_close(self) -> sql.Composed:
        # Raw placeholders, as a name may hold a percent sign.
        return sql.SQL(
            "update {table} h set {valid_to} = greatest($1::timestamptz, {valid_from}) where {same} and "
            "{valid_to} is null"
        ).format(**self._parts, same=self._is_key(2))

    def _small_open(self) -> sql.Composed:
        count = len(self._loaded)
        at, until = (sql.SQL(f"${n}") for n in (count + 1, count + 2))
        before = sql.SQL(_OPEN_BEFORE).format(**self._parts, same=self._is_key(count + 3))
        return sql.SQL(
            "insert into {table} ({columns}) overriding system value values ({values}, "
            "greatest({at}::timestamptz, (select since from ({before}) b)), "
            "case when {until}::timestamptz is not null "
            "then greatest({at}::timestamptz, {until}::timestamptz, (select since from ({before}) b)) end, "
            "coalesce((select version from ({before}) b), 0) + 1)"
        ).format(
            **self._parts, at=at, until=until, before=before,
            values=sql.SQL(", ").join([sql.SQL(f"${n}") for n in range(1, count + 1)]),
        )

    def _is_key(self, first: int) -> sql.Composed:
        """The key is that of the parameters from this one on."""
        return sql.SQL(" and ").join(
            sql.SQL("h.{} = ").format(column) + sql.SQL(f"${n}") for n, column in enumerate(self._key, first)
        )

    def _apply_small(self, batch: HistoryBatch) -> None:
        closed, opened = [], []
        for key, found in batch.versions.items():
            texts = self._codec.key_texts(key)
            times = [moment(batch.times[transaction]) for transaction, _ in found]
            closed.append([times[0], *texts])
            for (_, row), at, until in zip(found, times, [*times[1:], None], strict=True):
                if row is not None:
                    opened.append([*self._codec.texts(row), at, until, *texts])
        with psycopg.RawCursor(self._conn) as cursor:
            cursor.executemany(self._close, closed)
            if opened:
                cursor.executemany(self._open, opened)

    # Large batches

    def _apply_large(self, batch: HistoryCopyBatch) -> None:
        self._make_stages()
        statement = self._sql("copy {stage} from stdin")
        with self._conn.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(batch.lines)
        self._conn.execute(self._sql("analyze {stage}"))
        if batch.went_before is not None:
            self._conn.execute(self._sql(
                "delete from {table} h using {stage} s, {during} d where {same} and {of_part} and h.{valid_to} is null "
                "and s.txn = {txn} and d.txn = s.txn",
                of_part=self._same("d", "s"), txn=sql.Literal(batch.went_before),
            ))
        self._conn.execute(self._sql(
            "update {table} h set {valid_to} = greatest(s.at, h.{valid_from}) from {stage} s "
            "where s.place = 0 and {same} and h.{valid_to} is null"
        ))
        self._conn.execute(self._sql(
            """
            insert into {table} ({columns}) overriding system value
            select {loaded}, begins, ends, version + nth from (
                select s.*, coalesce(b.version, 0) as version, count(*) filter (where not gone) over so_far as nth,
                       greatest(b.since, max(at) over so_far) as begins,
                       case when lead(place) over of_key is not null
                            then greatest(b.since, max(at) over (of_key rows between unbounded preceding
                                                                 and 1 following)) end as ends
                from {stage} s left join lateral ({open_before}) b on true
                window of_key as (partition by {stage_key} order by place),
                       so_far as (partition by {stage_key} order by place rows unbounded preceding)
            ) v where not gone order by {stage_key}, nth
            """,
            open_before=sql.SQL(_OPEN_BEFORE).format(**self._parts, same=self._same("h", "s", ours=True)),
        ))
        if batch.goes_on is not None:
            self._conn.execute(self._sql(
                "insert into {during} select distinct {stage_key}, txn from {stage} where txn = {txn}",
                txn=sql.Literal(batch.goes_on),
            ))
        self._conn.execute(self._sql("truncate {stage}"))

    def _sql(self, template: str, **more: sql.Composable) -> sql.Composed:
        return sql.SQL(template).format(**self._parts, same=self._same("h", "s", ours=True), **more)

    def _same(self, one: str, other: str, *, ours: bool = False) -> sql.Composed:
        """Two tables have the same key; `ours`: the one is the target's."""
        return sql.SQL(" and ").join(
            sql.SQL("{}.{} = {}.{}").format(
                sql.Identifier(one), name if ours else sql.Identifier(f"c{i}"), sql.Identifier(other),
                sql.Identifier(f"c{i}"),
            )
            for i, name in zip(self._codec.key_indexes, self._key, strict=True)
        )

    def _make_stages(self) -> None:
        """`during` has the keys that the open transaction changed in the parts before; it ends with our own."""
        if self._staged:
            return
        columns = [sql.SQL("c{} {}").format(sql.SQL(str(i)), sql.SQL(kind)) for i, (_, kind) in enumerate(self._loaded)]
        key = [columns[i] for i in self._codec.key_indexes]
        told = [sql.SQL(text) for text in ("at timestamptz", "place integer", "gone boolean", "txn bigint")]
        ours = " on commit delete rows"
        for stage, of, ends in (("stage", [*columns, *told], ""), ("during", [*key, told[-1]], ours)):
            name = self._parts[stage]
            self._conn.execute(sql.SQL("drop table if exists pg_temp.{}").format(name))
            self._conn.execute(
                sql.SQL("create temporary table {} ({}){}").format(name, sql.SQL(", ").join(of), sql.SQL(ends))
            )
        self._staged = True
