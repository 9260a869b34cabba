"""What a source's table has beside columns and key, as the server describes it."""

import msgspec


class IndexPart(msgspec.Struct, frozen=True):
    """One part of an index: a column, or its first `length` characters (bytes of binary), or an expression."""

    column: str | None
    expression: str | None = None
    length: int | None = None
    descending: bool = False


class SourceIndex(msgspec.Struct, frozen=True):
    """`method` is the server's word: BTREE, HASH, FULLTEXT, SPATIAL. `hidden` ones are not used by queries."""

    name: str
    parts: tuple[IndexPart, ...]
    unique: bool = False
    method: str = "BTREE"
    hidden: bool = False


class SourceForeignKey(msgspec.Struct, frozen=True):
    """`schema` and `table` are the parent's; the rules are the server's words, NO ACTION where it says nothing."""

    name: str
    columns: tuple[str, ...]
    schema: str
    table: str
    parent_columns: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"


class SourceCheck(msgspec.Struct, frozen=True):
    """A condition in the server's words; one that is not enforced says nothing of the rows."""

    name: str
    condition: str
    enforced: bool = True


class TableExtras(msgspec.Struct, frozen=True):
    """All of one table. `comments` are by column, that of the table itself under the empty name; `counter` is the
    AUTO_INCREMENT column."""

    indexes: tuple[SourceIndex, ...] = ()
    foreign_keys: tuple[SourceForeignKey, ...] = ()
    checks: tuple[SourceCheck, ...] = ()
    comments: dict[str, str] = {}
    counter: str | None = None
