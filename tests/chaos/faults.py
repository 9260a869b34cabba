"""What is done to a running pipeline. Each fault leaves everything running again, or for `cdc agent` to start."""

import os
import signal
import time
from collections.abc import Callable
from random import Random

import psutil
import requests

from tests.chaos.arena import Arena

Fault = Callable[[Arena, Random], None]


def _kill(process: psutil.Process | None) -> None:
    if process is not None:
        process.kill()
        process.wait(30)


def _kill_part(name: str) -> Fault:
    def fault(arena: Arena, random: Random) -> None:
        _kill(arena.part(name))
        time.sleep(random.uniform(0, 4))
        arena.up()

    return fault


def _freeze(processes: Callable[[Arena], list[psutil.Process]], least_s: float, most_s: float) -> Fault:
    def fault(arena: Arena, random: Random) -> None:
        frozen = [process.pid for process in processes(arena)]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(random.uniform(least_s, most_s))
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)

    return fault


def _consumers(arena: Arena) -> list[psutil.Process]:
    return arena.ours("consume")


def _part(name: str) -> Callable[[Arena], list[psutil.Process]]:
    return lambda arena: [process] if (process := arena.part(name)) else []


def kill_consumer(arena: Arena, random: Random) -> None:
    for _ in range(random.randint(1, 3)):
        for process in _consumers(arena):
            _kill(process)
        time.sleep(random.uniform(0, 3))


def kill_agent(arena: Arena, random: Random) -> None:
    for process in arena.ours("agent"):
        _kill(process)
    time.sleep(random.uniform(0, 3))
    arena.agent()


def kill_connect_twice(arena: Arena, random: Random) -> None:
    """The second time soon after it began again: between sending and committing its offset."""
    for _ in range(2):
        _kill(arena.part("connect"))
        arena.up()
        time.sleep(random.uniform(0.5, 6))


def restart_storm(arena: Arena, random: Random) -> None:
    """Somebody restarts the connector's task again and again."""
    for _ in range(random.randint(2, 5)):
        requests.post(
            f"{arena.stack.connect_url}/connectors/cdc_1_1/restart?includeTasks=true&onlyFailed=false", timeout=30
        )
        time.sleep(random.uniform(0.3, 4))


def stop_and_start(arena: Arena, random: Random) -> None:
    for words in (("stop", "chaos"), ("start", "chaos")):
        done = arena.cdc(*words)
        assert done.returncode == 0, f"{words}: {done.stderr[-2000:]}"
        time.sleep(random.uniform(0, 2))


def connector_deleted(arena: Arena, random: Random) -> None:
    requests.delete(f"{arena.stack.connect_url}/connectors/cdc_1_1", timeout=30)
    time.sleep(random.uniform(0, 3))
    done = arena.cdc("start", "chaos")
    assert done.returncode == 0, f"start after the connector was deleted: {done.stderr[-2000:]}"


def binlog_rotated(arena: Arena, random: Random) -> None:
    with arena.source() as connection, connection.cursor() as cursor:
        cursor.execute("flush binary logs")


SHORT: dict[str, Fault] = {
    "kill -9 consumer": kill_consumer,
    "kill -9 agent": kill_agent,
    "kill -9 Connect": _kill_part("connect"),
    "kill -9 Connect twice": kill_connect_twice,
    "kill -9 broker": _kill_part("kafka"),
    "kill -9 source": _kill_part("mysql"),
    "kill -9 target": _kill_part("postgres"),
    "freeze consumer": _freeze(_consumers, 1, 15),
    "freeze Connect": _freeze(_part("connect"), 1, 20),
    "freeze broker": _freeze(_part("kafka"), 1, 12),
    "freeze source": _freeze(_part("mysql"), 1, 12),
    "connector restarts": restart_storm,
    "stop and start": stop_and_start,
    "connector deleted": connector_deleted,
    "binlog rotated": binlog_rotated,
}

FAULTS = SHORT | {
    # At the second look after a minute without an event, Debezium's client of the log connects again by itself.
    "freeze broker for minutes": _freeze(_part("kafka"), 125, 150),
}
