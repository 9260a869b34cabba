"""The replicated tables as the log describes them where it is being read: their codecs, and what DDL changes."""

from collections.abc import Collection, Iterator, Sequence

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.stream import schema_changes
from cdc_pipelines.replication.stream.batches import Learn, Redefine
from cdc_pipelines.replication.stream.messages import Message, TableChange
from cdc_pipelines.replication.stream.overlap import Overlap
from cdc_pipelines.replication.stream.rows import RowCodec


class Definitions:
    """One pipeline's tables. `known` is what the log said of their columns last, per table.

    The stream passes by those of `detached`: they have no codec, and no schema change of theirs is judged.
    """

    def __init__(
        self, database: str, pair: tuple[str, str], tables: Sequence[MappedTable], known: dict[str, str],
        overlap: Overlap, detached: Collection[str] = (),
    ) -> None:
        self._database, self._pair, self._overlap = database, pair, overlap
        self._known = dict(known)
        self._detached = frozenset(detached)
        self._codecs = {table.name: RowCodec(table, *pair) for table in tables if table.name not in self._detached}

    def codec(self, database: str | None, table: str | None) -> RowCodec | None:
        """The codec of a table's rows; None where the table is none of the pipeline's, or stands apart."""
        return self._codecs.get(table or "") if database == self._database else None

    def stands_apart(self, database: str | None, table: str | None) -> bool:
        """Whether it is one of the pipeline's tables that the stream passes by."""
        return table in self._detached and database == self._database

    def named(self, table: str) -> RowCodec:
        """The codec of one of the pipeline's tables."""
        return self._codecs[table]

    def changes(self, message: Message, place: Place, *, snapshot: bool) -> Iterator[Learn | Redefine]:
        """What a schema event changes. `snapshot`: it is of the connector's own look at the tables as they are.

        Rows that were read before a Redefine must be packed before the next item is asked for: until then the table's
        codec is the old one. Raises UnsupportedChangeError for a change that is not followed.
        """
        source, ddl = message.source, message.ddl or ""
        assert source is not None
        if not snapshot and source.db in (self._database, "", None):
            schema_changes.require_harmless([codec.table for codec in self._codecs.values()], ddl)
        for change in message.tableChanges or ():
            codec = self.codec(*change.name)
            if codec is not None and not snapshot:
                yield from self._redefine(codec.table, change, ddl, place)
            if codec is not None or self.stands_apart(*change.name):
                yield from self._learn(change.name[1], change)

    def _learn(self, table: str, change: TableChange) -> Iterator[Learn]:
        if change.table is None:
            return  # the DROP that comes before each CREATE of a schema snapshot
        text = schema_changes.describe(change.table)
        if self._known.get(table) != text:
            self._known[table] = text
            yield Learn(table, text)

    def _redefine(self, table: MappedTable, change: TableChange, ddl: str, place: Place) -> Iterator[Redefine]:
        # A chunk copied after this change has the new columns already, and so has the mapping.
        copied_after = not self._overlap.passed and self._overlap.reached_by_truncate(table.name, place) == []
        added = [] if copied_after else schema_changes.added_columns(table, self._known.get(table.name), change, ddl)
        if added and table.whole:
            after, literals = schema_changes.with_columns(table, added, *self._pair, ddl)
            yield Redefine(table, after, literals)
            self._codecs[table.name] = RowCodec(after, *self._pair)
