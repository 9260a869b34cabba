"""References to secrets, and keeping their values out of what people can read.

A pipeline's file never holds a secret, only where to find it: `${env:NAME}` or `${file:/path}`.
The same two forms, with a default (`${env:NAME:-default}`), may stand for hosts, ports and users.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from cdc_pipelines.replication.errors import ConfigurationError

REFERENCE = re.compile(r"\$\{(?P<kind>env|file):(?P<name>[^}]*?)(?::-(?P<default>[^}]*))?\}")
MASK = "********"

_known_values: set[str] = set()


def is_reference(text: str) -> bool:
    """Whether the whole text is one `${env:…}` or `${file:…}` reference."""
    return REFERENCE.fullmatch(text) is not None


def resolve(text: str, environ: Mapping[str, str] | None = None) -> str:
    """The text with every reference replaced by its value.

    Raises ConfigurationError where a variable is unset (and has no default) or a file can't be read.
    """
    env = os.environ if environ is None else environ

    def value(match: re.Match[str]) -> str:
        kind, name, default = match["kind"], match["name"], match["default"]
        if kind == "env":
            found = env.get(name, default)
            if found is None:
                raise ConfigurationError(
                    f"environment variable {name} is not set (referred to as {match[0]})",
                    f"export {name}=… in the environment of this process (CLI, agent, Dagster).",
                )
            return found
        try:
            return Path(name).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            if default is not None:
                return default
            raise ConfigurationError(
                f"file {name} can't be read (referred to as {match[0]}): {error.strerror}",
                "create the file with the secret as its only content, readable by this process.",
            ) from error

    return REFERENCE.sub(value, text)


def resolve_secret(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Like `resolve`, and remembers the value so that `redact` hides it from then on."""
    value = resolve(text, environ)
    remember(value)
    return value


def remember(value: str) -> None:
    """Let `redact` hide a secret that was not resolved from a reference."""
    if len(value) >= 4:
        _known_values.add(value)


def redact(text: str) -> str:
    """The text with every secret that this process has resolved replaced by a mask."""
    for value in sorted(_known_values, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text


def for_connect(reference: str) -> str:
    """Our reference in the form that Kafka Connect's config providers resolve in the worker.

    `${env:NAME}` stays; `${file:/dir/name}` becomes `${directory:/dir:name}` (DirectoryConfigProvider:
    the file's whole content is the value).
    """
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise ConfigurationError("a secret for Kafka Connect must be one ${env:NAME} or ${file:/path} reference")
    if match["kind"] == "env":
        return f"${{env:{match['name']}}}"
    path = Path(match["name"])
    return f"${{directory:{path.parent}:{path.name}}}"
