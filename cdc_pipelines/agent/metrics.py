"""`GET /metrics` of the agent, by the library's own server."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.metrics.collector import registry
from cdc_pipelines.replication.metrics.looks import Looks

_log = logging.getLogger("cdc.agent")


@contextmanager
def serving(store: ControlStore, host: str, port: int) -> Iterator[str]:
    """Serve the metrics of all pipelines of the store for the block; its URL. Port 0: any that is free.

    Raises ConfigurationError where the address can't be had.
    """
    looks = Looks(store)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry(store, looks))
    except OSError as error:
        raise ConfigurationError(
            f"metrics can't be served on {host}:{port}: {error.strerror or error}",
            "give another port by --metrics-port (or CDC_METRICS_PORT), another address by CDC_METRICS_HOST.",
        ) from error
    looks.start()
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{server.server_port}/metrics"
    _log.info("metrics: %s", url)
    try:
        yield url
    finally:
        looks.close()
        server.shutdown()
        server.server_close()
        thread.join(5)
