"""Rule 2, no time travel: what a chunk already holds is not applied again.

While the log is at or before the position of the chunk that holds an event's key, the event is already in the
copied rows. Once the log has passed the last chunk's position the question is never asked again.
"""

from bisect import bisect_right
from collections.abc import Sequence

from cdc_pipelines.replication.changes.batches import Key
from cdc_pipelines.replication.position import Place, Position


class TableOverlap:
    """The chunks of one table: ascending lower bounds (the first is None) and a position for each."""

    def __init__(self, bounds: Sequence[tuple[Key | None, Key | None]], positions: Sequence[Position]) -> None:
        self._bounds = list(bounds)
        self._lowers = [lower for lower, _ in bounds[1:]]
        self.positions = list(positions)
        first = self.positions[0]
        self._one = all(p.includes(first) and first.includes(p) for p in self.positions)
        self._earliest = first
        for position in self.positions:
            if self._earliest.includes(position):
                self._earliest = position

    def covers_all(self, place: Place) -> bool:
        """Whether every row was copied after the event at `place`."""
        return self._earliest.covers(place)

    def covers(self, key: Key | None, place: Place) -> bool:
        """Whether the rows that were copied already contain the event of `key` at `place`."""
        if self._one or key is None:
            return self.positions[0].covers(place)
        return self.positions[bisect_right(self._lowers, key)].covers(place)  # type: ignore[type-var]

    def reached_by_truncate(self, place: Place) -> list[tuple[Key | None, Key | None]] | None:
        """The ranges that were copied before the truncate at `place`: None for all, [] for none."""
        ranges = [b for b, p in zip(self._bounds, self.positions, strict=True) if not p.covers(place)]
        return None if len(ranges) == len(self._bounds) else ranges


class Overlap:
    """All tables' chunks. `passed` turns true, for ever, at the first transaction beyond every position."""

    def __init__(self, tables: dict[str, TableOverlap]) -> None:
        self._tables = tables
        self.passed = not tables

    def enter(self, place: Place) -> None:
        """Called once at the first row of each transaction."""
        if not self.passed:
            self.passed = not any(
                position.covers(place) for table in self._tables.values() for position in table.positions
            )

    def covers_all(self, table: str, place: Place) -> bool:
        """Whether the whole table was copied after the event at `place`: it need not even be looked at."""
        return not self.passed and table in self._tables and self._tables[table].covers_all(place)

    def covers(self, table: str, key: Key | None, place: Place) -> bool:
        if self.passed or table not in self._tables:
            return False
        return self._tables[table].covers(key, place)

    def reached_by_truncate(self, table: str, place: Place) -> list[tuple[Key | None, Key | None]] | None:
        if self.passed or table not in self._tables:
            return None
        return self._tables[table].reached_by_truncate(place)
