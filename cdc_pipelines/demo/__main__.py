"""`python -m cdc_pipelines.demo up|down`: what `make demo` and `make demo-down` call."""

import sys
from pathlib import Path

import click

from cdc_pipelines.demo.ending import end_demo
from cdc_pipelines.demo.run import run_demo
from cdc_pipelines.demo.scene import PROJECT, DemoFailedError, Scene
from cdc_pipelines.demo.screen import Screen
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.stack.errors import StackError

_pipeline = click.option(
    "--pipeline", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=PROJECT / "pipelines" / "shop.yaml", help="The pipeline's file; its source database is made anew.",
)
_database = click.option(
    "--dagster-database", default="dagster", show_default=True, help="PostgreSQL database for Dagster's runs."
)


@click.group()
def demo() -> None:
    """The demo on the local stack."""


@demo.command()
@_pipeline
@_database
@click.option("--scale", type=float, default=1.0, show_default=True, help="Size of the shop; 1 is about 460,000 rows.")
def up(file: Path, dagster_database: str, scale: float) -> None:
    """Run the demo and leave everything running. Exit code 0 only if all of it held."""
    screen = Screen()
    try:
        run_demo(Scene.of(file, dagster_database), screen, scale=scale)
    except (DemoFailedError, CdcError, StackError) as error:
        screen.line(f"\nThe demo failed: {error}")
        screen.line("What is running stays, to be looked at; `make demo-down` ends it.")
        sys.exit(1)


@demo.command()
@_pipeline
@_database
def down(file: Path, dagster_database: str) -> None:
    """End what `up` left running and delete its data. Harmless where nothing is left."""
    try:
        end_demo(Scene.of(file, dagster_database), click.echo)
    except StackError:
        click.echo("the stack was never started: nothing to end")
    except (DemoFailedError, CdcError) as error:
        click.echo(f"demo-down: {error}", err=True)
        sys.exit(1)


demo()
