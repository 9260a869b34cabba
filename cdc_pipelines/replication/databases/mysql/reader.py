"""Bulk reading through the C client: rows come as tuples of bytes, nothing is converted on the way."""

import os
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Self

import _mysql_connector

from cdc_pipelines.replication.databases.mysql import session
from cdc_pipelines.replication.databases.mysql.server_errors import translate
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.pipeline import Source

Row = tuple[bytes | None, ...]

_PLUGINS = os.path.join(os.path.dirname(_mysql_connector.__file__), "mysql", "vendor", "plugin")
# For the login alone, then sessions speak utf8mb4. Of that one MariaDB does not know the client's collation, and would
# take the names of user and database for latin1.
_LOGIN_CHARSETS = {"mysql": "utf8mb4", "mariadb": "utf8mb3"}
_BATCH_BYTES = 8 << 20
_STEP_ROWS = 8  # rows between two looks at the size, while values are small
_LARGE_VALUE = 100_000
_BINARY = 63  # the pseudo character set of byte strings
_INTEGERS = {1, 2, 3, 8, 9, 13}
_DECIMALS = {0, 246}
_FLOATS = {4, 5}
_BIT = 16
_STRINGS = {15, 249, 250, 251, 252, 253, 254, 255}


class Reader:
    """One session on the C client. Not for use by two threads at once."""

    def __init__(self, client: Any, where: str) -> None:
        self._client = client
        self._where = where
        self._reading = False

    @property
    def server_version(self) -> str:
        return str(self._client.get_server_info())

    @property
    def session_id(self) -> int:
        """The server's id of this session, as KILL and the process list have it."""
        return int(self._client.thread_id())

    def execute(self, sql: str) -> None:
        """Run a statement that returns no rows."""
        self._start(sql)
        self._end()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small result, decoded.

        Integers (also BIT) are int, decimals Decimal, FLOAT and DOUBLE float, byte strings bytes; everything else is
        str, dates and times too: a zero date is no Python date.
        """
        self._start(sql)
        try:
            fields = self._client.fetch_fields()
            decoders = [_decoder(field[8], field[6]) for field in fields]
            fetch = self._client.fetch_row
            return [
                tuple(None if v is None else d(v) for v, d in zip(row, decoders, strict=True))
                for row in iter(fetch, None)
            ]
        except _mysql_connector.MySQLInterfaceError as error:
            raise translate(error, "reading a result", self._where) from error
        finally:
            self._end()

    def batches(self, sql: str, rows: int, what: str, heavy: Sequence[int] = ()) -> Iterator[list[Row]]:
        """The result as lists of at most `rows` rows, streamed: memory holds one list.

        `heavy` holds the places of columns whose values may be large: a list ends early where they add up to 8 MiB.
        Raises RetryableError or ConfigurationError when the server or the connection fails, also in mid-result: the
        rows given until then are not the whole.
        """
        self._start(sql)
        finished = False
        try:
            source = iter(self._client.fetch_row, None)
            if heavy:
                yield from _bounded(source, rows, heavy)
            else:
                while batch := list(islice(source, rows)):
                    yield batch
            finished = True
        except _mysql_connector.MySQLInterfaceError as error:
            finished = True
            raise translate(error, f"reading {what}", self._where) from error
        finally:
            if finished:
                self._end()
            else:
                # Abandoned in mid-result: reading the rest could take hours, so the session ends.
                self.close()

    def _start(self, sql: str) -> None:
        if self._client is None:
            raise RetryableError(f"the session on {self._where} is closed", "open a new snapshot.")
        if self._reading:
            raise RuntimeError("a result is still being read on this session")
        try:
            self._client.query(sql, raw=True, buffered=False)
        except _mysql_connector.MySQLInterfaceError as error:
            raise translate(error, "a statement", self._where) from error
        self._reading = True

    def _end(self) -> None:
        self._reading = False
        if self._client is None:
            return
        try:
            self._client.free_result()
            while self._client.next_result():
                self._client.free_result()
        except _mysql_connector.MySQLInterfaceError:
            # After an error the connection is of no more use; what went wrong has been raised already.
            self.close()

    def close(self) -> None:
        """End the session. Closing twice is fine."""
        client, self._client = self._client, None
        self._reading = False
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bounded(source: Iterator[Row], rows: int, heavy: Sequence[int]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size, step = 0, 1
    while part := list(islice(source, step)):
        batch += part
        found = sum(len(value) for place in heavy for row in part if (value := row[place]) is not None)
        size += found
        step = 1 if found > len(part) * _LARGE_VALUE else _STEP_ROWS
        if len(batch) + step > rows or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def connect_reader(spec: Source, *, purpose: str) -> Reader:
    """A bulk reading session. Raises RetryableError (out of reach) or ConfigurationError (refused)."""
    where = session.where(spec)
    session.require_tls_files(spec)
    client = _mysql_connector.MySQL(
        buffered=False, raw=True, plugin_dir=_PLUGINS, charset_name=_LOGIN_CHARSETS[spec.type],
        connection_timeout=session.CONNECT_TIMEOUT_S,
    )
    try:
        client.connect(
            host=spec.resolved_host(), port=spec.resolved_port(), user=spec.resolved_user(),
            password=spec.resolved_password(), database=spec.database, read_timeout=session.READ_TIMEOUT_S,
            write_timeout=session.READ_TIMEOUT_S, conn_attrs={"program_name": f"cdc:{purpose}"},
            **session.c_client_tls(spec),
        )
    except _mysql_connector.MySQLInterfaceError as error:
        raise translate(error, "logging in", where) from error
    if spec.tls.mode not in ("disable", "prefer") and not client.get_ssl_cipher():
        # The C client takes "verify" as "verify if there is TLS at all".
        client.close()
        raise ConfigurationError(
            f"the server at {where} offers no TLS, but source.tls.mode is {spec.tls.mode}",
            "enable TLS on the server, or choose another source.tls.mode.",
        )
    reader = Reader(client, where)
    session.require_flavor(spec, reader.server_version)
    for statement in session.settings(spec.type):
        reader.execute(statement)
    return reader


def _decoder(kind: int, charset: int) -> Any:
    if kind in _INTEGERS:
        return int
    if kind in _DECIMALS:
        return lambda raw: Decimal(raw.decode())
    if kind in _FLOATS:
        return float
    if kind == _BIT:
        return lambda raw: int.from_bytes(raw, "big")
    if kind in _STRINGS and charset == _BINARY:
        return bytes
    return lambda raw: raw.decode("utf-8")
