"""How MySQL and MariaDB spell the pieces of a checksum."""

from collections.abc import Sequence
from typing import Any, Literal

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable
from cdc_pipelines.replication.databases.checksum import EVERYTHING, Salt, Span, TableChecksum, Totals
from cdc_pipelines.replication.databases.mysql.ranges import KeyRange, is_exact, walk, where_sql
from cdc_pipelines.replication.databases.mysql.read import SnapshotSession
from cdc_pipelines.replication.databases.mysql.row_filter import filter_sql
from cdc_pipelines.replication.databases.mysql.sql import literal, quote, quote_table
from cdc_pipelines.replication.values import forms_of
from cdc_pipelines.replication.values.form import Form

# Rows of one query that gives nothing before its end: at 50,000 rows/s it answers within the sessions' read timeout.
_ROWS_PER_QUERY = 10_000_000


class MySqlChecksum(TableChecksum):
    """A source table, seen by a snapshot's session."""

    INTEGER = "signed"

    def __init__(
        self, session: SnapshotSession, table: MappedTable, target: str, salt: Salt, by: Literal["modulo", "digest"]
    ) -> None:
        self._session = session
        self._filter = filter_sql(table, session.flavor, target)
        forms = forms_of(table.columns, session.flavor, target, table.name)
        session.prepare(forms)
        super().__init__(table, forms, salt, by)

    def buckets(self, count: int, span: Span = EVERYTHING) -> dict[int, Totals]:
        if self._by == "modulo" or self.table.source.rows_estimate <= _ROWS_PER_QUERY:
            return super().buckets(count, span)
        # Cut by this server's own order of keys, whatever that is: the sums of all parts are those of the table.
        found: dict[int, Totals] = {}
        for part in walk(self._session, self.table, _ROWS_PER_QUERY, 10_000):
            where, params = where_sql(part)
            rows = self._run(
                f"select {self._bucket(count)}, count(*), sum({self._row_number}) "  # noqa: S608
                f"from {self._from} where {self._narrowed(where)} group by 1",
                params,
            )
            for bucket, *totals in rows:
                found[int(bucket)] = found.get(int(bucket), Totals()).plus(Totals(*map(int, totals)))
        return found

    def _run(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._session.query(sql, tuple(params))

    def _name(self, column: MappedColumn) -> str:
        return quote(column.source.name)

    @property
    def _from(self) -> str:
        return quote_table(self.table.source.schema, self.table.source.name)

    @property
    def _only(self) -> str:
        return self._filter

    def _canonical(self, form: Form) -> str:
        return form.source_canonical

    def _where(self, span: Span) -> tuple[str, Sequence[Any]]:
        return where_sql(KeyRange(self.table.source.key, span.lower, span.upper))

    def _sha256(self, text: str) -> str:
        return f"sha2({text}, 256)"

    def _number(self, text: str) -> str:
        return f"cast(conv(left(sha2({text}, 256), 15), 16, 10) as unsigned)"

    def _literal(self, text: str) -> str:
        return literal(text)

    def _as_text(self, value: str) -> str:
        return f"concat({value})"


def has_ranges(table: MappedTable) -> bool:
    """Whether key ranges hold the same rows on both sides: integers alone, and none that lands as a boolean."""
    return is_exact(table) and not any(column.target_type == "boolean" for column in table.key)
