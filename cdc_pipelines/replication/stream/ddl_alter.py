"""Reads ALTER TABLE, action by action: which columns it names, what it renames, and whether rows may move."""

from cdc_pipelines.replication.stream.ddl_tokens import Cursor, Token, split, words_of
from cdc_pipelines.replication.stream.statement import Column, Statement

_CONSTRAINTS = ("index", "key", "fulltext", "spatial", "vector", "unique", "primary", "constraint", "foreign", "check")
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


def alter(read: Cursor) -> Statement:
    """The statement, behind the word ALTER. An action that is not understood makes it `unknown`."""
    ignore = False
    while read.next.is_word("online", "offline", "ignore"):
        ignore = read.take().is_word("ignore") or ignore
    if not read.skip("table"):
        return Statement("other")
    read.skip_if_exists()
    statement = Statement("alter", read.table())
    if ignore:
        statement.moves_rows = "ALTER IGNORE may delete rows"
    read.skip_wait()
    for action in split(read.rest()):
        try:
            _action(action, statement)
        except IndexError:
            statement.unknown = words_of(action)
        if _is_last(action):
            break
    return statement


def _is_last(action: list[Token]) -> bool:
    """Whether the commas behind it are its own: those of ORDER BY a, b or of DROP PARTITION p, q."""
    return action[0].is_word("order") or any(token.is_word("partition") for token in action[:2])


def _action(action: list[Token], statement: Statement) -> None:
    read, words = Cursor(action), words_of(action)
    verb = read.take()
    if verb.is_word("add"):
        _add(read, action, statement)
    elif verb.is_word("drop"):
        _drop(read, words, statement)
    elif verb.is_word("rename"):
        _rename(read, statement)
    elif verb.is_word("modify", "change"):
        read.skip("column")
        missing = read.skip_if_exists()
        old = read.name()
        new = read.name() if verb.is_word("change") else old
        statement.columns.append(Column(old, new, tuple(read.rest()), missing))
    elif verb.is_word("alter"):
        if not read.next.is_word("index", "check", "constraint"):  # a default: no stored value depends on it
            read.skip("column")
            read.name()
    elif verb.is_word("convert"):
        if not read.skip("to") or read.next.is_word("partition"):
            statement.moves_rows = words
    elif verb.is_word(*_ROW_MOVERS):
        statement.moves_rows = words
        if verb.is_word("exchange"):
            while not read.take().is_word("table"):
                pass
            statement.exchanged = read.table()
    elif verb.is_word("engine"):
        if any(token.is_word(*_NO_ROWS_ENGINES) for token in action):
            statement.moves_rows = words
    elif not verb.is_word(*_WITHOUT_EFFECT):
        statement.unknown = words


def _add(read: Cursor, action: list[Token], statement: Statement) -> None:
    if read.next.is_word("partition"):
        return
    if read.next.is_word("system", "period"):
        statement.unknown = words_of(action)
        return
    if read.next.is_word(*_CONSTRAINTS):
        statement.adds_primary = statement.adds_primary or any(token.is_word("primary") for token in action)
        return
    read.skip("column")
    exists = read.skip_if_exists()
    if read.next != Token("sign", "("):
        _added(read, exists, statement)
        return
    read.take()
    for part in split(read.rest()[:-1]):
        inner = Cursor(part)
        if not inner.next.is_word(*_CONSTRAINTS):
            _added(inner, exists, statement)
        else:
            statement.adds_primary = statement.adds_primary or inner.next.is_word("primary")


def _added(read: Cursor, exists: bool, statement: Statement) -> None:
    name = read.name()
    statement.columns.append(Column(None, name, tuple(read.rest()), exists))


def _drop(read: Cursor, words: str, statement: Statement) -> None:
    if read.skip("partition"):
        statement.moves_rows = words
    elif read.next.is_word("system", "period"):
        statement.unknown = words
    elif read.skip("primary"):
        statement.drops_index.append("PRIMARY")
    elif read.next.is_word("index", "key", "constraint"):
        read.take()
        read.skip_if_exists()
        statement.drops_index.append(read.name())
    elif not read.next.is_word("foreign", "check"):
        read.skip("column")
        missing = read.skip_if_exists()
        statement.columns.append(Column(read.name(), None, (), missing))


def _rename(read: Cursor, statement: Statement) -> None:
    if read.skip("index", "key"):
        return
    if read.skip("column"):
        missing = read.skip_if_exists()
        old = read.name()
        read.skip("to")
        statement.columns.append(Column(old, read.name(), (), missing))
        return
    read.skip("to", "as")
    if read.next == Token("sign", "="):
        read.take()
    assert statement.table is not None
    statement.renames.append((statement.table, read.table()))
