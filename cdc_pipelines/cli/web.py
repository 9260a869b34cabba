"""`cdc web`: the API and the pages."""

import click

from cdc_pipelines.cli.output import console


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others than loopback's "
              "demand a token in CDC_WEB_TOKEN.")
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65535))
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="PEM file of the server's certificate.")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="PEM file of its key.")
def web(host: str, port: int, tls_cert: str | None, tls_key: str | None) -> None:
    """Serve the API and the pages until SIGTERM. Actions are launched in the Dagster of CDC_DAGSTER_URL.

    Its environment must hold the variables that the pipelines' files refer to.
    """
    import uvicorn

    from cdc_pipelines.replication.control.store import ControlStore
    from cdc_pipelines.replication.logs import setup_logging
    from cdc_pipelines.web.app import create_app
    from cdc_pipelines.web.settings import from_environment

    settings = from_environment(host, port)
    setup_logging()
    console.print(f"cdc web: http{'s' if tls_cert else ''}://{host}:{port}", markup=False)
    uvicorn.run(
        create_app(settings, ControlStore.open()), host=host, port=port, log_config=None, access_log=False,
        server_header=False, ssl_certfile=tls_cert, ssl_keyfile=tls_key, limit_concurrency=200,
        timeout_graceful_shutdown=5,
    )
