"""Places in a source's log, and sets of what lies at or before one."""

from typing import NamedTuple, Protocol, Self

from cdc_pipelines.replication.errors import IntegrityError


class Place(NamedTuple):
    """Where an event stands in the log: its transaction's GTID (if the server has them), file and offset."""

    gtid: str | None
    file: str
    pos: int

    @property
    def log_place(self) -> str:
        """`file:pos`, for people."""
        return f"{self.file}:{self.pos}"


class Position(Protocol):
    """A state of the log: everything up to here, as a source dialect knows it."""

    def covers(self, place: Place) -> bool:
        """Whether the event at `place` is at or before this position."""

    def includes(self, other: Self) -> bool:
        """Whether everything up to `other` is at or before this position."""

    def to_json(self) -> str: ...


def log_file_number(file: str) -> int:
    """The running number of a binary log file: 17 of `binlog.000017`."""
    try:
        return int(file.rsplit(".", 1)[1])
    except (IndexError, ValueError):
        raise IntegrityError(f"{file!r} is not the name of a binary log file (base.number)") from None
