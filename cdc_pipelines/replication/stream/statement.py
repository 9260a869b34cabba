"""What the text of a DDL statement says, as `ddl_statements` reads it."""

from dataclasses import dataclass, field, replace
from typing import Literal

from cdc_pipelines.replication.stream.ddl_tokens import Name, Token

Verb = Literal["alter", "rename", "create", "drop", "index", "drop_database", "other"]


@dataclass(frozen=True)
class Column:
    """A column that an ALTER names: by what it was called and is called, and the definition that stands behind it."""

    old: str | None
    new: str | None
    definition: tuple[Token, ...] = ()
    if_exists: bool = False


@dataclass
class Statement:
    """`columns` are those that an ALTER adds (no old name), drops (no new one), renames or changes.

    `moves_rows` says why rows may have changed without events (`exchanged`: those of that table, too), `unknown` what
    was not understood. `drops_index` names the indexes that went; the primary key's is `PRIMARY`. `replaces`: CREATE OR
    REPLACE. `versioned`: CREATE TABLE with SYSTEM VERSIONING.
    """

    verb: Verb
    table: Name | None = None
    columns: list[Column] = field(default_factory=list)
    renames: list[tuple[Name, Name]] = field(default_factory=list)
    moves_rows: str | None = None
    unknown: str | None = None
    exchanged: Name | None = None
    drops_index: list[str] = field(default_factory=list)
    adds_primary: bool = False
    replaces: bool = False
    takes_charset: bool = False
    versioned: bool = False

    def folded(self) -> "Statement":
        """With the names of databases and tables in lower case."""
        table, exchanged = (name and _lower(name) for name in (self.table, self.exchanged))
        renames = [(_lower(old), _lower(new)) for old, new in self.renames]
        return replace(self, table=table, exchanged=exchanged, renames=renames)

    def may_drop(self, index: str) -> bool:
        """Whether this index went; of one whose name is not known, whether any went that it may be."""
        gone = {name.lower() for name in self.drops_index}
        return index.lower() in gone if index else bool(gone - {"primary"})

    def added(self, name: str) -> Column | None:
        """What the text says of a column that it adds, whose name is told apart without regard to case."""
        return next((c for c in self.columns if c.old is None and _same(c.new, name)), None)


def _lower(name: Name) -> Name:
    return name[0] and name[0].lower(), name[1].lower()


def _same(a: str | None, b: str) -> bool:
    return a is not None and a.lower() == b.lower()
