"""What a schema event of the log means for the tables: what is asked of the applier, by the policies of the file.

The text of a DDL is never executed: the difference between the columns as the log described them before and after is.
"""

from collections.abc import Sequence

import msgspec

from cdc_pipelines.replication.catalog import Column, MappedTable, Table
from cdc_pipelines.replication.changes.batches import AddTable, Detach, Note, TableItem
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.stream.alteration import Alteration, CanNotFollowError
from cdc_pipelines.replication.stream.columns import difference, to_column
from cdc_pipelines.replication.stream.messages import TableChange, TableDefinition
from cdc_pipelines.replication.stream.schema_event import Event, Rules, describe


class Judge:
    """Judges one event. Every method gives what the applier is to do, in order."""

    def __init__(self, rules: Rules, pair: tuple[str, str], event: Event) -> None:
        self._rules, self._pair, self._event = rules, pair, event
        self.policies = rules.policies

    def stay_behind(self, table: str, kind: str, what: str, *, relearn: bool = False) -> Detach:
        """The table can't follow: it is detached, or the pipeline stops where the policy of `kind` says so."""
        stops = getattr(self.policies, kind) == "stop"
        return Detach(self._event.note(table, kind, "stopped" if stops else "detached", what), relearn, stops)

    def against_policy(self, table: str, kind: str, what: str) -> Detach | None:
        """A Detach where the policy of this kind does not let the change be followed."""
        return self.stay_behind(table, kind, what) if getattr(self.policies, kind) in ("resync", "stop") else None

    def created(self, schema: str, name: str, definition: TableDefinition) -> list[TableItem]:
        """A table was made. Empty where it is none of the pipeline's."""
        key = list(definition.primaryKeyColumnNames or [])
        columns = tuple(to_column(change, key, self._pair[0]) for change in definition.columns)
        index = "PRIMARY" if self._event.statement.adds_primary or not key else ""
        try:
            made = Table(schema, name, columns, tuple(key), key_index=index, versioned=self._event.statement.versioned)
            table = self._rules.new_table(made)
        except CdcError as error:
            return [Note([self._event.note(name, "create_table", "ignored", f"was made: {error.message}")])]
        if table is None:
            return []
        policy = self.policies.create_table
        if policy == "stop":
            return [self.stay_behind(name, "create_table", "was made")]
        if policy == "ignore":
            return [Note([self._event.note(name, "create_table", "ignored", "was made")])]
        note = self._event.note(name, "create_table", "applied", f"was made with {len(columns)} column(s)")
        items: list[TableItem] = [AddTable(table, describe(definition), [note])]
        if self._event.statement.takes_charset and (wrong := self._misread(name, columns)):
            # The connector does not hear of every ALTER DATABASE.
            what = f"has {', '.join(wrong)} in another character set than the log supposes"
            items.append(self.stay_behind(name, "unknown", what, relearn=True))
        return items

    def _misread(self, table: str, columns: Sequence[Column]) -> list[str]:
        if not any(column.charset for column in columns):
            return []
        now = self._rules.charsets_now(table)
        return [c.name for c in columns if c.charset and now.get(c.name, c.charset) != c.charset]

    def altered(self, table: MappedTable, known: str | None, change: TableChange) -> list[TableItem]:
        """A table's columns, or its key, may have changed."""
        if known is None or change.table is None:
            return [self.stay_behind(table.name, "unknown", "was changed, and the log never described its columns")]
        before = msgspec.json.decode(known, type=TableDefinition)
        if before == change.table and self._event.statement.verb in ("index", "rename"):
            return []
        found = difference(before, change.table, self._event.statement)
        if (unknown := self._event.statement.unknown) is not None:
            what = f"had something done that is not understood ({unknown})"
            # A text that is not in UTF-8: the connector has its names wrong.
            return [self.stay_behind(table.name, "unknown", what, relearn="\ufffd" in self._event.ddl)]
        if found.doubt:
            return [self.stay_behind(table.name, "unknown", found.doubt, relearn=True)]
        try:
            return list(Alteration(self._rules, self._event, self._pair, table, before, change.table, found).items())
        except CanNotFollowError as reason:
            return [self.stay_behind(table.name, reason.kind, reason.what)]
