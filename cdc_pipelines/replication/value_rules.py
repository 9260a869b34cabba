"""What a pipeline's file may say about values: rules for what the target's types can't hold, or hold in several ways.

A rule is one word per column, kept in the table's mapping. Copy, stream and verify read it there, so that all three
treat a value alike; preflight looks for the values that a rule would refuse or change.
"""

from typing import Any, Literal

import msgspec
from pydantic import Field

from cdc_pipelines.replication.strict import Strict

ZeroDates = Literal["as_null", "as_logged", "error"]
Nul = Literal["error", "remove", "replace"]
Undecodable = Literal["error", "replace"]
TinyInt1 = Literal["smallint", "boolean"]
BigIntUnsigned = Literal["numeric", "bigint"]
Time = Literal["interval", "time"]


_MERGING = ("nul", "undecodable")  # may make one text of two


class ValueRules(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rules of one column. The defaults lose nothing, or refuse."""

    zero_dates: ZeroDates = "as_null"
    nul: Nul = "error"
    undecodable: Undecodable = "error"
    tinyint1: TinyInt1 = "smallint"
    bigint_unsigned: BigIntUnsigned = "numeric"
    time: Time = "interval"

    def only(self, names: frozenset[str]) -> "ValueRules":
        """These rules where a column's type heeds them; the others as by default."""
        return ValueRules(**{name: getattr(self, name) for name in names})

    def of_key(self) -> "ValueRules":
        """These rules as a column of the key has them: none by which two rows could become one."""
        return msgspec.structs.replace(self, **dict.fromkeys(_MERGING, "error"))


NO_RULES = ValueRules()


class ColumnValues(Strict):
    """Rules of one column, where they differ from the pipeline's."""

    zero_dates: ZeroDates | None = Field(None, description="As under `values`.")
    nul: Nul | None = Field(None, description="As under `values`.")
    undecodable: Undecodable | None = Field(None, description="As under `values`.")
    tinyint1: TinyInt1 | None = Field(None, description="As under `values`.")
    bigint_unsigned: BigIntUnsigned | None = Field(None, description="As under `values`.")
    time: Time | None = Field(None, description="As under `values`.")


class Values(Strict):
    """What becomes of values and names that the target can't hold as they are. Copy, stream and verify do the same."""

    zero_dates: ZeroDates = Field(
        "as_null",
        description="Dates that are none (`0000-00-00`, a month or day 00, the year 0). `as_null`: NULL. "
        "`error`: refused. `as_logged`: in columns that are NOT NULL, the day that the change log has in their place, "
        "1970-01-01 or the column's default.",
    )
    nul: Nul = Field(
        "error",
        description="The character NUL (U+0000) in texts and JSON. `error`: refused. `remove`: left out. "
        "`replace`: U+FFFD stands for it. Refused in keys in any case, as two rows could become one.",
    )
    undecodable: Undecodable = Field(
        "error",
        description="Bytes of a text that stand for no character, or for none that the change log can tell. "
        "`error`: refused. `replace`: what the server gives for them, `?` or U+FFFD; in charsets of one byte a "
        "character. Refused in keys in any case.",
    )
    tinyint1: TinyInt1 = Field(
        "smallint",
        description="`tinyint(1)`, which is also what BOOLEAN means. `boolean`: other values than 0 and 1 are refused.",
    )
    bigint_unsigned: BigIntUnsigned = Field(
        "numeric", description="`numeric`: numeric(20). `bigint`: values from 2⁶³ on are refused."
    )
    time: Time = Field("interval", description="`time`: spans below zero or above 24 hours are refused.")
    names: Literal["error", "adapt"] = Field(
        "error",
        description="Names that PostgreSQL can't have: longer than 63 bytes, or of a system column (`ctid`, `xmin`). "
        "`error`: refused; `tables[].target` and `rename` give others. `adapt`: cut, with eight digits of their hash; "
        "or with `_` behind.",
    )
    columns: dict[str, dict[str, ColumnValues]] = Field(
        default_factory=dict, description="Rules of single columns: table → column → the rules that differ."
    )

    def merging(self, table: str, column: str) -> list[str]:
        """The rules that the file gives this very column and that a column of the key can't have."""
        own = self.columns.get(table, {}).get(column)
        return [name for name in _MERGING if own is not None and getattr(own, name) not in (None, "error")]

    def rules(self, table: str | None = None, column: str | None = None) -> ValueRules:
        """The rules of a column; without one those of the pipeline, which a column that is added later has."""
        own: Any = self.columns.get(table or "", {}).get(column or "")
        return ValueRules(**{
            name: (own and getattr(own, name)) or getattr(self, name) for name in ValueRules.__struct_fields__
        })
