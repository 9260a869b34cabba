"""What one canonical form consists of, and what it is made from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cdc_pipelines.replication.catalog import Column
from cdc_pipelines.replication.value_rules import ValueRules


@dataclass(frozen=True)
class Form:
    """How one column's values travel and are compared.

    The SQL templates hold `{c}` where the quoted column stands; they are ours, never a user's text.

    target_type: the column's type in the target's DDL.
    read: SQL on the source that renders the value as the target's text input (connection: UTF-8, UTC).
    json: the Python type that `msgspec` decodes the event's JSON value to (without null).
    text: turns such a value into the target's text input; None where it is that already (`str`). It may give None: a
        value that stands for no value.
    source_canonical, target_canonical: SQL that renders the same text on both sides for equal values.
    compare: how two texts that differ are judged at last: `exact`, or as `json` documents.
    copied: turns what `read` gave (bytes) into the target's text input; None where it is that already.
    session: statements that a session on the source must have run before `read` and `source_canonical` work on it.
    """

    target_type: str
    read: str
    json: Any
    text: Callable[[Any], str | None] | None
    source_canonical: str
    target_canonical: str
    compare: Literal["exact", "json"] = "exact"
    copied: Callable[[bytes], bytes] | None = None
    session: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A column that wants a form. `flavor` is the kind of source, `where` names the column in messages."""

    column: Column
    rules: ValueRules
    flavor: Literal["mysql", "mariadb"]
    where: str

    @property
    def mariadb(self) -> bool:
        return self.flavor == "mariadb"


@dataclass(frozen=True)
class TypeRule:
    """One line of the table of types: which source types, what becomes of them, and how.

    `types` are bare type names of the source. `make` gives the form of a case, None where it has none after all.
    `heeds` names the rules (`values` in a pipeline's file) that the types heed. The rest is for people.
    """

    types: tuple[str, ...]
    make: Callable[[Case], Form | None]
    source: str
    target: str
    note: str = ""
    heeds: frozenset[str] = frozenset()
