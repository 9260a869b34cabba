"""Bulk loading: rows as the source rendered them become COPY text, a whole batch at a time.

While one batch is sent to the server the next one is read and rendered in a thread of its own.
"""

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat

import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.postgres.connection import brief, explain
from cdc_pipelines.replication.databases.postgres.ddl import table_name
from cdc_pipelines.replication.errors import CdcError, ConfigurationError, IntegrityError

Row = tuple[bytes | None, ...]
Batch = list[Row]

# Bytes that no UTF-8 text holds stand for what must survive the escaping of the batch.
_ROW, _NULL, _FIELD = b"\xfd", b"\xfe", b"\xff"
_SEPARATORS = bytes.maketrans(_FIELD + _ROW, b"\t\n")

_QUEUE_BYTES = 16 << 20
_COPY_BYTES = 64 << 20
_END_WAIT_S = 30


def render(batch: Batch) -> bytes:
    """The rows as PostgreSQL's COPY text. Values are UTF-8 (byte strings come as hex); None is null.

    Raises IntegrityError where a value holds a byte that UTF-8 can't: it would be taken for a separator.
    """
    if not batch:
        return b""
    join = _FIELD.join
    raw = _ROW.join([join([_NULL if value is None else value for value in row]) for row in batch])
    nulls = sum(map(tuple.count, batch, repeat(None)))
    if (raw.count(_FIELD), raw.count(_NULL), raw.count(_ROW)) != (
        sum(map(len, batch)) - len(batch), nulls, len(batch) - 1
    ):
        raise IntegrityError(
            "a value holds a byte (0xFD, 0xFE or 0xFF) that no UTF-8 text has",
            "please report it with the table's definition: a column is read as text that is none.",
        )
    escaped = raw.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return escaped.translate(_SEPARATORS).replace(_NULL, b"\\N") + b"\n"


def copy_rows(
    conn: psycopg.Connection,
    mapped: MappedTable,
    batches: Iterable[Batch],
    *,
    what: str | None = None,
    moved: Callable[[int, int], None] = lambda rows, size: None,
    added: tuple[bytes, ...] = (),
) -> tuple[int, int]:
    """Load all rows of `batches` in the open transaction. Returns (rows, bytes sent).

    `what` names the load in messages, `moved(rows, bytes)` is told of every batch, `added` are the values of the
    columns that the source does not have. An error of the reader fails the
    COPY, so that no part of the rows can be committed, and is raised as it is. Raises ConfigurationError where
    PostgreSQL can't hold a value, IntegrityError where it took another number of rows than were read.
    """
    what = what or f"table {mapped.name}"
    columns = sql.SQL(", ").join(sql.Identifier(name) for name, _ in mapped.loaded)
    statement = sql.SQL("copy {} ({}) from stdin").format(table_name(mapped), columns)
    rows = size = taken = 0
    pipe = _Pipe()
    reader = threading.Thread(
        target=_read, args=(pipe, mapped, batches, what, added), name=f"read-{mapped.name}", daemon=True
    )
    reader.start()
    try:
        more = True
        while more:
            # The client library tells a server's error only at a COPY's end: a long load takes several of them.
            with conn.cursor() as cursor:
                with cursor.copy(statement) as copy:
                    limit = size + _COPY_BYTES
                    for count, text in pipe:
                        copy.write(text)
                        rows, size = rows + count, size + len(text)
                        moved(count, len(text))
                        if size >= limit:
                            break
                    else:
                        more = False
                taken += cursor.rowcount
    except psycopg.Error as error:
        raise _refused(error, mapped, what) from error
    finally:
        pipe.close()
        reader.join(_END_WAIT_S)
    if taken != rows:
        raise IntegrityError(
            f"{what}: {rows} rows were read, but {mapped.target_schema}.{mapped.target_name} took {taken}",
            "look for a trigger or rule on the target table that swallows or adds rows, and remove it.",
        )
    return rows, size


def _read(
    pipe: "_Pipe", mapped: MappedTable, batches: Iterable[Batch], what: str, added: tuple[bytes, ...]
) -> None:
    """The reader's thread: read, render, hand on. The iterator is closed here, where it ran."""
    source = iter(batches)
    try:
        for batch in source:
            text = render([row + added for row in batch] if added else batch)
            if 0 in text:
                raise _has_nul(batch, mapped, what)
            if not pipe.put(len(batch), text):
                return
        pipe.finish(None)
    except BaseException as error:  # noqa: BLE001 (raised again by whoever loads)
        pipe.finish(error)
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


class _Pipe:
    """Rendered batches between two threads: bounded by bytes, at least one batch long."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None

    def put(self, rows: int, text: bytes) -> bool:
        """Waits for room. False where nobody takes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._items or self._bytes + len(text) <= _QUEUE_BYTES)
            if self._closed:
                return False
            self._items.append((rows, text))
            self._bytes += len(text)
            self._changed.notify_all()
            return True

    def finish(self, error: BaseException | None) -> None:
        """Nothing follows; the taker gets the error, if there is one, at once."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended)
                if self._error is not None:
                    raise self._error
                if not self._items:
                    return
                rows, text = self._items.popleft()
                self._bytes -= len(text)
                self._changed.notify_all()
            yield rows, text


def _has_nul(batch: Batch, mapped: MappedTable, what: str) -> ConfigurationError:
    columns = sorted(
        {i for row in batch for i, value in enumerate(row) if value is not None and 0 in value}
    )
    names = ", ".join(mapped.columns[i].source.name for i in columns)
    return ConfigurationError(
        f"{what}: column {names} holds the character NUL (U+0000), which PostgreSQL's text types can't hold",
        "remove it on the source (find the rows with `where locate(x'00', cast(column as binary)) > 0`), "
        "set `nul: remove` (or `replace`) for the column under `values` in the pipeline's file, or leave the column "
        "out: list the table's other columns under `columns`.",
    )


def _refused(error: psycopg.Error, mapped: MappedTable, what: str) -> CdcError:
    """A server's error during COPY, by what it is about: a value, a constraint, or anything else."""
    state = error.sqlstate or ""
    if state.startswith("22"):
        return _bad_value(error, mapped, what)
    if state == "23505":
        return IntegrityError(
            f"{what}: {brief(error)}: {mapped.target_schema}.{mapped.target_name} has such a row already",
            "rows of another origin are in the target table, or its unique index is narrower than the source's: "
            "remove them (or the index), then start again.",
        )
    if state.startswith("23"):
        return ConfigurationError(
            f"{what}: {brief(error)}",
            f"drop that constraint of {mapped.target_schema}.{mapped.target_name}, which the source does not have, "
            "or grant SET ON PARAMETER session_replication_role to the target user; then start again.",
        )
    return explain(error, what)


def _bad_value(error: psycopg.Error, mapped: MappedTable, what: str) -> ConfigurationError:
    match = re.search(r"^COPY .*, line \d+, column (.+?)(?:: |$)", error.diag.context or "", re.MULTILINE)
    column = next((c for c in mapped.columns if match and c.target_name == match[1]), None)
    if column is None:
        where = what
    else:
        where = f"{what}: column {column.source.name} ({column.source.full_type} → {column.target_type})"
    return ConfigurationError(
        f"{where} holds a value that the target can't: {brief(error)}",
        "change the value on the source, set a rule for it under `values` in the pipeline's file, or leave the column "
        "out: list the table's other columns under `columns`; then start again.",
    )
