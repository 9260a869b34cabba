"""What a pipeline's file may ask of a table's columns on their way: a hash, a mask, a cut, another type, and columns of
our own beside them.

A shape is kept in the table's mapping, as the rules for values are. Copy, stream and verify read it there: the source's
side of a comparison computes the shaped value, too.
"""

from typing import Annotated, Literal, Self

import msgspec
from pydantic import Field, StringConstraints, field_validator, model_validator

from cdc_pipelines.replication.strict import Strict, require_reference

Hash = Literal["sha256", "hmac_sha256"]
Origin = Literal["pipeline", "operation", "commit_time", "position"]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=64)]

_MOST_CHARACTERS = 10_485_760  # of PostgreSQL's varchar(n)
_LARGEST = 2**63 - 1  # of its bigint


class ColumnShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes of one column's values. At most one of `hash`, `mask`, `truncate` and `type` is there.

    `key` is the reference to an HMAC's key, `key_check` tells another key under that reference (see
    `values.hashing`). `mask` is the character that hides others.
    """

    hash: Hash | None = None
    key: str | None = None
    key_check: str | None = None
    mask: str | None = None
    keep_first: int = 0
    keep_last: int = 0
    truncate: int | None = None
    type: str | None = None

    @property
    def changes(self) -> bool:
        """Whether there is any."""
        return self != NO_SHAPE

    def __str__(self) -> str:
        if self.hash is not None:
            return f"hash {self.hash}"
        if self.mask is not None:
            return "masked"
        return f"cut to {self.truncate} characters" if self.truncate is not None else f"type {self.type}"

    @property
    def hides(self) -> bool:
        """Whether the target must not see the source's value."""
        return self.hash is not None or self.mask is not None or self.truncate is not None

    @property
    def keeps_apart(self) -> bool:
        """Whether different values stay different, as those of a key must."""
        return self.mask is None and self.truncate is None


NO_SHAPE = ColumnShape()


class AddedColumn(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column of the target that the source does not have. `text` is a constant's, as the target's text input."""

    name: str
    target_type: str
    origin: Literal["constant", "operation", "commit_time", "position"] = "constant"
    text: str = ""


class Mask(Strict):
    """Characters that stay readable. A value with no more than those is hidden as a whole."""

    keep_first: int = Field(0, ge=0, le=1000, description="Characters at the beginning that stay.")
    keep_last: int = Field(0, ge=0, le=1000, description="Characters at the end that stay.")
    with_: str = Field("*", alias="with", description="The character that stands for each of the others.")

    @field_validator("with_")
    @classmethod
    def _is_one(cls, value: str) -> str:
        if len(value) != 1 or not value.isprintable() or value == "\\":
            raise ValueError("with must be one printable character, and no backslash")
        return value


class ShapedColumn(Strict):
    """One column of the source: exactly one of `hash`, `mask`, `truncate` and `type`. NULL stays NULL."""

    hash: Hash | None = Field(
        None, description="64 hex digits in the value's place: its SHA-256, or its HMAC under a secret `key`."
    )
    key: str | None = Field(
        None, description="The HMAC's key, a reference: ${env:NAME} or ${file:/path}. Never the key itself."
    )
    mask: Mask | None = Field(None, description="Characters are hidden one by one; the length stays.")
    truncate: int | None = Field(None, ge=1, le=_MOST_CHARACTERS, description="Only so many first characters.")
    type: str | None = Field(
        None, description="Another type on the target: one that holds every value. docs/shaping.md lists them."
    )

    @field_validator("key")
    @classmethod
    def _key_is_reference(cls, value: str | None) -> str | None:
        return None if value is None else require_reference(value, "key")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        asked = [name for name in ("hash", "mask", "truncate", "type") if getattr(self, name) is not None]
        if len(asked) != 1:
            raise ValueError(
                f"give exactly one of hash, mask, truncate and type, not {' and '.join(asked) or 'none of them'}"
            )
        if self.hash == "hmac_sha256" and self.key is None:
            raise ValueError("hash hmac_sha256 needs a key, a ${env:NAME} or ${file:/path} reference")
        if self.key is not None and self.hash != "hmac_sha256":
            raise ValueError("key goes with hash: hmac_sha256 only")
        return self

    def shape(self) -> ColumnShape:
        """As it stands in the mapping."""
        mask = self.mask
        return ColumnShape(
            hash=self.hash, key=self.key, truncate=self.truncate, type=self.type,
            mask=mask.with_ if mask else None, keep_first=mask.keep_first if mask else 0,
            keep_last=mask.keep_last if mask else 0,
        )


class Added(Strict):
    """One column of the target that the source does not have: a constant `value`, or what `from` names."""

    value: bool | Annotated[int, Field(ge=-_LARGEST - 1, le=_LARGEST)] | str | None = Field(
        None, description="The same in every row: a text, an integer (`bigint`), or true or false (`boolean`)."
    )
    from_: Origin | None = Field(
        None, alias="from",
        description="`pipeline`: its name. Of the row's last change: `operation` (`r` copied, `c` inserted, `u` "
        "updated, `d` deleted where deletes are soft), "
        "`commit_time` (`timestamptz`; of a copied row its snapshot's), `position` (the GTID, else "
        "file:pos).",
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.value is None) == (self.from_ is None):
            raise ValueError("give exactly one of value and from")
        if isinstance(self.value, str) and "\0" in self.value:
            raise ValueError("value must not hold the character NUL")
        return self

    def column(self, name: str, pipeline: str) -> AddedColumn:
        """As it stands in the mapping."""
        match self.from_:
            case "operation" | "position" as origin:
                return AddedColumn(name, "text", origin)
            case "commit_time":
                return AddedColumn(name, "timestamptz", "commit_time")
            case "pipeline":
                return AddedColumn(name, "text", text=pipeline)
        if isinstance(self.value, bool):
            return AddedColumn(name, "boolean", text=str(self.value).lower())
        return AddedColumn(name, "bigint" if isinstance(self.value, int) else "text", text=str(self.value))


class ColumnShapes(Strict):
    """The columns of one table, as they are to be on the target."""

    columns: dict[ColumnName, ShapedColumn] = Field(
        default_factory=dict, description="Columns whose values change, by their names on the source."
    )
    add: dict[ColumnName, Added] = Field(
        default_factory=dict, description="Columns of the target that the source does not have."
    )
