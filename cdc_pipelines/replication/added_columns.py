"""The values of the columns that the source does not have: of copied rows, and of changes from the log."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.position import Place

Stamp = Callable[[str, Place, int | None], str | None]
"""From a change's operation, place, and commit time in milliseconds to the target's text input."""


def of_copied_rows(table: MappedTable, taken_at: str, position: str) -> tuple[bytes, ...]:
    """One value per added column, the same for all rows of a snapshot: when it was `taken_at`, and at what position."""
    texts = {"operation": "r", "commit_time": taken_at, "position": position}
    return tuple((texts.get(column.origin) or column.text).encode() for column in table.added)


@lru_cache(1000)
def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


STAMPS: dict[str, Stamp] = {
    "operation": lambda op, place, commit_ms: op,
    "commit_time": lambda op, place, commit_ms: None if commit_ms is None else _moment(commit_ms),
    "position": lambda op, place, commit_ms: place.gtid or f"{place.file}:{place.pos}",
}
"""By an added column's origin; constants have none."""
