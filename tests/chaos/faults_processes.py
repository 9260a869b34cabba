"""Processes killed and frozen: ours, and the servers'."""

import os
import signal
import time
from collections.abc import Callable
from random import Random

import psutil

from tests.chaos.arena import Arena
from tests.chaos.fault import Fault


def kill(process: psutil.Process | None) -> None:
    if process is not None:
        process.kill()
        process.wait(30)


def _kill_part(name: str) -> Fault:
    def fault(arena: Arena, random: Random) -> None:
        kill(arena.part(name))
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
            if psutil.pid_exists(pid):  # another fault may have killed it
                os.kill(pid, signal.SIGCONT)

    return fault


def consumers(arena: Arena) -> list[psutil.Process]:
    return arena.ours("consume")


def _part(name: str) -> Callable[[Arena], list[psutil.Process]]:
    return lambda arena: [process] if (process := arena.part(name)) else []


def kill_consumer(arena: Arena, random: Random) -> None:
    for _ in range(random.randint(1, 3)):
        for process in consumers(arena):
            kill(process)
        time.sleep(random.uniform(0, 3))


def kill_agent(arena: Arena, random: Random) -> None:
    for process in arena.ours("agent"):
        kill(process)
    time.sleep(random.uniform(0, 3))
    arena.agent()


def kill_connect_twice(arena: Arena, random: Random) -> None:
    """The second time soon after it began again: between sending and committing its offset."""
    for _ in range(2):
        kill(arena.part("connect"))
        arena.up()
        time.sleep(random.uniform(0.5, 6))


def kill_connect_in_large(arena: Arena, random: Random) -> None:
    """While it sends a transaction that lasts: some of its rows are in the log, and come again."""
    rows, at = random.randint(20_000, 60_000), random.randint(10**6, 10**9)
    with arena.source() as connection, connection.cursor() as cursor:
        cursor.execute(
            f"insert into composite with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows}) "
            f"select 99, concat({at}, '-', i), i from n"
        )
        time.sleep(random.uniform(0, 2))
        kill(arena.part("connect"))
        cursor.execute("delete from composite where a = 99 limit 30000")
    arena.up()


PROCESSES: dict[str, Fault] = {
    "kill -9 consumer": kill_consumer,
    "kill -9 agent": kill_agent,
    "kill -9 Connect": _kill_part("connect"),
    "kill -9 Connect twice": kill_connect_twice,
    "kill -9 Connect in a large transaction": kill_connect_in_large,
    "kill -9 broker": _kill_part("kafka"),
    "kill -9 source": _kill_part("source"),
    "kill -9 target": _kill_part("postgres"),
    "freeze consumer": _freeze(consumers, 1, 8),
    "freeze Connect": _freeze(_part("connect"), 1, 12),
    "freeze broker": _freeze(_part("kafka"), 1, 10),
    "freeze source": _freeze(_part("source"), 1, 8),
}
LONG: dict[str, Fault] = {
    # At the second look after a minute without an event, Debezium's client of the log connects again by itself.
    "freeze broker for minutes": _freeze(_part("kafka"), 125, 150),
}
