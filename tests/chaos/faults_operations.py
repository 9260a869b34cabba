"""What people do to a busy pipeline: its commands, and the connector by hand."""

import time
from random import Random
from typing import Any

import requests

from tests.chaos.arena import Arena
from tests.chaos.fault import Fault


def connector(arena: Arena, method: str, path: str = "", body: Any = None) -> Any:
    answer = requests.request(
        method, f"{arena.stack.connect_url}/connectors/{arena.connector}{path}", json=body, timeout=60
    )
    return answer.json() if answer.content else None


def restart_storm(arena: Arena, random: Random) -> None:
    """Somebody restarts the connector's task again and again."""
    for _ in range(random.randint(2, 5)):
        connector(arena, "POST", "/restart?includeTasks=true&onlyFailed=false")
        time.sleep(random.uniform(0.3, 4))


def stop_and_start(arena: Arena, random: Random) -> None:
    for words in (("stop", "chaos"), ("start", "chaos")):
        arena.must(*words)
        time.sleep(random.uniform(0, 2))


def connector_deleted(arena: Arena, random: Random) -> None:
    connector(arena, "DELETE")
    time.sleep(random.uniform(0, 3))
    arena.must("start", "chaos")


def offset_set_back(arena: Arena, random: Random) -> None:
    """The connector sends again what it sent seconds ago, and what was applied since then."""
    earlier = connector(arena, "GET", "/offsets")
    time.sleep(random.uniform(1, 6))
    connector(arena, "PUT", "/stop")
    deadline = time.monotonic() + 60
    while True:
        status = connector(arena, "GET", "/status")
        if status["connector"]["state"] == "STOPPED" and not status["tasks"]:
            break
        assert time.monotonic() < deadline, f"the connector does not stop: {status}"
        time.sleep(0.2)
    for entry in earlier["offsets"]:  # to the transaction's begin, not to a row in it
        entry["offset"] = {k: v for k, v in entry["offset"].items() if k in ("file", "pos", "gtids", "server_id")}
    told = connector(arena, "PATCH", "/offsets", earlier)
    assert "successfully" in str(told), told
    connector(arena, "PUT", "/resume")


def configured_again(arena: Arena, random: Random) -> None:
    text = arena.file.read_text()
    arena.file.write_text(text.split("apply:")[0] + f"apply: {{run_events: {random.choice((500, 5000, 20000))}}}\n")
    arena.must("configure", str(arena.file))


def resync(arena: Arena, random: Random) -> None:
    with arena.observer.away():
        arena.must("start", "chaos", "--force-resync")


def resync_killed(arena: Arena, random: Random) -> None:
    """`kill -9` of the copying process, once or twice, at any of its steps; then the plain command finishes it."""
    with arena.observer.away():
        for words in (["--force-resync"], [])[: random.randint(1, 2)]:
            copying = arena.spawn_cdc("start", "chaos", *words)
            time.sleep(random.uniform(1.5, 9))
            copying.kill()
            copying.communicate()
        arena.must("start", "chaos")


LANES = ("audit", "composite", "swap", "moving", "named", "parent", "child", "bulk")
"""Tables that may stand apart for a moment: of the bank's the observer expects one state."""


def table_resync(arena: Arena, random: Random) -> None:
    """One table is copied again while the others stream."""
    arena.must("resync", "chaos", "--table", random.choice(LANES))


def table_resync_killed(arena: Arena, random: Random) -> None:
    """`kill -9` of that copy, at any of its steps; then the same command finishes it."""
    table = random.choice(LANES)
    for _ in range(random.randint(1, 3)):
        copying = arena.spawn_cdc("resync", "chaos", "--table", table)
        time.sleep(random.uniform(0.8, 4))
        copying.kill()
        copying.communicate()
    arena.must("resync", "chaos", "--table", table)


def table_left_out_and_taken_in(arena: Arena, random: Random) -> None:
    table = random.choice(LANES)
    arena.must("remove-table", "chaos", table, *random.choice(([], ["--drop-table"])))
    time.sleep(random.uniform(0, 2))
    arena.must("add-table", "chaos", table)


def teardown(arena: Arena, random: Random) -> None:
    with arena.observer.away():
        arena.must("teardown", "chaos", "--yes", *random.choice(([], ["--drop-tables"])))
        arena.must("configure", str(arena.file))
        arena.must("start", "chaos")


OPERATIONS: dict[str, Fault] = {
    "connector restarts": restart_storm,
    "stop and start": stop_and_start,
    "connector deleted": connector_deleted,
    "connector's offset set back": offset_set_back,
    "configured again": configured_again,
    "force_resync": resync,
    "kill -9 copy": resync_killed,
    "table copied again": table_resync,
    "kill -9 copy of a table": table_resync_killed,
    "table left out and in again": table_left_out_and_taken_in,
    "teardown and start": teardown,
}
