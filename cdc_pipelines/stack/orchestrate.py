"""`up`, `down` and `status` over all parts: in parallel, in the order they need each other, one at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from cdc_pipelines.stack import ports, process
from cdc_pipelines.stack.connect import Connect
from cdc_pipelines.stack.errors import PartFailedError, StackError
from cdc_pipelines.stack.kafka import Kafka
from cdc_pipelines.stack.layout import Layout, discover
from cdc_pipelines.stack.mariadb import MariaDb
from cdc_pipelines.stack.mysql import MySql
from cdc_pipelines.stack.part import NotReadyError, Part
from cdc_pipelines.stack.postgres import Postgres
from cdc_pipelines.stack.settings import load_or_create_env, save_env

_CLASSES: tuple[type[Part], ...] = (MySql, MariaDb, Postgres, Kafka, Connect)
PARTS = tuple(part.name for part in _CLASSES)

Say = Callable[[str], None]


@dataclass(frozen=True)
class PartStatus:
    """One line of `cdc stack status`."""

    part: str
    state: str
    pid: int | None
    port: int | None
    version: str | None
    uptime_seconds: float | None
    log: str


def up(only: Sequence[str], say: Say) -> list[PartFailedError]:
    """Bring up the chosen parts and what they need; returns those that failed."""
    layout = discover(announce=True)
    with _alone(layout, say):
        layout.ensure()
        values = load_or_create_env()
        parts = _build(layout, values)
        for sentence in ports.assign(values, lambda name: _running(parts[name]) is not None):
            say(sentence)
        save_env(values)
        chosen = _with_needs(only or PARTS)
        done = {name: threading.Event() for name in chosen}
        serving: set[str] = set()
        failed: dict[str, PartFailedError] = {}
        with ThreadPoolExecutor(len(chosen), thread_name_prefix="stack") as pool:
            jobs = [pool.submit(_bring_up, parts[name], done, serving, failed, say) for name in chosen]
            _finish(jobs)
        return list(failed.values())


def down(only: Sequence[str], wipe: bool, say: Say) -> None:
    """Stop the chosen parts, those that need others first; `wipe` also deletes their data."""
    layout = discover()
    with _alone(layout, say):
        layout.ensure()
        parts = _build(layout, load_or_create_env())
        chosen = list(only or PARTS)
        gone = {name: threading.Event() for name in chosen}
        with ThreadPoolExecutor(len(chosen), thread_name_prefix="stack") as pool:
            _finish([pool.submit(_take_down, parts[name], gone, parts, say) for name in chosen])
        if wipe:
            for name in chosen:
                shutil.rmtree(layout.data(name), ignore_errors=True)
                shutil.rmtree(layout.logs(name), ignore_errors=True)
            say(f"data of {', '.join(chosen)} deleted; downloads in {layout.parts} kept")


def status() -> list[PartStatus]:
    """The state of every part, found out from the processes themselves."""
    layout = discover()
    values = load_or_create_env()
    return [_status(part, values) for part in _build(layout, values).values()]


def _build(layout: Layout, values: Mapping[str, str]) -> dict[str, Part]:
    return {part.name: part(layout, values) for part in _CLASSES}


def _with_needs(only: Sequence[str]) -> list[str]:
    needs = {part.name: part.needs for part in _CLASSES}
    wanted = set(only) | {need for name in only for need in needs[name]}
    return [name for name in PARTS if name in wanted]


def _running(part: Part) -> psutil.Process | None:
    return process.running(part.layout, part.name, str(part.config_file))


def _bring_up(
    part: Part,
    done: Mapping[str, threading.Event],
    serving: set[str],
    failed: dict[str, PartFailedError],
    say: Say,
) -> None:
    started = time.monotonic()
    try:
        how = _start(part, done, serving, say)
        serving.add(part.name)
        say(f"{part.name:<9} {how} in {time.monotonic() - started:4.1f} s  ({part.version}, port {part.port})")
    except PartFailedError as error:
        error.last_lines = part.failure_log() if error.log == part.log else process.tail(error.log)
        failed[part.name] = error
    except StackError as error:
        failed[part.name] = PartFailedError(part.name, str(error).removeprefix(f"{part.name}: "))
    finally:
        done[part.name].set()


def _start(part: Part, done: Mapping[str, threading.Event], serving: set[str], say: Say) -> str:
    lacking = part.missing()
    if lacking:
        say(f"{part.name:<9} fetching {lacking}")
    part.fetch()
    part.ensure_data()
    for need in part.needs:
        done[need].wait()
        if need not in serving:
            raise PartFailedError(part.name, f"not started, because it needs {need}, which failed")
    launch = part.launch()
    server = _running(part)
    how = "was up"
    if server is not None:
        record = process.read_record(part.layout, part.name)
        if record is None or record.pid != server.pid or record.fingerprint != launch.fingerprint:
            say(f"{part.name:<9} restarting: its settings changed or its pid file was lost")
            process.stop(server, part.stop_signal, part.stop_patience)
            server = None
    if server is None:
        part.clear_leftovers()
        server = process.spawn(part.layout, part.name, part.version, launch)
        how = "ready"
    _await_ready(part, server)
    return how


def _await_ready(part: Part, server: psutil.Process) -> None:
    deadline = time.monotonic() + part.start_patience
    pause = 0.05
    while True:
        try:
            part.check()
            return
        except NotReadyError as reason:
            if not process.is_alive(server):
                raise PartFailedError(part.name, "its process ended during the start", part.log) from None
            if time.monotonic() > deadline:
                raise PartFailedError(
                    part.name,
                    f"not ready after {part.start_patience:.0f} s: {reason}; if its log tells nothing, "
                    f"`cdc stack down --only {part.name}` and `cdc stack up` start it anew",
                    part.log,
                ) from None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.3)


def _take_down(part: Part, gone: Mapping[str, threading.Event], parts: Mapping[str, Part], say: Say) -> None:
    try:
        for other in parts.values():
            if part.name in other.needs and other.name in gone:
                gone[other.name].wait()
        started = time.monotonic()
        server = _running(part)
        if server is None:
            say(f"{part.name:<9} was not running")
        else:
            ending = process.stop(server, part.stop_signal, part.stop_patience)
            say(f"{part.name:<9} {ending} in {time.monotonic() - started:4.1f} s")
        part.layout.pid_file(part.name).unlink(missing_ok=True)
    finally:
        gone[part.name].set()


def _status(part: Part, values: Mapping[str, str]) -> PartStatus:
    record = process.read_record(part.layout, part.name)
    server = _running(part)
    port = next(iter(ports.of_part(part.name, values)), None)
    if server is None:
        state = "failed" if record else "stopped"  # `down` removes the pid file: left over, it tells of a crash
        return PartStatus(part.name, state, None, port, record.version if record else None, None, str(part.log))
    return PartStatus(
        part.name, "running", server.pid, port, record.version if record else part.version,
        round(time.time() - server.create_time(), 1), str(part.log),
    )  # fmt: skip


def _finish(jobs: Sequence[Future[None]]) -> None:
    wait(jobs)
    for job in jobs:
        job.result()  # a bug in a part's code must not pass silently


@contextmanager
def _alone(layout: Layout, say: Say) -> Iterator[None]:
    """One `up` or `down` at a time: a second one waits for the first."""
    layout.home.mkdir(parents=True, exist_ok=True)
    with layout.lock_file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            say(f"another `cdc stack` (pid {lock.read().strip() or '?'}) is at work on {layout.home}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
