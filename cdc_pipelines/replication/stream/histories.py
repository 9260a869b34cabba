"""Which transaction a change belongs to, for the tables whose versions are told apart by it, and when that was."""

from cdc_pipelines.replication.changes.batches import HistoryBatch, Key, Row


class Histories:
    """Numbers the transactions of a run's history batches, and gives each of them one time: that of its commit.

    Of one that comes in several parts the commit is not known when the first is handed over: its time is that of its
    first change, in all its parts.
    """

    def __init__(self) -> None:
        self._transaction = 0
        self._first_ms: int | None = None  # of the open transaction's first change; None while it has none
        self._handed = False  # whether a part of the open transaction was handed over
        self._batches: list[HistoryBatch] = []  # of the part that is gathered, with changes of the open transaction

    def add(self, batch: HistoryBatch, key: Key, row: Row | None, at_ms: int | None) -> None:
        if self._first_ms is None:
            self._first_ms = at_ms or 0
        if not any(each is batch for each in self._batches):
            self._batches.append(batch)
            if self._handed:
                batch.went_before = self._transaction
        batch.add(key, self._transaction, row)

    def complete(self, commit_ms: int | None) -> None:
        """The open transaction is whole."""
        if self._first_ms is not None:
            self._stamp(self._first_ms if self._handed else commit_ms or self._first_ms)
            self._transaction += 1
        self._batches.clear()
        self._first_ms, self._handed = None, False

    def hand_over(self) -> None:
        """The part goes to the applier; what comes now of the open transaction belongs to the next one."""
        if self._first_ms is None:
            return
        self._stamp(self._first_ms)
        for batch in self._batches:
            batch.goes_on = self._transaction
        self._batches.clear()
        self._handed = True

    def _stamp(self, ms: int) -> None:
        for batch in self._batches:
            batch.times[self._transaction] = ms
