"""`cdc logs`: what consumers and the agent of this host wrote."""

import threading
import time
from pathlib import Path

import click

from cdc_pipelines.cli.interrupt import on_interrupt
from cdc_pipelines.cli.output import flush

_POLL_S = 0.25


@click.command()
@click.argument("name", required=False)
@click.option("--agent", is_flag=True, help="The agent's log, where a start started it; a service's is the service's.")
@click.option("--lines", "-n", default=50, show_default=True, type=click.IntRange(0), help="How many of the last ones.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written, until Ctrl-C.")
def logs(name: str | None, agent: bool, lines: int, follow: bool) -> None:
    """The log of pipeline NAME's consumer on this host. Lines are as they were written (see CDC_LOG_FORMAT)."""
    from cdc_pipelines.agent.log_files import last_lines

    if (name is None) == (not agent):
        raise click.UsageError("give the NAME of a pipeline, or --agent")
    file = _file(name)
    begin, found = last_lines(file, lines)
    for line in found:
        click.echo(line)
    if follow:
        ended = on_interrupt()
        try:
            _follow(file, begin, ended)
        except KeyboardInterrupt:
            return


def _file(name: str | None) -> Path:
    """Raises ConfigurationError where there is no such log, with where it may be."""
    from cdc_pipelines.replication.agent import logs_dir
    from cdc_pipelines.replication.control.store import ControlStore
    from cdc_pipelines.replication.errors import ConfigurationError

    file = logs_dir() / f"{name or 'agent'}.log"
    if file.exists():
        return file
    if name is None:
        raise ConfigurationError(f"there is no {file}", "an agent that runs as a service logs to its service manager.")
    store = ControlStore.open()
    store.get(name)
    beat = store.heartbeat(name)
    where = f"its consumer ran on {beat.host}" if beat is not None else "no consumer of it has run yet"
    raise ConfigurationError(
        f"there is no log of pipeline {name} here ({file}): {where}",
        "call this on that host, with the CDC_HOME that its agent has." if beat is not None else f"run `cdc start "
        f"{name}`.",
    )


def _follow(file: Path, begin: int, ended: threading.Event) -> None:
    """Print what is written after byte `begin`, until `ended`. A file that was moved on begins anew at 0."""
    rest = b""
    while not ended.is_set():
        size = file.stat().st_size if file.exists() else 0
        if size < begin:
            begin, rest = 0, b""
        if size > begin:
            with file.open("rb") as stream:
                stream.seek(begin)
                data = rest + stream.read(1 << 20)
                begin = stream.tell()
            *whole, rest = data.split(b"\n")  # the last line may be written in part
            for line in whole:
                click.echo(line.decode(errors="replace"))
            flush()
        else:
            time.sleep(_POLL_S)
