"""Reads the text of a DDL statement: as a hint, never to execute it. ALTER TABLE has a file of its own.

The columns before and after tell most of a change. They do not tell a renamed column from one that was dropped beside
another that was added, what was renamed into what, or that rows were moved: for that the text is looked at.
"""

from itertools import pairwise

from cdc_pipelines.replication.stream.ddl_alter import alter
from cdc_pipelines.replication.stream.ddl_tokens import Cursor, tokens
from cdc_pipelines.replication.stream.statement import Statement

_TELL_CHARSET = ("charset", "character", "collate", "like")


def parse(ddl: str) -> Statement:
    """Raises nothing: what is not understood is `other`, or an ALTER with `unknown` set."""
    try:
        return _statement(Cursor(list(tokens(ddl))))
    except IndexError:
        return Statement("other", unknown=" ".join(ddl.split())[:80])


def _statement(read: Cursor) -> Statement:
    word = read.take()
    if word.is_word("set") and read.skip("statement"):  # MariaDB: SET STATEMENT variable = value FOR …
        while not read.take().is_word("for"):
            pass
        return _statement(read)
    if word.is_word("alter"):
        return alter(read)
    if word.is_word("rename"):
        return _rename(read)
    if word.is_word("create"):
        return _create(read)
    if word.is_word("drop"):
        return _drop(read)
    if word.is_word("index", "unique", "fulltext", "spatial"):  # as Debezium hands out CREATE INDEX
        return _index(read)
    return Statement("other")


def _index(read: Cursor) -> Statement:
    while not read.next.is_word("on"):
        read.take()
    read.take()
    return Statement("index", read.table())


def _create(read: Cursor) -> Statement:
    replaces = read.skip("or") and read.skip("replace")
    if read.skip("temporary"):
        return Statement("other")
    if read.next.is_word("unique", "fulltext", "spatial", "vector", "index", "online", "offline"):
        return _index(read)
    if not read.skip("table"):
        return Statement("other")
    read.skip_if_exists()
    statement = Statement("create", read.table(), replaces=replaces)
    statement.takes_charset = not any(token.is_word(*_TELL_CHARSET) for token in read.rest())
    words = list(pairwise(read.rest()))
    statement.adds_primary = any(a.is_word("primary") and b.is_word("key") for a, b in words)
    statement.versioned = any(a.is_word("system") and b.is_word("versioning") for a, b in words)
    return statement


def _drop(read: Cursor) -> Statement:
    if read.skip("temporary"):
        return Statement("other")
    if read.skip("database", "schema"):
        read.skip_if_exists()
        return Statement("drop_database", (read.name(), ""))
    if read.skip("index"):
        read.skip_if_exists()
        index = read.name()
        read.skip("on")
        return Statement("index", read.table(), drops_index=[index])
    return Statement("drop") if read.skip("table", "tables") else Statement("other")


def _rename(read: Cursor) -> Statement:
    if not read.skip("table", "tables"):
        return Statement("other")
    read.skip_if_exists()
    statement = Statement("rename")
    while True:
        old = read.table()
        read.skip_wait()
        read.skip("to")
        statement.renames.append((old, read.table()))
        if read.take().text != ",":
            return statement
