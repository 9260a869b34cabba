"""How commands print: facts as JSON where asked, else short text; progress only on a terminal.

With --json stdout holds one JSON document, and stderr what went wrong: no steps, no progress, no questions on stdout.
"""

import json
import logging
import os
import sys
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cdc_pipelines.replication import processes
from cdc_pipelines.replication.logs import About, setup_logging

console = Console(highlight=False, soft_wrap=True)


def emit_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def emit_json_line(value: Any) -> None:
    """One line, at once: somebody may be waiting at the other end of a pipe."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))
    flush()


def flush() -> None:
    sys.stdout.flush()


def grid(columns: list[str], rows: list[list[Any]]) -> None:
    """Print a plain table."""
    console.print(table_of(columns, rows))


def table_of(columns: list[str], rows: list[list[Any]]) -> Table:
    """A plain table; numbers go right. Cells are text, or rich's."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        right = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*[_cell(value) for value in row])
    return table


def _cell(value: Any) -> RenderableType:
    if isinstance(value, Text):
        return value
    # Not a plain string: rich would take [what stands in brackets] for markup.
    return Text(f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value))


def step_log(pipeline: str, *, quiet: bool = False) -> About:
    """Where an operation tells its steps: stderr, so that stdout stays parseable. `quiet`: only what went wrong.

    As plain lines, or as JSON where CDC_LOG_FORMAT asks for it; never a secret.
    """
    setup_logging(level="WARNING", text=logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("cdc.operation")
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    return About(log, pipeline=pipeline)


def holder() -> str:
    """Who holds a lease that the command line takes."""
    return f"cli:{processes.host()}:{os.getpid()}"
