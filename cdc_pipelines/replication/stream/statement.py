"""What the text of a DDL statement says. It is read as a hint and never executed.

The columns before and after tell most of a change. They do not tell a renamed column from one that was dropped beside
another that was added, what was renamed into what, or that rows were moved: for that the text is looked at.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from cdc_pipelines.replication.stream.ddl_tokens import Token, split, tokens, words_of

Name = tuple[str | None, str]
"""(database or None, table)"""

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
    REPLACE.
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

    def folded(self) -> "Statement":
        """With the names of databases and tables in lower case."""
        table, exchanged = (name and _lower(name) for name in (self.table, self.exchanged))
        renames = [(_lower(old), _lower(new)) for old, new in self.renames]
        return replace(self, table=table, exchanged=exchanged, renames=renames)

    def added(self, name: str) -> Column | None:
        """What the text says of a column that it adds, whose name is told apart without regard to case."""
        return next((c for c in self.columns if c.old is None and _same(c.new, name)), None)


_CONSTRAINTS = ("index", "key", "fulltext", "spatial", "vector", "unique", "primary", "constraint", "foreign", "check")
_TELL_CHARSET = ("charset", "character", "collate", "like")
_ROW_MOVERS = ("truncate", "exchange", "discard", "import")
_WITHOUT_EFFECT = frozenset({
    "order", "enable", "disable", "force", "engine", "comment", "auto_increment", "default", "charset", "character",
    "collate", "row_format", "key_block_size", "algorithm", "lock", "stats_auto_recalc", "stats_persistent",
    "stats_sample_pages", "checksum", "max_rows", "min_rows", "avg_row_length", "pack_keys", "delay_key_write",
    "data", "index", "tablespace", "compression", "encryption", "autoextend_size", "engine_attribute",
    "secondary_engine", "secondary_engine_attribute", "secondary_load", "secondary_unload", "with", "without",
    "page_checksum", "page_compressed", "page_compression_level", "encrypted", "encryption_key_id", "transactional",
    "coalesce", "reorganize", "rebuild", "optimize", "analyze", "check", "repair", "remove", "upgrade", "partition",
    "subpartition", "partitions",
})
_NO_ROWS_ENGINES = ("blackhole", "federated", "connect", "csv", "merge", "mrg_myisam", "s3", "spider")


def parse(ddl: str) -> Statement:
    """Raises nothing: what is not understood is `other`, or an ALTER with `unknown` set."""
    try:
        return _Reader(list(tokens(ddl))).statement()
    except IndexError:
        return Statement("other", unknown=" ".join(ddl.split())[:80])


class _Reader:
    """Reads tokens from the left; IndexError where they end too soon."""

    def __init__(self, read: list[Token]) -> None:
        self._tokens, self._at = [*read, Token("sign", ";")], 0

    # Tokens

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, *words: str) -> bool:
        """Whether the next token was one of these words; then it is passed."""
        if self._next.is_word(*words):
            self._at += 1
            return True
        return False

    def _skip_if_exists(self) -> bool:
        if self._skip("if"):
            self._skip("not")
            self._skip("exists")
            return True
        return False

    def _name(self) -> str:
        token = self._take()
        if token.kind == "sign":
            raise IndexError(token.text)
        # In quotes where sql_mode has ANSI_QUOTES
        return token.text[1:-1].replace('""', '"') if token.kind == "text" else token.text

    def _table(self) -> Name:
        first = self._name()
        if self._next == Token("sign", "."):
            self._take()
            return first, self._name()
        # `db.t` without backticks and with a name of digits comes as one word
        return None, first

    # Statements

    def statement(self) -> Statement:
        word = self._take()
        if word.is_word("set") and self._skip("statement"):  # MariaDB: SET STATEMENT variable = value FOR …
            while not self._take().is_word("for"):
                pass
            return self.statement()
        if word.is_word("alter"):
            return self._alter()
        if word.is_word("rename"):
            return self._rename()
        if word.is_word("create"):
            return self._create()
        if word.is_word("drop"):
            return self._drop()
        if word.is_word("index", "unique", "fulltext", "spatial"):  # as Debezium hands out CREATE INDEX
            return self._index()
        return Statement("other")

    def _index(self) -> Statement:
        while not self._next.is_word("on"):
            self._take()
        self._take()
        return Statement("index", self._table())

    def _create(self) -> Statement:
        replaces = self._skip("or") and self._skip("replace")
        if self._skip("temporary"):
            return Statement("other")
        if self._next.is_word("unique", "fulltext", "spatial", "vector", "index", "online", "offline"):
            return self._index()
        if not self._skip("table"):
            return Statement("other")
        self._skip_if_exists()
        statement = Statement("create", self._table(), replaces=replaces)
        rest = self._tokens[self._at :]
        statement.takes_charset = not any(token.is_word(*_TELL_CHARSET) for token in rest)
        statement.adds_primary = any(
            a.is_word("primary") and b.is_word("key") for a, b in pairwise(rest)
        )
        return statement

    def _drop(self) -> Statement:
        if self._skip("temporary"):
            return Statement("other")
        if self._skip("database", "schema"):
            self._skip_if_exists()
            return Statement("drop_database", (self._name(), ""))
        if self._skip("index"):
            self._skip_if_exists()
            index = self._name()
            self._skip("on")
            return Statement("index", self._table(), drops_index=[index])
        return Statement("drop") if self._skip("table", "tables") else Statement("other")

    def _rename(self) -> Statement:
        if not self._skip("table", "tables"):
            return Statement("other")
        self._skip_if_exists()
        statement = Statement("rename")
        while True:
            old = self._table()
            self._wait()
            self._skip("to")
            statement.renames.append((old, self._table()))
            if self._take().text != ",":
                return statement

    def _wait(self) -> None:
        if self._skip("wait"):
            self._take()
        self._skip("nowait")

    # ALTER TABLE

    def _alter(self) -> Statement:
        ignore = False
        while self._next.is_word("online", "offline", "ignore"):
            ignore = self._take().is_word("ignore") or ignore
        if not self._skip("table"):
            return Statement("other")
        self._skip_if_exists()
        statement = Statement("alter", self._table())
        if ignore:
            statement.moves_rows = "ALTER IGNORE may delete rows"
        self._wait()
        for action in split(self._tokens[self._at : -1]):
            try:
                _Reader(action)._action(statement)
            except IndexError:
                statement.unknown = words_of(action)
            if _is_last(action):
                break
        return statement

    def _action(self, statement: Statement) -> None:
        words = words_of(self._tokens[:-1])
        verb = self._take()
        if verb.is_word("add"):
            self._add(statement, words)
        elif verb.is_word("drop"):
            self._drop_part(statement, words)
        elif verb.is_word("rename"):
            self._rename_part(statement)
        elif verb.is_word("modify", "change"):
            self._skip("column")
            missing = self._skip_if_exists()
            old = self._name()
            new = self._name() if verb.is_word("change") else old
            statement.columns.append(Column(old, new, tuple(self._tokens[self._at : -1]), missing))
        elif verb.is_word("alter"):
            if not self._next.is_word("index", "check", "constraint"):  # a default: no stored value depends on it
                self._skip("column")
                self._name()
        elif verb.is_word("convert"):
            if not self._next.is_word("to") or self._tokens[self._at + 1].is_word("partition"):
                statement.moves_rows = words
        elif verb.is_word(*_ROW_MOVERS):
            statement.moves_rows = words
            if verb.is_word("exchange"):
                while not self._take().is_word("table"):
                    pass
                statement.exchanged = self._table()
        elif verb.is_word("engine"):
            if any(token.is_word(*_NO_ROWS_ENGINES) for token in self._tokens):
                statement.moves_rows = words
        elif not verb.is_word(*_WITHOUT_EFFECT):
            statement.unknown = words

    def _add(self, statement: Statement, words: str) -> None:
        if self._next.is_word("partition"):
            return
        if self._next.is_word("system", "period"):
            statement.unknown = words
            return
        if self._next.is_word(*_CONSTRAINTS):
            statement.adds_primary = statement.adds_primary or any(t.is_word("primary") for t in self._tokens)
            return
        self._skip("column")
        exists = self._skip_if_exists()
        if self._next != Token("sign", "("):
            self._added(statement, exists)
            return
        self._take()
        for part in split(self._tokens[self._at : -2]):
            inner = _Reader(part)
            if not inner._next.is_word(*_CONSTRAINTS):
                inner._added(statement, exists)
            else:
                statement.adds_primary = statement.adds_primary or inner._next.is_word("primary")

    def _added(self, statement: Statement, exists: bool) -> None:
        name = self._name()
        statement.columns.append(Column(None, name, tuple(self._tokens[self._at : -1]), exists))

    def _drop_part(self, statement: Statement, words: str) -> None:
        if self._skip("partition"):
            statement.moves_rows = words
        elif self._next.is_word("system", "period"):
            statement.unknown = words
        elif self._skip("primary"):
            statement.drops_index.append("PRIMARY")
        elif self._next.is_word("index", "key", "constraint"):
            self._take()
            self._skip_if_exists()
            statement.drops_index.append(self._name())
        elif not self._next.is_word("foreign", "check"):
            self._skip("column")
            missing = self._skip_if_exists()
            statement.columns.append(Column(self._name(), None, (), missing))

    def _rename_part(self, statement: Statement) -> None:
        if self._skip("index", "key"):
            return
        if self._skip("column"):
            missing = self._skip_if_exists()
            old = self._name()
            self._skip("to")
            statement.columns.append(Column(old, self._name(), (), missing))
            return
        self._skip("to", "as")
        if self._next == Token("sign", "="):
            self._take()
        assert statement.table is not None
        statement.renames.append((statement.table, self._table()))


def _is_last(action: list[Token]) -> bool:
    """Whether the commas behind it are its own: those of ORDER BY a, b or of DROP PARTITION p, q."""
    return action[0].is_word("order") or any(token.is_word("partition") for token in action[:2])


def _lower(name: Name) -> Name:
    return name[0] and name[0].lower(), name[1].lower()


def _same(a: str | None, b: str) -> bool:
    return a is not None and a.lower() == b.lower()
