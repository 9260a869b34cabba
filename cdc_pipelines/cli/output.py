"""How commands print: facts as JSON where asked, else short text; progress only on a terminal."""

import json
import logging
import os
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cdc_pipelines.replication import processes

console = Console(highlight=False, soft_wrap=True)


def emit_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def grid(columns: list[str], rows: list[list[Any]]) -> None:
    """A plain table; numbers go right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        right = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*[f"{v:,}" if isinstance(v, int) and not isinstance(v, bool) else str(v) for v in row])
    console.print(table)


def step_log(quiet: bool = False) -> logging.Logger:
    """Steps go to stderr as plain lines, so that stdout stays parseable."""
    log = logging.getLogger("cdc.operation")
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
        log.propagate = False
    return log


def holder() -> str:
    """Who holds a lease that the command line takes."""
    return f"cli:{processes.host()}:{os.getpid()}"
