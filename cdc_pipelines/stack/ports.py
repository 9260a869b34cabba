"""Choosing loopback ports once and keeping them.

Ports come from below the kernel's ephemeral range: a port out of that range could be taken by any outgoing
connection while the stack is down. Each stack home starts at its own offset, so two stacks rarely meet.
"""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Callable, Mapping

from cdc_pipelines.stack.errors import StackError
from cdc_pipelines.stack.settings import HOST, stack_home

_FIRST, _LAST = 20000, 29999

_PORTS = {
    "mysql": ("CDC_STACK_MYSQL_PORT",),
    "mariadb": ("CDC_STACK_MARIADB_PORT",),
    "postgres": ("CDC_STACK_POSTGRES_PORT",),
    "kafka": ("CDC_STACK_KAFKA_PORT", "CDC_STACK_KAFKA_CONTROLLER_PORT"),
    "connect": ("CDC_STACK_CONNECT_PORT",),
}


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now (left-over TIME_WAIT connections don't count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def of_part(part: str, values: Mapping[str, str]) -> tuple[int, ...]:
    """The ports on file for a part."""
    return tuple(int(values[key]) for key in _PORTS[part] if key in values)


def assign(values: dict[str, str], is_running: Callable[[str], bool]) -> list[str]:
    """Fill in every port of `values`: a kept one if its part runs or it is still free, else another.

    Returns one sentence for each port that had to change.
    """
    changed: list[str] = []
    taken = {int(values[key]) for keys in _PORTS.values() for key in keys if key in values}
    candidate = _FIRST + zlib.crc32(os.fsencode(stack_home())) % 900 * 10
    for part, keys in _PORTS.items():
        running = is_running(part)
        for key in keys:
            kept = values.get(key)
            if kept and (running or is_free(int(kept))):
                continue
            while candidate in taken or not is_free(candidate):
                candidate += 1
                if candidate > _LAST:
                    raise StackError(f"{part}: no free port between {_FIRST} and {_LAST} on {HOST}")
            if kept:
                changed.append(f"{part}: port {kept} is taken by another process, using {candidate} instead")
            values[key] = str(candidate)
            taken.add(candidate)
    values["CDC_STACK_KAFKA_BOOTSTRAP"] = f"{HOST}:{values['CDC_STACK_KAFKA_PORT']}"
    values["CDC_STACK_CONNECT_URL"] = f"http://{HOST}:{values['CDC_STACK_CONNECT_PORT']}"
    return changed
