"""One table's change from one definition to the next: what the target's table is to become, and what of its rows."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable
from cdc_pipelines.replication.changes import conversions
from cdc_pipelines.replication.changes.batches import Note, Redefine, SchemaChange, TableItem
from cdc_pipelines.replication.column_shape import NO_SHAPE
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.row_filter.language import columns_of, parse
from cdc_pipelines.replication.row_shape import settings_of
from cdc_pipelines.replication.schema_policy import SchemaChanges
from cdc_pipelines.replication.stream.columns import Difference, renumbers, to_column
from cdc_pipelines.replication.stream.messages import ColumnChange, TableDefinition
from cdc_pipelines.replication.stream.new_columns import NotToldError, filler, is_generated
from cdc_pipelines.replication.stream.schema_event import Done, Event, Rules
from cdc_pipelines.replication.values import form_for, heeded


class CanNotFollowError(Exception):
    """The table must be copied anew, or the pipeline stops: as the policy of `kind` says."""

    def __init__(self, kind: str, what: str) -> None:
        self.kind, self.what = kind, what
        super().__init__(what)


@dataclass
class Alteration:
    """One table's change from one definition to the next."""

    rules: Rules
    event: Event
    pair: tuple[str, str]
    table: MappedTable
    before: TableDefinition
    after: TableDefinition
    found: Difference
    notes: list[SchemaChange] = field(default_factory=list)

    @property
    def policies(self) -> SchemaChanges:
        return self.rules.policies

    def items(self) -> Iterator[TableItem]:
        table, found = self.table, self.found
        self._judge_names()
        self._judge_shape()
        change = Redefine(table, self._after(), self.notes, drops=self.policies.drop_column == "apply")
        change.origins = {
            column.source.name: found.origins[column.source.name]
            for column in change.after.columns if column.source.name in found.origins
        }
        new = {column.name: column for column in self.after.columns}
        for name in found.added if table.whole else ():
            change.literals[name] = self._filler(new[name])
        change.questions = list(self._questions())
        if not self.notes:
            self._note("metadata", "nothing", "changed in nothing that its rows depend on")
        same = change.after == table and not found.added and not found.dropped
        yield Note(self.notes) if same else change

    def _note(self, kind: str, done: Done, what: str) -> None:
        self.notes.append(self.event.note(self.table.name, kind, done, what))

    def _judge_names(self) -> None:
        """Columns that came, went, or got another name; and the key. What the policies do not allow is raised."""
        found, mapped = self.found, {c.source.name for c in self.table.columns}
        added = found.added if self.table.whole else []
        dropped = [name for name in found.dropped if name in mapped]
        renamed = {new: old for new, old in found.renamed.items() if old in mapped}
        if renamed and not self.table.whole:
            listed = ", ".join(renamed.values())
            raise CanNotFollowError("rename_column", f"has new names for {listed}, which the file lists")
        again = [name for name in added if name in dropped]
        kept = "kept" if self.policies.drop_column == "ignore" else "applied"
        for kind, names, what, done in (
            ("add_column", added, f"gained {', '.join(added)}", "applied"),
            ("drop_column", dropped, f"lost {', '.join(dropped)}", "applied" if again == dropped else kept),
            ("rename_column", renamed, "has " + ", ".join(f"{n} for {o}" for n, o in renamed.items()), "applied"),
            ("change_key", found.key_changes, f"has the key ({', '.join(self._key()) or 'none'})", "applied"),
        ):
            if names:
                if getattr(self.policies, kind) in ("resync", "stop"):
                    raise CanNotFollowError(kind, what)
                self._note(kind, done, what)  # type: ignore[arg-type]
        key = self.table.source
        lost = key.key_index != "PRIMARY" and self.event.statement.may_drop(key.key_index)
        if key.key and lost and not found.key_changes:
            raise CanNotFollowError("change_key", "may have lost the index that its key is")

    def _judge_shape(self) -> None:
        """What the table's filter asks must stay what it is; and rows that are marked as deleted need their key."""
        rows, found = self.table.rows, self.found
        names = columns_of(parse(rows.where)) if rows.where else []
        now = {old: new for new, old in found.origins.items()}
        new = {column.name: column for column in self.after.columns}
        for name in names:
            if name not in now:
                raise CanNotFollowError("drop_column", f"lost {name}, which shape.{self.table.name}.where asks")
            if now[name] != name:
                what = f"has {now[name]} for {name}, which shape.{self.table.name}.where asks"
                raise CanNotFollowError("rename_column", what)
            if _shape(self._old(_of(self.before, name))) != _shape(self._now(new[name])):
                raise CanNotFollowError(
                    "change_column", f"has another type for {name}, which shape.{self.table.name}.where asks"
                )
        for setting, name in settings_of(rows).items():
            if name in new and found.origins.get(name) != name:
                raise CanNotFollowError("add_column", f"gained {name}, which is shape.{self.table.name}.{setting}")
        if rows.soft and found.key_changes and not self._key():
            raise CanNotFollowError("change_key", "has no key any more, which its soft deletes need")
        if rows.history and found.key_changes:
            raise CanNotFollowError("change_key", "has another key, by which its history is not kept")

    def _key(self) -> list[str]:
        return list(self.after.primaryKeyColumnNames or [])

    # What the table is afterwards

    def _after(self) -> MappedTable:
        """In the source's order of columns. Columns that are not replicated stay so."""
        table = self.table
        mapped = {c.source.name: c for c in table.columns}
        columns, sources = [], []
        for change in self.after.columns:
            origin = self.found.origins.get(change.name)
            before = mapped.get(origin) if origin is not None else None
            source = self._column(change, origin)
            sources.append(source)
            if before is not None:
                keeps = source.name == before.source.name or self._is_chosen(before)
                name = before.target_name if keeps else self._name(source.name)
                columns.append(self._mapped(source, name, before))
            elif table.whole and origin is None:
                columns.append(self._mapped(source, self._name(source.name), None))
        key = self._key_after({c.source.name for c in columns})
        self._judge_shapes(columns, key)
        names = {column.target_name for column in columns}
        gone = [c.target_name for c in table.columns if c.source.name not in self.found.origins.values()]
        kept = table.kept if self.policies.drop_column == "apply" else (*table.kept, *gone)
        index = table.source.key_index
        if self.event.statement.adds_primary or (not index and not key):
            index = "PRIMARY"
        elif self.found.key_changes:
            index = ""
        after = msgspec.structs.replace(table.source, columns=tuple(sources), key=key, key_index=index)
        return msgspec.structs.replace(
            table, columns=tuple(columns), source=after, kept=tuple(name for name in kept if name not in names)
        )

    def _name(self, name: str) -> str:
        try:
            return self.rules.column_name(name)
        except CdcError as error:
            raise CanNotFollowError("add_column", f"has column {name} now: {error.message}") from error

    def _is_chosen(self, column: MappedColumn) -> bool:
        """Whether the file gave the column its name on the target."""
        try:
            return column.target_name != self.rules.column_name(column.source.name)
        except CdcError:
            return True

    def _judge_shapes(self, columns: list[MappedColumn], key: tuple[str, ...]) -> None:
        """No column may come in clear under a name that the file shapes, nor take the name of one of ours."""
        added = {column.name for column in self.table.added}
        for column in columns:
            name = column.source.name
            kind = "add_column" if name in self.found.added else "rename_column"
            if name.lower() in self.table.shaped and not column.shape.changes:
                raise CanNotFollowError(kind, f"has another column {name} now, and the file shapes that name")
            if column.target_name in added:
                raise CanNotFollowError(kind, f"has a column {name} now, which the file has the pipeline add")
            if name in key and not column.shape.keeps_apart:
                raise CanNotFollowError("change_key", f"has {name} in its key, which the file masks or truncates")
            if name in key and column.rules != column.rules.of_key():
                raise CanNotFollowError("change_key", f"has {name} in its key, of which values may be changed")

    def _key_after(self, replicated: set[str]) -> tuple[str, ...]:
        if not self.found.key_changes:
            back = {old: new for new, old in self.found.origins.items()}
            return tuple(back.get(name, name) for name in self.table.source.key)
        key = tuple(self._key())
        if not set(key) <= replicated:
            raise CanNotFollowError("change_key", f"has the key ({', '.join(key)}), which is not replicated")
        return key

    def _column(self, change: ColumnChange, origin: str | None) -> Column:
        """As it was introspected where nothing changed: that tells more than the log does."""
        now = self._now(change)
        if origin is None:
            return now
        old = self._old(_of(self.before, origin))
        known = next((c for c in self.table.source.columns if c.name == origin), None)
        if known is None:
            return now
        if _shape(old) == _shape(now):
            default = known.default if old.default == now.default else now.default
            return msgspec.structs.replace(known, name=now.name, default=default)
        return msgspec.structs.replace(now, collation=known.collation if known.charset == now.charset else None)

    def _old(self, change: ColumnChange) -> Column:
        return to_column(change, list(self.before.primaryKeyColumnNames or []), self.pair[0])

    def _now(self, change: ColumnChange) -> Column:
        return to_column(change, self._key(), self.pair[0])

    def _mapped(self, source: Column, name: str, before: MappedColumn | None) -> MappedColumn:
        if before is not None and _shape(before.source) == _shape(source):
            return MappedColumn(source, name, before.target_type, before.rules, before.shape)
        shape = before.shape if before is not None else NO_SHAPE
        rules = heeded(source, before.rules if before is not None else self.table.rules)
        try:
            form = form_for(source, *self.pair, self.table.name, rules, shape)
        except CdcError as error:
            kind = "add_column" if before is None else "change_column"
            raise CanNotFollowError(kind, f"has a column that can't be replicated: {error.message}") from error
        return MappedColumn(source, name, form.target_type, rules, shape)

    # What becomes of the rows

    def _filler(self, change: ColumnChange) -> str | None:
        try:
            return filler(change, self.event.statement.added(change.name))
        except NotToldError as reason:
            raise CanNotFollowError("add_column", f"gained column {change.name}: {reason}") from reason

    def _questions(self) -> Iterator[tuple[str, conversions.Question]]:
        mapped = {c.source.name: c for c in self.table.columns}
        changed = []
        for change in self.after.columns:
            origin = self.found.origins.get(change.name)
            if origin is None or origin not in mapped:
                continue
            old = _of(self.before, origin)
            before, after = self._old(old), self._now(change)
            text = next((c for c in self.event.statement.columns if (c.new or "").lower() == change.name.lower()), None)
            asked = conversions.questions(before, after)
            if asked is None or is_generated(text):
                raise CanNotFollowError(
                    "change_column", f"has {change.name} as {after.full_type}, where it was {before.full_type}"
                )
            if renumbers(old, change):
                asked.append(conversions.Equals("0"))
            if mapped[origin].shape.changes and any(not isinstance(q, conversions.IsNull) for q in asked):
                # The target can't tell which values the source converted: it never had them.
                raise CanNotFollowError(
                    "change_column", f"has {change.name}, which the file shapes, as {after.full_type}, where it was "
                    f"{before.full_type}"
                )
            if _shape(before) != _shape(after):
                changed.append(f"{change.name} {after.full_type}{'' if after.nullable else ' not null'}")
            yield from ((origin, question) for question in asked)
        if changed:
            what = f"has {', '.join(changed)}"
            if self.policies.change_column in ("resync", "stop"):
                raise CanNotFollowError("change_column", what)
            self._note("change_column", "applied", what)


def _of(definition: TableDefinition, name: str) -> ColumnChange:
    return next(column for column in definition.columns if column.name == name)


def _shape(column: Column) -> tuple[object, ...]:
    """What stored values depend on."""
    return (
        column.type, column.full_type, column.nullable, column.length, column.precision, column.scale, column.fraction,
        column.unsigned, column.charset, column.labels,
    )
