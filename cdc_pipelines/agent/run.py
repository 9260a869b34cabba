"""The agent's life: one per host and store, until it is told to end."""

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from cdc_pipelines.agent import liveness
from cdc_pipelines.agent.consumers import CommandFor, consume_command
from cdc_pipelines.agent.supervisor import GRACE_S, Supervisor
from cdc_pipelines.replication import processes
from cdc_pipelines.replication.control.agents import FRESH_S
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import CdcError, ConfigurationError, FencedError, RetryableError

BEAT_EVERY_S = 3.0

_log = logging.getLogger("cdc.agent")


def run_agent(
    store: ControlStore, *, poll_s: float = 0.25, stop_consumers: bool = False, grace_s: float = GRACE_S,
    command_for: CommandFor = consume_command, stop: threading.Event | None = None,
    metrics: tuple[str, int] | None = None,
) -> None:
    """Supervise the store's consumers on this host until SIGTERM, SIGINT or `stop`; serve metrics at (host, port).

    Consumers go on when it ends, unless `stop_consumers`; the next agent finds them. Raises RetryableError where an
    agent of this store works under this host's name already, FencedError where another one took this one's place.
    """
    stop = stop or threading.Event()
    agent_id = uuid.uuid4().hex
    supervisor = Supervisor(store, command_for, grace_s=grace_s)
    with _signals(stop):
        _register(store, agent_id, stop)
        try:
            with _metrics(store, metrics):
                gone = _supervise(store, agent_id, supervisor, stop, poll_s, stop_consumers)
        finally:
            liveness.ending()
            _forget(store, agent_id)
    _log.info("agent ends; %s", "no consumer is left" if stop_consumers or gone else "its consumers go on")


def _metrics(store: ControlStore, address: tuple[str, int] | None) -> AbstractContextManager[object]:
    if address is None:
        return nullcontext()
    from cdc_pipelines.agent.metrics import serving  # only here: the library is not needed else

    return serving(store, *address)


def _supervise(
    store: ControlStore, agent_id: str, supervisor: Supervisor, stop: threading.Event, poll_s: float,
    stop_consumers: bool,
) -> bool:
    """From the first look to the last; True where the store is gone."""
    supervisor.take_over()
    _log.info("agent (process %d) of host %s serves %s", os.getpid(), processes.host(), store.location)
    liveness.ready()
    gone = _loop(store, agent_id, supervisor, stop, poll_s)
    if stop_consumers or gone:
        supervisor.stop_all()
    return gone


def _loop(
    store: ControlStore, agent_id: str, supervisor: Supervisor, stop: threading.Event, poll_s: float
) -> bool:
    """Tick until told to stop. True where the store itself is gone: nobody could end the consumers later."""
    there = _presence(store)
    beaten_at = float("-inf")
    trouble = ""
    while not stop.is_set():
        liveness.at_work()
        if not there():
            _log.error("the control store %s was deleted; consumers are ended, and so is the agent", store.location)
            return True
        try:
            if time.monotonic() - beaten_at > BEAT_EVERY_S:
                if not store.agent_beat(agent_id):
                    _register(store, agent_id, stop, again=True)
                beaten_at = time.monotonic()
            supervisor.tick()
            if trouble:
                _log.info("the control store is reached again")
            trouble = ""
        except (RetryableError, ConfigurationError) as error:
            # Consumers don't need the store to go on, and the next tick finds everything as it is.
            if error.message != trouble:
                _log.warning("%s; consumers go on", error.message)
            trouble = error.message
        except FencedError:
            raise
        except Exception:  # noqa: BLE001 (logged whole)
            # One pipeline's surprise must not leave all others without a supervisor.
            _log.exception("unexpected error; the agent goes on")
        stop.wait(poll_s)
    return False


def _register(store: ControlStore, agent_id: str, stop: threading.Event, *, again: bool = False) -> None:
    deadline = time.monotonic() + FRESH_S + BEAT_EVERY_S
    while True:
        other = store.register_agent(agent_id)
        if other is None:
            return
        if other.here or again or stop.is_set() or time.monotonic() > deadline:
            break
        # A container of that name that was killed can't say so: it is believed in until its last beat is old.
        stop.wait(1)
    since = f"process {other.pid} (since {other.started_at:%Y-%m-%d %H:%M:%S} UTC)"
    if other.here:
        words = f"an agent serves {store.location} on this host already: {since}"
        mend = f"nothing need be done; to replace it, end it (`kill {other.pid}`): consumers go on."
    else:
        words = f"an agent in another container or on another machine serves {store.location} as host {other.host}, "
        words += f"too: {since}"
        mend = "give each agent a name of its own: CDC_HOST=…."
    if again:
        raise FencedError(words, mend if not other.here else "nothing need be done: it supervises the consumers.")
    raise RetryableError(words, mend)


def _presence(store: ControlStore) -> Callable[[], bool]:
    """Whether the SQLite file is still the one that was there; PostgreSQL tells by itself."""
    if store.address.get_backend_name() != "sqlite":
        return lambda: True
    file = Path(store.address.database or "")
    inode = file.stat().st_ino

    def there() -> bool:
        try:
            return file.stat().st_ino == inode
        except FileNotFoundError:
            return False

    return there


def _forget(store: ControlStore, agent_id: str) -> None:
    try:
        store.forget_agent(agent_id)
    except CdcError as error:
        _log.warning("the agent's end is not kept: %s", error.message)  # its row is stale in seconds anyway


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Set the event on SIGTERM and SIGINT, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
