"""`cdc completion`: completion by the shell, of commands, options and pipelines' names."""

import contextlib
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

_VARIABLE = "_CDC_COMPLETE"


class PipelineName(click.ParamType):
    """The name of a configured pipeline. It is judged by the command; here it is completed."""

    name = "pipeline"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [
            CompletionItem(name, help=status) for name, status in _pipelines().items() if name.startswith(incomplete)
        ]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what lets SHELL complete `cdc`. For bash: `eval "$(cdc completion bash)"` in ~/.bashrc."""
    from cdc_pipelines.cli import cli

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cli, {}, "cdc", _VARIABLE).source())


def _pipelines() -> dict[str, str]:
    """Status by name. Nothing where the store can't be asked: a key press must neither fail nor make a store."""
    from cdc_pipelines.replication.control.engine import resolve_url
    from cdc_pipelines.replication.control.store import ControlStore
    from cdc_pipelines.replication.errors import CdcError

    with contextlib.suppress(CdcError):
        url = resolve_url()
        if url.get_backend_name() != "sqlite" or Path(url.database or "").exists():
            with contextlib.closing(ControlStore.open()) as store:
                return {state.pipeline: state.status for state in store.desired_states()}
    return {}
