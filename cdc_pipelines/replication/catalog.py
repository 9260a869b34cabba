"""Tables and columns as a server describes them, and how a pipeline maps them.

All of these are plain values that go to JSON and back (`msgspec`), because plan, target state and
control store keep them.
"""

import hashlib
from typing import Any, Literal

import msgspec

from cdc_pipelines.replication.column_shape import NO_SHAPE, AddedColumn, ColumnShape
from cdc_pipelines.replication.value_rules import NO_RULES, ValueRules


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column of a source table.

    `type` is the bare lower-case type name (`bigint`, `varchar`, `enum`), `full_type` the server's whole
    text (`bigint unsigned`, `enum('a','b')`). `length` counts characters (bytes for binary, bits for bit).
    `precision`/`scale` are of decimals; `fraction` is the digits of seconds of time types.
    """

    name: str
    type: str
    full_type: str
    nullable: bool = True
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    fraction: int | None = None
    unsigned: bool = False
    charset: str | None = None
    collation: str | None = None
    labels: tuple[str, ...] = ()
    default: str | None = None
    generated: bool = False


class Table(msgspec.Struct, frozen=True, omit_defaults=True):
    """One source table. `key` holds the primary key's columns (else a unique not-null index's), or nothing.

    `key_index` is the name of that index, empty where it is not known. `folded`: the server keeps the names of tables
    in lower case, however a statement writes them. `versioned`: the server keeps a history of the rows (MariaDB's
    SYSTEM VERSIONING).
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    rows_estimate: int = 0
    data_bytes: int = 0
    comment: str = ""
    key_index: str = "PRIMARY"
    folded: bool = False
    versioned: bool = False

    @property
    def primary(self) -> bool:
        """Whether the key is the primary key: the connector then takes the same columns for the row's key."""
        return self.key_index == "PRIMARY"

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.schema}.{self.name} has no column {name}")

    def fingerprint(self) -> str:
        """Equal for equal definitions: column order, names, types, key. What recovery's decoding depends on."""
        facts = [[(c.name, c.full_type, c.nullable, c.charset, c.generated) for c in self.columns], self.key]
        return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:32]


class MappedColumn(msgspec.Struct, frozen=True):
    """A source column and where it lands. `target_type` is the DDL type on the target, `rules` what its values obey.

    `shape` is what becomes of its values on the way.
    """

    source: Column
    target_name: str
    target_type: str
    rules: ValueRules = NO_RULES
    shape: ColumnShape = NO_SHAPE


class RowRules(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which rows of a table are replicated, and what a delete does to one of them.

    `where` is a text of `row_filter.language`, empty for all rows; `beside` are columns that it asks and that are not
    replicated. With `deletes` soft a row stays, and the target's column `deleted_column` gets the time of its delete.
    With `history` every version of a row stays: it was the source's row from `valid_from` on, and until `valid_to`,
    where that is not null; `version` counts those of one key.
    """

    where: str = ""
    deletes: Literal["apply", "soft"] = "apply"
    deleted_column: str = "_deleted_at"
    beside: tuple[MappedColumn, ...] = ()
    history: bool = False
    valid_from: str = "_valid_from"
    valid_to: str = "_valid_to"
    version: str = "_version"

    @property
    def soft(self) -> bool:
        return self.deletes == "soft"

    @property
    def ended(self) -> str:
        """The target's column that is null in the rows that the source has now, where others stay; else empty."""
        return self.deleted_column if self.soft else self.valid_to if self.history else ""

    @property
    def columns(self) -> list[tuple[str, str]]:
        """(name, type) of the target's columns that these rules need."""
        if self.history:
            return [(self.valid_from, TIME_TYPE), (self.valid_to, TIME_TYPE), (self.version, VERSION_TYPE)]
        return [(self.deleted_column, TIME_TYPE)] if self.soft else []

    @property
    def asked(self) -> dict[str, str]:
        """What the pipeline's file asks for, by its settings; equal where a table need not be copied again."""
        names = (self.valid_from, self.valid_to, self.version) if self.history else ("", "", "")
        return {
            "where": self.where, "deletes": self.deletes, "deleted_column": self.deleted_column if self.soft else "",
            "history": "true" if self.history else "false",
            **dict(zip(("valid_from_column", "valid_to_column", "version_column"), names, strict=True)),
        }


ALL_ROWS = RowRules()
TIME_TYPE = "timestamptz"
VERSION_TYPE = "integer"


class MappedTable(msgspec.Struct, frozen=True):
    """A source table and where it lands. `columns` holds the replicated ones, in the source's order.

    `whole` says that all (not generated) columns are wanted, so that a column added later is added here too; `rules`
    are those that it will have. `kept` are columns of the target whose source's column is gone: they are left alone,
    until their name is used again. `added` are columns of ours, which the source does not have. `shaped` are the names,
    in lower case, of the columns that the file shapes: none of that name may ever be replicated as it is.
    """

    source: Table
    target_schema: str
    target_name: str
    columns: tuple[MappedColumn, ...]
    whole: bool = True
    kept: tuple[str, ...] = ()
    rules: ValueRules = NO_RULES
    added: tuple[AddedColumn, ...] = ()
    shaped: tuple[str, ...] = ()
    rows: RowRules = ALL_ROWS

    @property
    def name(self) -> str:
        """The source table's name: how users and our state call the table."""
        return self.source.name

    @property
    def key(self) -> tuple[MappedColumn, ...]:
        by_name = {c.source.name: c for c in self.columns}
        return tuple(by_name[k] for k in self.source.key)

    @property
    def captured(self) -> set[str] | None:
        """The columns that the connector has to send; None: all."""
        return None if self.whole else {c.source.name for c in (*self.columns, *self.rows.beside)}

    @property
    def landing(self) -> list[tuple[str, str]]:
        """(name, type) of each column of ours on the target: the loaded ones, then those that tell rows that stay."""
        return [*self.loaded, *self.rows.columns]

    def still_keeping(self, before: "MappedTable | None") -> "MappedTable":
        """The same, with the columns that its history keeps by the mapping `before`: closed versions have values there.

        A table without a history is filled anew, and has none of them.
        """
        if before is None or not self.rows.history:
            return self
        names = {name for name, _ in self.landing}
        return msgspec.structs.replace(self, kept=tuple(name for name in before.kept if name not in names))

    @property
    def loaded(self) -> list[tuple[str, str]]:
        """Those that a copy fills: the mapped columns, then the added ones."""
        return [
            *((c.target_name, c.target_type) for c in self.columns), *((a.name, a.target_type) for a in self.added)
        ]

    @property
    def key_indexes(self) -> tuple[int, ...]:
        """Places of the key's columns in `columns`."""
        names = [c.source.name for c in self.columns]
        return tuple(names.index(k) for k in self.source.key)

    @property
    def hides_key(self) -> bool:
        """Whether the target must not see the key's values."""
        return any(column.shape.hides for column in self.key)


def to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def mapped_table_from_json(text: str) -> MappedTable:
    return msgspec.json.decode(text, type=MappedTable)
