"""What `cdc web` is started with."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.pipeline_file import pipelines_dir

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
LEAST_TOKEN = 16
"""Characters."""
_SECRET_NAME = re.compile("PASSW|SECRET|TOKEN|CREDENTIAL|PRIVATE|_KEY$|APIKEY", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"://[^/@:\s]*:([^/@\s]+)@")


@dataclass(frozen=True)
class WebSettings:
    """`hosts`: names under which browsers may reach it, beside loopback's own; empty with a token: any."""

    host: str = "127.0.0.1"
    port: int = 8090
    token: str = field(default="", repr=False)
    dagster_url: str = "http://127.0.0.1:3000"
    pipelines: Path = field(default_factory=pipelines_dir)
    hosts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Raises ConfigurationError for what would let strangers in."""
        if self.token and len(self.token) < LEAST_TOKEN:
            raise ConfigurationError(
                f"CDC_WEB_TOKEN has {len(self.token)} characters, fewer than {LEAST_TOKEN}",
                "make a longer one, e.g. `openssl rand -hex 24`.",
            )
        if not self.token and not is_loopback(self.host):
            raise ConfigurationError(
                f"`cdc web` would listen on {self.host}, where others can reach it, without a token",
                "set CDC_WEB_TOKEN (e.g. to what `openssl rand -hex 24` prints), or listen on 127.0.0.1.",
            )
        parts = urlsplit(self.dagster_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ConfigurationError(
                "CDC_DAGSTER_URL is no plain http:// or https:// address of a Dagster webserver",
                "give it like http://127.0.0.1:3000, without user and password.",
            )

    def accepts_host(self, name: str) -> bool:
        """Whether a browser may have reached us under this name (without port): a stranger's name could be rebound."""
        name = name.lower()
        if name in self.hosts or (is_loopback(self.host) and name in LOOPBACK_NAMES):
            return True
        return not is_loopback(self.host) and not self.hosts


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def from_environment(host: str, port: int, environ: Mapping[str, str] | None = None) -> WebSettings:
    """The settings, from options and environment; every secret of the environment is hidden from then on."""
    env = os.environ if environ is None else environ
    hide_secrets(env)
    return WebSettings(
        host, port, token=env.get("CDC_WEB_TOKEN", ""),
        dagster_url=env.get("CDC_DAGSTER_URL", "http://127.0.0.1:3000").rstrip("/"),
        hosts=frozenset(name.strip().lower() for name in env.get("CDC_WEB_HOSTS", "").split(",") if name.strip()),
    )


def hide_secrets(environ: Mapping[str, str]) -> None:
    """A file that somebody posts may refer to any variable, and a server's error repeats what it was given."""
    for name, value in environ.items():
        if _SECRET_NAME.search(name):
            secrets.remember(value)
        for password in _URL_PASSWORD.findall(value):
            secrets.remember(password)
