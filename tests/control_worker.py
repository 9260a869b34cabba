"""What tests of the control store and of the agent let other processes do.

Every worker says `ready` once it has opened the store, waits for a word, then acts; so several of them act at the
same moment.
"""

import os
import sys
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cdc_pipelines.agent import run_agent
from cdc_pipelines.replication.control.store import ControlStore, Heartbeat
from cdc_pipelines.replication.errors import LeaseHeldError
from cdc_pipelines.replication.logs import setup_logging
from tests.control_specs import make_spec


def run(what: str, url: str, talk: Connection, *words: Any) -> None:
    """The body of a worker's process; one that raises says the error."""
    try:
        globals()[what](url, talk, *words)
    except BaseException as error:
        talk.send(f"{type(error).__name__}: {error}")
        raise


def _wait(talk: Connection) -> None:
    talk.send("ready")
    talk.recv()


def opening(url: str, talk: Connection) -> None:
    """Open a store that isn't there yet; says its id."""
    _wait(talk)
    talk.send(ControlStore.open(url).id)


def lease(url: str, talk: Connection, pipeline: str, holder: str, seconds: float, ttl_s: float) -> None:
    """Acquire a lease and hold it."""
    store = ControlStore.open(url)
    _wait(talk)
    try:
        with store.lease(pipeline, holder, "work", ttl_s=ttl_s):
            talk.send("got")
            time.sleep(seconds)
    except LeaseHeldError as error:
        talk.send(f"held {error.message}")


def count(url: str, talk: Connection, pipeline: str, file: str, times: int) -> None:
    """Under the lease: read a number from a file, wait a moment, write it back plus one."""
    store = ControlStore.open(url)
    _wait(talk)
    for _ in range(times):
        with store.lease(pipeline, f"count:{os.getpid()}", "count", wait_s=60):
            with open(file, encoding="ascii") as stream:
                number = int(stream.read())
            time.sleep(0.01)
            with open(file, "w", encoding="ascii") as stream:
                stream.write(str(number + 1))
    talk.send("done")


def beats(url: str, talk: Connection, pipeline: str, times: int) -> None:
    """Beat a hundred times as often as a consumer does; says how many beats were kept."""
    store = ControlStore.open(url)
    _wait(talk)
    kept = 0
    for number in range(times):
        kept += store.beat(
            Heartbeat(pipeline, "g", os.getpid(), "h", "1", "streaming", datetime.now(UTC), log_offset=number)
        )
        time.sleep(0.03)  # SQLite is not fair: who writes without a pause keeps the others out
    talk.send(kept)


def saves(url: str, talk: Connection, number: int, times: int) -> None:
    """Save pipelines, each time after a look at those that are there."""
    store = ControlStore.open(url)
    _wait(talk)
    for turn in range(times):
        store.save_pipeline(make_spec(f"p{number}_{turn}", number * 100 + turn), "", ())
    talk.send("done")


def agent(url: str, talk: Connection) -> None:
    """Register as this host's agent and stay."""
    store = ControlStore.open(url)
    _wait(talk)
    other = store.register_agent(f"agent{os.getpid()}")
    talk.send("registered" if other is None else f"refused {other.pid}")
    talk.recv()


def supervise(url: str, talk: Connection, folder: str, options: dict[str, Any]) -> None:
    """Run an agent whose consumers are `stand_in_consumer`s, until it is told to end by a signal.

    `host` is the name under which it works (CDC_HOST), `notify` the socket on which systemd would listen.
    """
    os.environ["CDC_HOME"] = folder
    setup_logging(stream=open(Path(folder) / "agent.log", "a", encoding="utf-8"))  # noqa: SIM115 (for its whole life)
    for option, variable in (("host", "CDC_HOST"), ("notify", "NOTIFY_SOCKET")):
        if option in options:
            os.environ[variable] = options.pop(option)
    command = [sys.executable, "-S", "-E", str(Path(__file__).with_name("stand_in_consumer.py")), folder, "consume"]
    store = ControlStore.open(url)
    _wait(talk)
    run_agent(store, command_for=lambda name: [*command, name], **({"poll_s": 0.1, "grace_s": 2} | options))
    talk.send("ended")
