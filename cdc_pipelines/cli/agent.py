"""`cdc agent`: the supervisor of the consumers, as a service or by hand."""

import click


@click.command()
@click.option(
    "--stop-consumers/--leave-consumers", default=False, envvar="CDC_AGENT_STOP_CONSUMERS", show_default=True,
    help="What becomes of the consumers when the agent ends. In a container they would be killed with it: stop them.",
)
@click.option(
    "--poll-seconds", default=0.25, show_default=True, type=click.FloatRange(min=0.05, max=60),
    help="How often the agent looks at what is desired.",
)
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), envvar="CDC_METRICS_PORT", show_envvar=True,
    help="Serve Prometheus metrics of all pipelines at http://HOST:PORT/metrics. 0: any free port, which is logged.",
)
@click.option(
    "--metrics-host", default="127.0.0.1", envvar="CDC_METRICS_HOST", show_default=True, show_envvar=True,
    help="Address to serve them on. They hold no secrets, and need no login.",
)
def agent(stop_consumers: bool, poll_seconds: float, metrics_port: int | None, metrics_host: str) -> None:
    """Start, watch and end consumers as the control store desires, until SIGTERM. One per host and store.

    Its environment is its consumers': it must hold the variables that the pipelines' files refer to.
    """
    from cdc_pipelines.agent import run_agent
    from cdc_pipelines.replication.control.store import ControlStore
    from cdc_pipelines.replication.logs import setup_logging

    setup_logging()
    run_agent(
        ControlStore.open(), poll_s=poll_seconds, stop_consumers=stop_consumers,
        metrics=None if metrics_port is None else (metrics_host, metrics_port),
    )
