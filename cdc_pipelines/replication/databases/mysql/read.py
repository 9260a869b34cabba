"""One session of a snapshot: small queries for planning and verifying, and the bulk reading of key ranges."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.mysql.ranges import KeyRange, where_sql
from cdc_pipelines.replication.databases.mysql.reader import Reader, Row
from cdc_pipelines.replication.databases.mysql.row_filter import filter_sql
from cdc_pipelines.replication.databases.mysql.sql import bind, quote, quote_table
from cdc_pipelines.replication.values import forms_of
from cdc_pipelines.replication.values.form import Form
from cdc_pipelines.replication.values.mysql_bytes import GEOMETRIES

BATCH_ROWS = 5000

_LARGE = {"text", "mediumtext", "longtext", "blob", "mediumblob", "longblob", "json", "vector", *GEOMETRIES}
_SIZED = {"char", "varchar", "binary", "varbinary"}
_NARROW = 4000  # characters: 5000 rows of at most that are no burden


class SnapshotSession:
    """A session that sees the source at the snapshot's position. One thread at a time."""

    def __init__(self, reader: Reader, flavor: str, target: str = "postgres") -> None:
        self.reader = reader
        self.flavor = flavor
        self._target = target
        self._prepared: set[str] = set()
        self.taken_at = self._now()
        """When the snapshot was taken, by the source's clock: the target's text input of a `timestamptz`."""

    def _now(self) -> str:
        return str(self.reader.query("select concat(utc_timestamp(6),'+00')")[0][0])

    def prepare(self, forms: Sequence[Form]) -> None:
        """Let the session evaluate the forms' SQL."""
        for statement in dict.fromkeys(each for form in forms for each in form.session):
            if statement not in self._prepared:
                self.reader.execute(statement)
                self._prepared.add(statement)

    def query(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a small result, decoded as `Reader.query` says.

        `%s` outside quotes is a placeholder; a percent sign anywhere else is itself and is never doubled.
        """
        return self.reader.query(bind(sql, params))

    def read(self, table: MappedTable, where: KeyRange) -> Iterator[list[Row]]:
        """The rows of a key range in lists of at most 5000, every value as the target's text input (or None).

        Columns are those of `table.columns`, in their order; rows come in no promised order. An error in mid-read
        raises (RetryableError or ConfigurationError): what came before it is not the whole range.
        """
        return self.read_where(table, *where_sql(where))

    def read_where(self, table: MappedTable, condition: str, params: Sequence[Any]) -> Iterator[list[Row]]:
        """As `read`, the rows for which a condition of our own is true; `params` stand for its `%s`.

        Rows that the table's filter leaves out are not among them.
        """
        forms = forms_of(table.columns, self.flavor, self._target, table.name)
        self.prepare(forms)
        shown = ", ".join(f.read.format(c=quote(c.source.name)) for f, c in zip(forms, table.columns, strict=True))
        only = filter_sql(table, self.flavor, self._target)
        where = f"({condition}) and {only}" if only else condition
        sql = bind(f"select {shown} from {self._from(table)} where {where}", tuple(params))  # noqa: S608
        batches = self.reader.batches(sql, BATCH_ROWS, f"table {table.name}", _heavy(table))
        turns = [(i, form.copied) for i, form in enumerate(forms) if form.copied is not None]
        return _turned(batches, turns) if turns else batches

    @staticmethod
    def _from(table: MappedTable) -> str:
        return quote_table(table.source.schema, table.source.name)

    def close(self) -> None:
        self.reader.close()


def _turned(batches: Iterator[list[Row]], turns: Sequence[tuple[int, Callable[[bytes], bytes]]]) -> Iterator[list[Row]]:
    """The rows with some of their values turned into the target's text here, which the server can't do."""
    try:
        for batch in batches:
            rows = [list(row) for row in batch]
            for i, turn in turns:
                for row in rows:
                    value = row[i]
                    if value is not None:
                        row[i] = turn(value)
            yield [tuple(row) for row in rows]
    finally:
        batches.close()  # type: ignore[attr-defined]  # abandoned in mid-result: the session has to know


def _heavy(table: MappedTable) -> list[int]:
    """Places of the columns that can make a row large; none where no row can be."""
    large = [i for i, c in enumerate(table.columns) if c.source.type in _LARGE]
    sized = [i for i, c in enumerate(table.columns) if c.source.type in _SIZED]
    if sum(table.columns[i].source.length or 0 for i in sized) > _NARROW:
        large += sized
    return large
