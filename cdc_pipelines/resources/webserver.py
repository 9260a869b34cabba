"""Dagster's webserver, asked to load the code location anew: tables and schedules are loaded with it, and stay."""

import logging
import os

import requests

from cdc_pipelines.dagster_client import DagsterClient, DagsterClientError
from cdc_pipelines.replication.secrets import redact

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

BY_HAND = (
    "Reload the code location (Deployment → Code locations → Reload) to see the tables as assets, and its schedules. "
    "Jobs know the pipeline without it."
)
LOADED = "Dagster has loaded its code location anew: it shows the tables as assets, and its schedules."
_LOAD_S = 120.0
_LOOK_S = 5.0


class NoWebserverError(Exception):
    """There is none that can be asked; the message says why."""


def reach() -> DagsterClient:
    """The webserver of CDC_DAGSTER_URL, which answers, to load the code location by. Raises NoWebserverError."""
    url = os.environ.get("CDC_DAGSTER_URL", "").strip().rstrip("/")
    if not url:
        raise NoWebserverError("CDC_DAGSTER_URL does not say where Dagster's webserver is")
    try:
        DagsterClient(url, timeout_s=_LOOK_S).location_state()
    except (requests.RequestException, DagsterClientError, KeyError, ValueError) as error:
        why = type(error).__name__
        raise NoWebserverError(f"no Dagster webserver answers at CDC_DAGSTER_URL, {redact(url)} ({why})") from None
    return DagsterClient(url, timeout_s=_LOAD_S)


def load_anew(log: Log) -> str:
    """Let the webserver load the code location anew, where it can be asked; what people are told of it, and do else."""
    try:
        load(reach(), log)
    except NoWebserverError as error:
        log.info("%s.", error)
        return BY_HAND
    return LOADED


def load(client: DagsterClient, log: Log) -> None:
    """Raises NoWebserverError where it did not load."""
    try:
        client.reload()
    except (requests.RequestException, DagsterClientError, KeyError, ValueError) as error:
        raise NoWebserverError(f"Dagster did not load its code location anew: {redact(str(error))}") from None
    log.info("Dagster has loaded its code location anew.")
