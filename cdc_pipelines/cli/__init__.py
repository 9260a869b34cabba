"""`cdc …`: everything the Dagster UI can do, for terminals and scripts.

Exit codes: 0 done, 1 failed, 2 bad use or bad configuration, 3 the pipeline is not healthy or the sides differ.
"""

import importlib
import sys

import click

# command → module that defines it under the same name, `-` as `_`. Imported only when called: `cdc --help` stays quick.
_COMMANDS = {
    "add-table": "tables",
    "agent": "agent",
    "alert-test": "alerts",
    "carry": "carry",
    "check": "prepare",
    "completion": "completion",
    "configure": "prepare",
    "consume": "consume",
    "deadletters": "quarantine",
    "discover": "prepare",
    "heal": "health",
    "incidents": "health",
    "list": "inspect",
    "logs": "logs",
    "quarantine": "quarantine",
    "remove-table": "tables",
    "restart": "operate",
    "resync": "tables",
    "schema": "prepare",
    "schema-changes": "schema_changes",
    "stack": "stack",
    "start": "operate",
    "status": "status",
    "stop": "operate",
    "teardown": "operate",
    "verify": "inspect",
    "web": "web",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"cdc_pipelines.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, "list_" if cmd_name == "list" else cmd_name.replace("-", "_"))
        _complete_names(command)
        return command


def _complete_names(command: click.Command) -> None:
    """An argument `name` is a pipeline's, in every command that has one."""
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        _complete_names(each)
    from cdc_pipelines.cli.completion import PipelineName

    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter.name == "name":
            parameter.type = PipelineName()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cdc-pipelines")
def cli() -> None:
    """Keep tables of one database continuously equal to tables of another."""


def main() -> None:
    """Entry point: our own errors become one readable message and an exit code."""
    from cdc_pipelines.replication.errors import CdcError, ConfigurationError
    from cdc_pipelines.replication.secrets import redact
    from cdc_pipelines.stack.errors import StackError

    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except StackError as error:
        click.echo(f"cdc: {error}", err=True)
        sys.exit(1)
    except CdcError as error:
        click.echo(f"cdc: {redact(str(error))}", err=True)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)
