"""How far a copy is, on one line of the terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.copy.progress import Progress


@contextmanager
def telling_progress() -> Iterator[tuple[Progress, Callable[[Chunk], None]]]:
    """A progress, and what is to be called after each chunk. The line is shown on a terminal only."""
    progress = Progress()
    shown = sys.stderr.isatty()

    def tell(_: Chunk) -> None:
        if shown:
            click.echo(f"\r\033[K  {progress}", err=True, nl=False)

    try:
        yield progress, tell
    finally:
        if shown:
            click.echo("\r\033[K", err=True, nl=False)
