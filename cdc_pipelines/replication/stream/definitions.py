"""The replicated tables as the log describes them where it is being read: their codecs, and what DDL changes."""

from collections.abc import Collection, Iterator, Sequence

import msgspec

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.changes.batches import (
    AddTable,
    Detach,
    Learn,
    Note,
    Redefine,
    RemoveTable,
    RenameTable,
    TableItem,
    Truncate,
)
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.stream.ddl_statements import parse
from cdc_pipelines.replication.stream.ddl_tokens import Name
from cdc_pipelines.replication.stream.messages import Message, SourceBlock, TableChange
from cdc_pipelines.replication.stream.overlap import Overlap
from cdc_pipelines.replication.stream.schema_changes import Judge
from cdc_pipelines.replication.stream.schema_event import Event, Rules, describe


class Definitions:
    """One pipeline's tables. `known` is what the log said of their columns last, per table.

    The stream passes by those of `detached`: they have no codec, and no schema change of theirs is judged.
    """

    def __init__(
        self, database: str, pair: tuple[str, str], tables: Sequence[MappedTable], known: dict[str, str],
        overlap: Overlap, rules: Rules, detached: Collection[str] = (),
    ) -> None:
        self._database, self._pair, self._overlap, self._rules = database, pair, overlap, rules
        self._known = dict(known)
        self._folds = any(table.source.folded for table in tables)
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

    def learnt(self, message: Message) -> Iterator[Learn]:
        """What the connector says of the tables as it finds them; nothing has changed."""
        assert message.source is not None
        for change in message.tableChanges or ():
            name = self._name(change, message.source)
            if self.codec(*name) is not None or self.stands_apart(*name):
                yield from self._learn(name[1], change)

    def truncated(self, message: Message, place: Place) -> Iterator[Truncate | TableItem]:
        """What is to be done about a TRUNCATE."""
        source = message.source
        assert source is not None
        codec = self.codec(source.db, source.table)
        if codec is None:
            return
        ranges = self._overlap.reached_by_truncate(codec.name, place)
        if ranges == []:
            return
        ddl = f"truncate table {codec.name}"
        event = Event(parse(ddl), ddl, place, source.ts_ms)
        against = Judge(self._rules, self._pair, event).against_policy(codec.name, "truncate", "was truncated")
        if against is not None:
            yield from self._taken([against])
        elif self._rules.policies.truncate == "ignore":
            yield Note([event.note(codec.name, "truncate", "ignored", "was truncated")])
        else:
            yield Truncate(codec.name, ranges, at_ms=source.ts_ms)

    def changes(self, message: Message, place: Place) -> Iterator[Learn | TableItem]:
        """What a schema event changes.

        Rows that were read before an item must be packed before the next one is asked for: until then the table's codec
        is the old one.
        """
        source = message.source
        assert source is not None
        if source.db not in (self._database, "", None):
            return
        ddl = message.ddl or ""
        statement = parse(ddl)
        event = Event(statement.folded() if self._folds else statement, ddl, place, source.ts_ms)
        judge = Judge(self._rules, self._pair, event)
        yield from self._by_text(judge, event)
        for change in message.tableChanges or ():
            database, name = self._name(change, source)
            if database == self._database:
                yield from self._taken(self._of_table(judge, event, name, change))
                yield from self._learn(name, change)

    def _name(self, change: TableChange, source: SourceBlock) -> tuple[str, str]:
        """(database, table) as rows have them: of a new table Debezium gives the name as the statement writes it."""
        database, table = change.name(source)
        return (database.lower(), table.lower()) if self._folds else (database, table)

    # What the text alone tells

    def _by_text(self, judge: Judge, event: Event) -> Iterator[TableItem]:
        statement = event.statement
        for old, new in statement.renames:
            yield from self._taken(self._renamed(judge, event, old, new))
        if statement.verb == "drop_database" and statement.table == (self._database, ""):
            for name in list(self._codecs):
                yield from self._taken([judge.stay_behind(name, "moved_rows", "was dropped with its database")])
        for moved in (statement.table, statement.exchanged):
            if statement.moves_rows and (ours := self._ours(moved)):
                what = f"had rows changed that the log does not tell ({statement.moves_rows})"
                yield from self._taken([judge.stay_behind(ours, "moved_rows", what)])
        if statement.replaces and (ours := self._ours(statement.table)):
            # Debezium goes on with the columns of the table that was replaced.
            yield from self._taken([judge.stay_behind(ours, "moved_rows", "was replaced", relearn=True)])
        if statement.verb == "index" and (ours := self._ours(statement.table)):
            yield from self._taken(self._indexed(judge, event, self._codecs[ours].table))

    def _ours(self, name: Name | None) -> str | None:
        """The table's name, where it is one of the pipeline's. The event's own database is not in the name."""
        if name is None or name[0] not in (None, self._database) or name[1] not in self._codecs:
            return None
        return name[1]

    def _renamed(self, judge: Judge, event: Event, old: Name, new: Name) -> list[TableItem]:
        before, there = self._ours(old), self._ours(new)
        if before is None:
            # Its rows were never in the log. What the connector knows of its columns may be wrong as well.
            what = "got its name from a table that is not replicated"
            return [judge.stay_behind(there, "rename_table", what, relearn=True)] if there else []
        table = self._codecs[before].table
        if self._is_copied_later(before, event.place):
            return []
        what = f"was renamed to {new[1]}"
        source = msgspec.structs.replace(table.source, name=new[1])
        wanted = self._rules.new_table(source) if new[0] in (None, self._database) else None
        if wanted is not None and wanted.rows.asked != table.rows.asked:
            what = f"{what}, of which the file wants other rows"
            return [judge.stay_behind(before, "rename_table", what)]
        if wanted is None or there is not None or self.stands_apart(self._database, new[1]):
            return [judge.stay_behind(before, "rename_table", f"{what}, which is not replicated")]
        if any(each.shaped or each.added for each in (table, wanted)):
            return [judge.stay_behind(before, "rename_table", f"{what}, and the file shapes it by its name")]
        against = judge.against_policy(before, "rename_table", what)
        if against is not None:
            return [against]
        after = msgspec.structs.replace(table, source=source, target_name=wanted.target_name)
        return [RenameTable(table, after, [event.note(before, "rename_table", "applied", what)])]

    def _indexed(self, judge: Judge, event: Event, table: MappedTable) -> list[TableItem]:
        key = table.source
        if key.key and key.key_index != "PRIMARY" and event.statement.may_drop(key.key_index):
            return [judge.stay_behind(table.name, "change_key", "may have lost the index that its key is")]
        return [Note([event.note(table.name, "metadata", "nothing", "has other indexes")])]

    # What the columns tell

    def _of_table(self, judge: Judge, event: Event, name: str, change: TableChange) -> list[TableItem]:
        if name in self._detached:
            return []  # a lane looks after it
        codec = self._codecs.get(name)
        if codec is not None and self._is_copied_later(name, event.place):
            return []  # a chunk copied after this change has it already, and so has the mapping
        if change.type == "DROP":
            return self._dropped(judge, event, name, "was dropped") if codec is not None else []
        if change.type == "CREATE" and change.table is not None:
            # One that we still have went away unseen, into another database.
            gone = [] if codec is None else self._dropped(judge, event, name, "is another table now")
            if any(isinstance(item, Detach) for item in gone):
                return gone
            return gone + judge.created(self._database, name, change.table)
        if codec is None:
            return []
        if not self._overlap.passed and self._overlap.reached_by_truncate(name, event.place) is not None:
            return [judge.stay_behind(name, "unknown", "was changed while it was being copied")]
        return judge.altered(codec.table, self._known.get(name), change)

    def _is_copied_later(self, table: str, place: Place) -> bool:
        return not self._overlap.passed and self._overlap.reached_by_truncate(table, place) == []

    def _dropped(self, judge: Judge, event: Event, name: str, what: str) -> list[TableItem]:
        against = judge.against_policy(name, "drop_table", what)
        if against is not None:
            return [against]
        drops = self._rules.policies.drop_table == "apply"
        note = event.note(name, "drop_table", "applied" if drops else "kept", what)
        return [RemoveTable(self._codecs[name].table, drops, [note])]

    # What follows from it here

    def _taken(self, items: Sequence[TableItem]) -> Iterator[TableItem]:
        """The items, each taken over here once it was handed out."""
        for item in items:
            yield item
            match item:
                case Redefine():
                    self._codecs[item.after.name] = RowCodec(item.after, *self._pair)
                case AddTable():
                    self._codecs[item.table.name] = RowCodec(item.table, *self._pair)
                    self._known[item.table.name] = item.columns
                case RemoveTable():
                    self._forget(item.table.name)
                case Detach():
                    self._forget(item.table)
                    self._detached |= {item.table}
                case RenameTable():
                    if (known := self._known.get(item.before.name)) is not None:
                        self._known[item.after.name] = known
                    self._forget(item.before.name)
                    self._codecs[item.after.name] = RowCodec(item.after, *self._pair)

    def _forget(self, table: str) -> None:
        self._codecs.pop(table, None)
        self._known.pop(table, None)

    def _learn(self, table: str, change: TableChange) -> Iterator[Learn]:
        if change.table is None or not (table in self._codecs or table in self._detached):
            return  # a DROP
        text = describe(change.table)
        if self._known.get(table) != text:
            self._known[table] = text
            yield Learn(table, text)
