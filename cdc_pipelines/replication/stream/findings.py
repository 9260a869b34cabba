"""What the consumer's watch found on the source that the log does not tell, as its heartbeat carries it."""

from typing import Self

import msgspec


class Cascade(msgspec.Struct, frozen=True):
    """A foreign key by which the server changes rows of `child` without a word in its log; `cure` is SQL."""

    child: str
    parent: str
    cure: str


class Findings(msgspec.Struct, frozen=True):
    """`gone_tables`: those that the source has no more; `cascades`: of the tables that are replicated."""

    gone_tables: tuple[str, ...] = ()
    cascades: tuple[Cascade, ...] = ()

    @classmethod
    def from_json(cls, text: str | None) -> Self:
        """Nothing found, where a heartbeat carries none."""
        return msgspec.json.decode(text, type=cls) if text else cls()

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()
