"""How far a copy is, as a bar on the terminal."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from cdc_pipelines.replication.copy.progress import Progress, time_left


@contextmanager
def telling_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """A progress, shown on stderr while the block lasts: where that is a terminal, and not `quiet`.

    Nothing of it stays. Lines that are logged meanwhile stand above it.
    """
    progress = Progress()
    with _Bar(progress, shown=sys.stderr.isatty() and not quiet):
        yield progress


class _Bar(Bars):
    """One bar for all tables of a copy, once it is planned. It asks for the facts whenever it is drawn."""

    def __init__(self, progress: Progress, *, shown: bool) -> None:
        self._progress = progress
        super().__init__(
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:.0f} %"),
            TextColumn("{task.completed:,} of ~{task.total:,} rows"),
            TextColumn("{task.fields[rate]:,.0f} rows/s"),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True, highlight=False), disable=not shown, expand=True, transient=True,
            redirect_stdout=False,  # it would go to stderr, too
        )
        self._bar = self.add_task("copy", visible=False, rate=0.0, left="")

    def get_renderables(self) -> Iterable[RenderableType]:
        facts = self._progress.snapshot()
        if facts["chunks"]:
            self.update(
                self._bar, visible=True, total=facts["rows_total"], completed=facts["rows"],
                rate=facts["rows_per_second"], left=time_left(facts["eta_seconds"]),
            )
        yield from super().get_renderables()
