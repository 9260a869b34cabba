"""How many events each table has had in the open run, as the target's totals will count them."""

from collections.abc import Collection, Mapping

from cdc_pipelines.replication.changes.batches import Counts
from cdc_pipelines.replication.databases.postgres.state import TargetState


class Tally:
    """Events per table and kind; those of tables that stand apart are counted as skipped, whatever they were."""

    def __init__(self) -> None:
        self._tables: dict[str, Counts] = {}

    def add(self, part: Mapping[str, Counts], detached: Collection[str]) -> None:
        for name, counts in part.items():
            total = self._tables.setdefault(name, Counts())
            if name in detached:
                total.skipped += counts.total
                continue
            total.inserts += counts.inserts
            total.updates += counts.updates
            total.deletes += counts.deletes
            total.truncates += counts.truncates

    def forget(self, table: str) -> None:
        self._tables.pop(table, None)

    def rename(self, before: str, after: str) -> None:
        if before in self._tables:
            self._tables[after] = self._tables.pop(before)

    def write(self, state: TargetState, commit_ms: int | None) -> None:
        """Into the target's totals, in the run's transaction; `commit_ms` is when the source made the last change."""
        changed = {
            t: (c.inserts, c.updates, c.deletes, c.truncates) for t, c in self._tables.items() if c.total > c.skipped
        }
        if changed:
            state.count_changes(changed, commit_ms)
        skipped = {t: c.skipped for t, c in self._tables.items() if c.skipped}
        if skipped:
            state.count_skipped(skipped)
