"""`cdc stack`: the local stack's commands."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from cdc_pipelines.stack import orchestrate
from cdc_pipelines.stack.settings import env_file, load_env


@click.group()
def stack() -> None:
    """Run real MySQL, MariaDB, PostgreSQL, Kafka and Kafka Connect on this machine."""


def _parts(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[str]:
    names = [name.strip() for name in (value or "").split(",") if name.strip()]
    for name in names:
        if name not in orchestrate.PARTS:
            raise click.BadParameter(f"no part is called {name!r}; choose from {', '.join(orchestrate.PARTS)}")
    return names


_only = click.option(
    "--only", callback=_parts, metavar="PART,…", help=f"Some parts only: {', '.join(orchestrate.PARTS)}."
)


@stack.command()
@_only
@click.option("--with-jdbc-sink", is_flag=True, help="Fetch Debezium's JDBC sink too (for the benchmark).")
def up(only: list[str], with_jdbc_sink: bool) -> None:
    """Start what does not run yet, and wait until it serves."""
    if with_jdbc_sink:
        os.environ["CDC_STACK_JDBC_SINK"] = "1"
    failed = orchestrate.up(only, click.echo)
    for failure in failed:
        click.echo(f"\n{failure}", err=True)
        for line in failure.last_lines:
            click.echo(f"  | {line}", err=True)
        if failure.log:
            click.echo(f"  its log: {failure.log}", err=True)
    if failed:
        sys.exit(1)
    click.echo(f"the stack is up; its ports and passwords are in {env_file()}")


@stack.command()
@_only
@click.option("--wipe", is_flag=True, help="Delete the data too (downloads are kept).")
def down(only: list[str], wipe: bool) -> None:
    """Stop the parts; their data stays."""
    orchestrate.down(only, wipe, click.echo)


@stack.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(as_json: bool) -> None:
    """Show each part's state, port, version and log."""
    states = orchestrate.status()
    if as_json:
        click.echo(json.dumps([asdict(state) for state in states], indent=2))
        return
    table = Table("part", "state", "pid", "port", "version", "uptime", "log", box=None)
    for state in states:
        uptime = "" if state.uptime_seconds is None else f"{state.uptime_seconds:.0f} s"
        table.add_row(state.part, state.state, str(state.pid or ""), str(state.port or ""), state.version or "",
                      uptime, state.log)
    Console(width=250).print(table)  # a path cut short in a narrow terminal is of no use


@stack.command()
def env() -> None:
    """Print the stack's facts for `eval "$(cdc stack env)"`."""
    for key, value in load_env().items():
        click.echo(f"export {key}={shlex.quote(value)}")
