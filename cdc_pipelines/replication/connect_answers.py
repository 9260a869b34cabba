"""What Kafka Connect's answers mean: what passes, what is missing, what was refused and why."""

from typing import Any

import requests

from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.secrets import redact

Json = dict[str, Any]

ANSWER_CHARS = 1500


class ConnectorExistsError(ConfigurationError):
    """A connector of that name exists, and with another configuration."""


class RefusedError(ConfigurationError):
    """Connect refused a request for good. `status` is HTTP's, `answer` the message (secrets masked)."""

    def __init__(self, message: str, next_step: str = "", status: int = 0, answer: str = "") -> None:
        super().__init__(message, next_step)
        self.status = status
        self.answer = answer


class UndecidedError(RetryableError):
    """Connect refused a configuration with which it finds nothing wrong when it is asked again."""


def brief(status: Json | None) -> str:
    """A status in one line."""
    if status is None:
        return "it does not exist"
    tasks = ", ".join(f"task {t['id']} {t['state']}" for t in status["tasks"]) or "no tasks"
    return f"connector {status['connector']['state']}, {tasks}"


def is_missing(answer: requests.Response) -> bool:
    return answer.status_code == 404


def is_rebalance(answer: requests.Response) -> bool:
    """409 means "exists already" or "not now"; only the latter passes."""
    if answer.status_code != requests.codes.conflict:
        return False
    return "already exists" not in message_of(answer)


def broke_reporting(text: str) -> bool:
    """Connect 4.3 fails to list errors of a plugin that has one setting by two names (Debezium MySQL 3.6)."""
    return "ConfigValueInfo.errors()" in text


def may_pass(error: BaseException) -> bool:
    """Whether a configuration was refused for something that may be otherwise in a moment, as on a busy machine."""
    if isinstance(error, RefusedError):
        return _is_out_of_reach(error.answer) and "Access denied" not in error.answer
    return isinstance(error, UndecidedError)


def message_of(answer: requests.Response) -> str:
    try:
        text = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        text = answer.text
    text = redact(text.strip())
    return text if len(text) <= ANSWER_CHARS else text[: ANSWER_CHARS - 1] + "…"


def _is_out_of_reach(text: str) -> bool:
    """The source, as seen from the worker."""
    return "Unable to connect" in text or "Communications link failure" in text


def advice(text: str) -> str:
    if _is_out_of_reach(text):
        return ("the Connect worker can't log in to the source: compare host and port as seen from there "
                "(`source.connect_host`, `source.connect_port`), the user, and that the worker's environment holds the "
                "password that the pipeline refers to.")
    return "mend the setting it names; `connect.config` in the pipeline's file holds your own ones."
