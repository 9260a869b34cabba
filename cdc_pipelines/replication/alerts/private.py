"""Keeping what a channel's address holds out of logs: libraries print parts of it, which no list of secrets has."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qsl, unquote, urlsplit

from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.secrets import MASK, is_reference, redact, resolve_secret

_LOGGERS = ("apprise", "urllib3.connectionpool")
_LONGEST = 400
_mine = threading.local()


class _Collect(logging.Filter):
    """Takes the records of threads that are muted out of the log, and gives the warnings among them to the thread."""

    def filter(self, record: logging.LogRecord) -> bool:
        complaints: list[str] | None = getattr(_mine, "complaints", None)
        if complaints is None:
            return True
        if record.name == _LOGGERS[0] and record.levelno >= logging.WARNING:
            complaints.append(record.getMessage())
        return False


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_Collect())


@contextmanager
def muted() -> Iterator[list[str]]:
    """Until the end this thread logs nothing of its requests. Yields apprise's warnings, to be `masked`."""
    complaints: list[str] = []
    _mine.complaints = complaints
    try:
        yield complaints
    finally:
        _mine.complaints = None


def learn_secrets(pipeline: Pipeline) -> None:
    """Let `redact` know the pipeline's passwords, as far as they can be had here: a run's error may repeat one."""
    for reference in (pipeline.source.password, pipeline.target.password, *pipeline.kafka.client.values()):
        if is_reference(reference):
            with suppress(ConfigurationError):
                resolve_secret(reference)


def masked(text: str, url: str) -> str:
    """One line of a library, without any part of the address that it was about."""
    text = redact(text)
    for part in sorted(_parts(url), key=len, reverse=True):
        text = text.replace(part, MASK)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 2] + " …"


def _parts(url: str) -> set[str]:
    """What may be a token: user, password, host, every step of the path, every value of the query."""
    try:
        found = urlsplit(url)
    except ValueError:
        return {url}
    login, _, host = found.netloc.rpartition("@")
    raw = [*login.split(":"), host, host.partition(":")[0], *found.path.split("/"), found.path, found.query,
           found.fragment, *(value for _, value in parse_qsl(found.query))]  # fmt: skip
    return {part for text in raw for part in (text, unquote(text)) if len(part) >= 4}
