"""`cdc alert-test`: whether people can be told."""

import sys
from datetime import UTC, datetime

import click

from cdc_pipelines.cli.output import console, emit_json


@click.command("alert-test")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True)
def alert_test(name: str, as_json: bool) -> None:
    """Send a test message through every channel of pipeline NAME, from here. Exit code 1 where one did not take it."""
    from cdc_pipelines.replication.alerts.channels import open_channels
    from cdc_pipelines.replication.alerts.delivery import deliver
    from cdc_pipelines.replication.alerts.message import trial_alert
    from cdc_pipelines.replication.control.store import ControlStore
    from cdc_pipelines.replication.errors import ConfigurationError

    store = ControlStore.open()
    settings = store.get(name).spec.alerts
    if not settings.anybody:
        raise ConfigurationError(
            f"pipeline {name}: its file names nobody to tell",
            "add a section `alerts` to it, see docs/alerts.md; then `cdc configure FILE`.",
        )
    outcomes = deliver(open_channels(settings), trial_alert(name, store=store.id, now=datetime.now(UTC)))
    if as_json:
        emit_json([{"channel": each.channel, "ok": not each.error, "error": each.error} for each in outcomes])
    else:
        for each in outcomes:
            words = f"NOT {each.channel}: {each.error}" if each.error else f"ok  {each.channel}"
            console.print(words, markup=False)
    sys.exit(1 if any(each.error for each in outcomes) else 0)
