"""Making sure that an agent lives: consumers are its children, never those of a command or a Dagster run."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from cdc_pipelines.replication.control.store import AgentInfo, ControlStore, cdc_home
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError

_CONTAINER_SIGNS = ("/.dockerenv", "/run/.containerenv")
_POLL_S = 0.1


def ensure_agent(store: ControlStore, *, timeout_s: float = 60) -> AgentInfo:
    """The agent that serves this store: one that lives, else one started here, detached from everything.

    Raises ConfigurationError in a container, where a detached process would end with whatever step started it
    (`CDC_AGENT_AUTOSTART=1` allows it all the same, `0` forbids it everywhere), and RetryableError where a started
    agent does not beat within `timeout_s`.
    """
    found = store.live_agents()
    if found:
        return found[0]
    if not may_start_agents():
        raise ConfigurationError(
            f"no agent serves the control store {store.location}, and in a container none is started by the way",
            "run `cdc agent` as a service of its own beside this one (same CDC_CONTROL_URL, and the variables that "
            "the pipelines' files refer to); or set CDC_AGENT_AUTOSTART=1.",
        )
    log = _start_detached(store)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = store.live_agents()
        if found:
            return found[0]
        time.sleep(_POLL_S)
    raise RetryableError(f"the agent that was started did not beat within {timeout_s:.0f} s", f"look into {log}.")


def may_start_agents() -> bool:
    """`CDC_AGENT_AUTOSTART` where set, else whether this is no container."""
    word = os.environ.get("CDC_AGENT_AUTOSTART", "").strip().lower()
    if word:
        return word not in ("0", "false", "no")
    return not in_container()


def in_container() -> bool:
    """Docker, Podman and Kubernetes leave signs."""
    return "KUBERNETES_SERVICE_HOST" in os.environ or any(Path(sign).exists() for sign in _CONTAINER_SIGNS)


def child_environment(store: ControlStore) -> dict[str, str]:
    """Our environment, with the store's place spelled out: a child may run in another folder.

    The store's URL may hold a password; an environment is read by the same user only, a command line by all.
    """
    return os.environ | {"CDC_CONTROL_URL": store.url, "CDC_HOME": str(cdc_home())}


def logs_dir() -> Path:
    """Where agent and consumers write their logs; made where missing."""
    folder = cdc_home() / "logs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _start_detached(store: ControlStore) -> Path:
    """Start an agent in a session of its own; returns its log file."""
    file = logs_dir() / "agent.log"
    with file.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "cdc_pipelines.cli", "agent"],
            env=child_environment(store),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # It shall outlive us. Should it end before us, somebody must ask for its end, or it stays as a zombie.
    threading.Thread(target=child.wait, name="agent reaper", daemon=True).start()
    return file
