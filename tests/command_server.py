"""The `cdc` command for tests: a process of its own for each call, forked from one that holds the imports already.

Importing takes most of a command's time, and the suite calls hundreds. Nothing else is different: arguments,
environment, streams and exit code are the command's own, and so is the end of its interpreter. Tests that kill a
command, or watch one, start it whole.

Run as a program, it serves at the socket named on its command line until its stdin is closed.
"""

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
_PRELOADED = ("cdc_pipelines.cli", "cdc_pipelines.replication")
_BY_THE_WAY = ("alembic.command", "alembic.config")  # which a first command imports when it makes its store
_NOT_BY_ITSELF = (".__main__", ".migrations.env")


class CommandServer:
    """The test's side. One per test process, ended by `close`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cdc-commands-")
        self._address = f"{self._folder.name}/socket"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.command_server", self._address], cwd=PROJECT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the command server did not start"

    def run(self, *words: str, environment: dict[str, str], timeout: float) -> tuple[int, str, str]:
        """The command's exit code, stdout and stderr; one that takes longer than `timeout` seconds is killed."""
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder, \
                socket.socket(socket.AF_UNIX) as connection:
            streams = [Path(folder, name) for name in ("stdout", "stderr")]
            connection.settimeout(timeout)
            connection.connect(self._address)
            request = {"words": words, "environment": environment, "streams": [str(each) for each in streams]}
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile() as answers:
                pid = int(answers.readline())
                try:
                    code = int(answers.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    said = "\n".join(each.read_text() for each in streams)
                    raise AssertionError(f"cdc {' '.join(words)}: not over within {timeout:.0f} s\n{said}") from None
            return code, *(each.read_text() for each in streams)

    def close(self) -> None:
        self._process.communicate()  # closes its stdin
        self._folder.cleanup()


def serve(address: str) -> dict[str, Any] | None:
    """Returns a request in a process forked to meet it; in the server itself, None at the end."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(16)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return None
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    return _supervise(connection)
                _reap()


def _supervise(connection: socket.socket) -> dict[str, Any]:
    """Tell how a command ends, from between it and the server. Returns in the command's process only."""
    with connection.makefile() as lines:
        request: dict[str, Any] = json.loads(lines.readline())
    pid = os.fork()
    if pid == 0:
        return request
    with suppress(BrokenPipeError):
        connection.sendall(f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _preload() -> None:
    for name in _PRELOADED:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if not module.name.endswith(_NOT_BY_ITSELF):
                importlib.import_module(module.name)
    for name in _BY_THE_WAY:
        importlib.import_module(name)
    gc.freeze()  # what is there stays: no reason to look through it in every child


def _become(request: dict[str, Any]) -> None:
    for number, file in enumerate([os.devnull, *request["streams"]]):
        opened = os.open(file, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["cdc", *request["words"]]


if __name__ == "__main__":
    _preload()
    wanted = serve(sys.argv[1])
    if wanted is not None:
        _become(wanted)
        importlib.import_module("cdc_pipelines.cli").main()
