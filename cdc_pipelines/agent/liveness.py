"""How whoever runs the agent sees that it lives: a file that it touches, and systemd's notifications.

Neither needs the control store. An agent that can't reach the store is at work all the same: to restart it would only,
in a container, take its consumers along.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path

from cdc_pipelines.replication.control.store import cdc_home


def file() -> Path:
    """Touched once a round, which takes seconds, or a minute while the store is out of reach."""
    return cdc_home() / "agent.alive"


def ready() -> None:
    _notify("READY=1")


def at_work() -> None:
    """To be called every round; a full disk changes nothing."""
    with suppress(OSError):
        file().touch(mode=0o600)
    _notify("WATCHDOG=1")


def ending() -> None:
    _notify("STOPPING=1")
    with suppress(OSError):
        file().unlink(missing_ok=True)


def _notify(word: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(word.encode(), "\0" + address[1:] if address.startswith("@") else address)
