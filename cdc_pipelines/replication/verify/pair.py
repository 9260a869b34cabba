"""Both sides of one table, asked at the same time."""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cdc_pipelines.replication.databases.checksum import Key, Row, Span, TableChecksum, Totals
from cdc_pipelines.replication.verify.judge import Found, Judge

A = TypeVar("A")
B = TypeVar("B")


class Pair:
    """The target works in the pool's thread, the source in the caller's."""

    def __init__(self, source: TableChecksum, target: TableChecksum, pool: ThreadPoolExecutor) -> None:
        self.source = source
        self.target = target
        self._judge = Judge(source.table, source.forms)
        self._pool = pool

    def both(self, source: Callable[[TableChecksum], A], target: Callable[[TableChecksum], B]) -> tuple[A, B]:
        """Raises what a side's function raises; the other side's is waited for then."""
        theirs = self._pool.submit(target, self.target)
        try:
            ours = source(self.source)
        except BaseException:
            theirs.exception()  # the session must be idle again
            raise
        return ours, theirs.result()

    def rows(self, count: int, chosen: set[int] | None, span: Span) -> list[Found]:
        """The differences in some buckets of a range."""
        def fetch(side: TableChecksum) -> list[Row]:
            return side.rows(count, chosen, span)

        return self._judge.compare(*self.both(fetch, fetch))

    def picked(self, picks: Collection[Key]) -> tuple[list[Found], dict[Key, frozenset[Row]]]:
        """The differences among the rows that were picked, and the target's rows by their picks."""
        def fetch(side: TableChecksum) -> list[Row]:
            return side.picked_rows(picks)

        ours, theirs = self.both(fetch, fetch)
        images: dict[Key, set[Row]] = {}
        for row in theirs:
            images.setdefault(self._judge.pick(row), set()).add(row)
        return self._judge.compare(ours, theirs), {pick: frozenset(rows) for pick, rows in images.items()}

    def buckets(self, count: int, span: Span) -> tuple[dict[int, Totals], dict[int, Totals]]:
        def ask(side: TableChecksum) -> dict[int, Totals]:
            return side.buckets(count, span)

        return self.both(ask, ask)
