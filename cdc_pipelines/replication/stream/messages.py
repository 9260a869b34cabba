"""The records of the change log. A record's kind is told by its shape, never by topic or key."""

import re
from typing import Any

import msgspec

from cdc_pipelines.replication.errors import IntegrityError, UnsupportedChangeError
from cdc_pipelines.replication.position import Place

NULL = msgspec.Raw(b"null")


class SourceBlock(msgspec.Struct, gc=False):
    """Where an event comes from. `pos` is the byte at which the rows event starts in `file`."""

    db: str | None = None
    table: str | None = None
    gtid: str | None = None
    file: str = ""
    pos: int = 0
    row: int | None = None
    ts_ms: int | None = None
    snapshot: str | bool | None = None


class TransactionBlock(msgspec.Struct, gc=False):
    id: str
    total_order: int = 0


class ColumnChange(msgspec.Struct, frozen=True):
    """One column in Debezium's `tableChanges`. Of a default nothing tells "none" from NULL but `optional`."""

    name: str
    typeName: str  # noqa: N815
    length: int | None = None
    scale: int | None = None
    optional: bool = True
    charsetName: str | None = None  # noqa: N815
    autoIncremented: bool = False  # noqa: N815
    generated: bool = False  # also true where the number is generated (auto-increment)
    defaultValueExpression: str | None = None  # noqa: N815
    enumValues: list[str] | None = None  # noqa: N815 (quoted labels)


class TableDefinition(msgspec.Struct, frozen=True):
    columns: list[ColumnChange] = []
    primaryKeyColumnNames: list[str] | None = None  # noqa: N815


_ID = re.compile(r'"((?:[^"]|"")*)"\.(?:"((?:[^"]|"")*)"|(.*))', re.DOTALL)


def _quoted(name: str) -> str:
    """As Debezium quotes it: a name that begins or ends with a quote stays as it is."""
    return name if name[0] == '"' or name[-1] == '"' else '"' + name.replace('"', '""') + '"'


class TableChange(msgspec.Struct, frozen=True):
    """One entry of `tableChanges`; `id` is `"database"."table"`."""

    type: str
    id: str
    table: TableDefinition | None = None

    def name(self, source: SourceBlock) -> tuple[str, str]:
        """(database, table). `source` is the event's, which has the plain names of most changes."""
        if source.db and source.table and self.id == f"{_quoted(source.db)}.{_quoted(source.table)}":
            return source.db, source.table
        match = _ID.fullmatch(self.id)
        if match is None:
            return "", self.id  # of a database with a quote at its name's edge, which none of ours has
        database, table, edged = match.groups()
        return database.replace('""', '"'), edged if table is None else table.replace('""', '"')


class Message(msgspec.Struct, gc=False):
    """Any record; fields that are not asked for are skipped without being built."""

    op: str | None = None
    before: msgspec.Raw = NULL
    after: msgspec.Raw = NULL
    source: SourceBlock | None = None
    transaction: TransactionBlock | None = None
    status: str | None = None
    id: str | None = None
    event_count: int | None = None
    tableChanges: list[TableChange] | None = None  # noqa: N815 (Debezium's name)
    ddl: str | None = None
    ts_ms: int | None = None

    def place(self) -> Place:
        source = self.source
        if source is None:
            raise IntegrityError("an event of the change log has no source block", "check the connector's settings.")
        return place_of(source)


def place_of(source: SourceBlock) -> Place:
    """Where the event of this source block stands."""
    return Place(source.gtid, source.file, source.pos)


def xa_row(source: SourceBlock) -> UnsupportedChangeError:
    """A row outside of BEGIN and END is one of an XA transaction: the log has it from when that was prepared.

    Whether it was committed later on, or rolled back, the log does not tell.
    """
    return UnsupportedChangeError(
        f"table {source.db}.{source.table} was changed in an XA transaction ({source.gtid or source.file}, "
        f"{source.file}:{source.pos}): the change log tells when it was prepared, not whether it was committed",
        "let the application change replicated tables without XA, or leave the table out of the pipeline; then "
        "`cdc start NAME --force-resync`.",
    )


_ID_PLACE = re.compile(r"file=([^,]+),pos=(\d+)")


def transaction_place(transaction_id: str) -> Place:
    """Where a transaction begins: its id is its GTID, or `file=…,pos=…` on a server without GTIDs."""
    match = _ID_PLACE.fullmatch(transaction_id)
    return Place(None, match[1], int(match[2])) if match else Place(transaction_id, "", 0)


_message = msgspec.json.Decoder(Message)


def decode(value: bytes, offset: int) -> Message:
    """The record. Raises IntegrityError where it is not one of ours: the pipeline must stop, not guess."""
    try:
        return _message.decode(value)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise IntegrityError(
            f"record {offset} of the change log can't be decoded: {error}",
            "something else writes into this topic, or the connector's converter settings were changed.",
        ) from error


def headers(record: Any) -> dict[str, bytes]:
    """A Kafka record's headers as a mapping."""
    return dict(record.headers() or ())
