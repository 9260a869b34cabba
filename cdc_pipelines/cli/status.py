"""`cdc status`: how one pipeline does, or all; once, or again and again."""

import sys
import time
from collections.abc import Callable
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from cdc_pipelines.cli.interrupt import on_interrupt
from cdc_pipelines.cli.output import console, emit_json, emit_json_line, table_of

WATCH_EVERY_S = 2.0
_STYLES = {"healthy": "green", "degraded": "yellow", "failed": "bold red"}

Facts = dict[str, Any]


@click.command()
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Look every 2 seconds until Ctrl-C: a line each where this is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; with --watch one object a line.")
def status(name: str | None, watch: bool, as_json: bool) -> None:
    """The status of pipeline NAME, or of all. Exit code 3 where one is not healthy."""
    look = _looker(name)
    if not watch:
        found = look()
        emit_json(found[name] if name else found) if as_json else console.print(_shown(name, found))
    elif as_json or not console.is_terminal:
        found = _watch_lines(look, as_json)
    else:
        found = _watch_screen(look, name)
    sys.exit(0 if all(each["overall"] == "healthy" for each in found.values()) else 3)


def _looker(name: str | None) -> Callable[[], dict[str, Facts]]:
    """What looks: at one pipeline, or at all at the same time. The status by name."""
    from cdc_pipelines.replication.control.store import ControlStore
    from cdc_pipelines.replication.health.rounds import statuses
    from cdc_pipelines.replication.health.status import status as status_of
    from cdc_pipelines.replication.operations.runtime import Runtime

    store = ControlStore.open()

    def one() -> dict[str, Facts]:
        with Runtime.open(str(name), store, impatient=True) as rt:
            return {rt.name: status_of(rt)}

    def all_() -> dict[str, Facts]:
        records = store.list()
        return {r.name: found for r, found in zip(records, statuses(store, records), strict=True)}

    return one if name else all_


# Again and again


def _watch_lines(look: Callable[[], dict[str, Facts]], as_json: bool) -> dict[str, Facts]:
    """Print what is seen until Ctrl-C; what was seen last."""
    found: dict[str, Facts] = {}
    ended = on_interrupt()
    try:
        while not ended.is_set():
            began = time.monotonic()
            found = look()
            for name, facts in found.items():
                emit_json_line({"pipeline": name} | facts) if as_json else click.echo(_line(name, facts))
            _pause(began)
    except KeyboardInterrupt:
        pass
    return found


def _watch_screen(look: Callable[[], dict[str, Facts]], name: str | None) -> dict[str, Facts]:
    found: dict[str, Facts] = {}
    ended = on_interrupt()
    try:
        with Live(Text("looking …"), console=console, auto_refresh=False) as screen:
            while not ended.is_set():
                began = time.monotonic()
                found = look()
                screen.update(_shown(name, found), refresh=True)
                _pause(began)
    except KeyboardInterrupt:
        pass
    return found


def _pause(began: float) -> None:
    time.sleep(max(0.2, WATCH_EVERY_S - (time.monotonic() - began)))


# In words


def _shown(name: str | None, found: dict[str, Facts]) -> RenderableType:
    return _one(name, found[name]) if name else _all(found)


def _line(name: str, facts: Facts) -> str:
    """One look at one pipeline, for a log: `key=value`, whatever of it is known."""
    kinds = ",".join(dict.fromkeys(each["kind"] for each in facts["problems"]))
    pairs = {
        "status": facts.get("config", {}).get("status"),
        "lag_s": facts["lag"]["seconds"],
        "records": facts["lag"]["messages"],
        "connector": facts.get("connector", {}).get("state"),
        "consumer": facts["consumer"]["state"],
        "rows": facts.get("statistics", {}).get("total_rows_synced"),
        "problems": kinds or None,
    }
    words = " ".join(f"{key}={value}" for key, value in pairs.items() if value is not None)
    return f"{facts['timestamp']} {name} {facts['overall']} {words}"


def _all(found: dict[str, Facts]) -> RenderableType:
    """One row per pipeline, and below what is wrong."""
    rows: list[list[Any]] = []
    for name, facts in found.items():
        lag = facts["lag"]
        rows.append([
            name, Text(facts["overall"], _STYLES[facts["overall"]]), facts.get("config", {}).get("status", ""),
            "" if lag["seconds"] is None else f"{lag['seconds']:,.1f} s",
            "" if lag["messages"] is None else f"{lag['messages']:,}",
            facts.get("connector", {}).get("state", ""), facts["consumer"]["state"],
            f"{facts.get('statistics', {}).get('total_rows_synced', 0):,}",
        ])  # fmt: skip
    if not rows:
        return Text("no pipeline is configured; `cdc configure FILE` does that")
    columns = ["pipeline", "health", "status", "lag", "records", "connector", "consumer", "rows synced"]
    problems = [Text(f"! {name}: {words}") for name, facts in found.items() for words in _problems(facts)]
    return Group(table_of(columns, rows), *problems)


def _one(name: str, facts: Facts) -> RenderableType:
    connector, consumer, lag = facts["connector"], facts["consumer"], facts["lag"]
    head = Text.assemble(f"{name}: ", (facts["overall"], _STYLES[facts["overall"]]), f" ({facts['config']['status']})")
    rows = [
        ["connector", f"{connector['state']}, tasks {[t['state'] for t in connector['tasks']]}", connector["message"]],
        ["consumer", f"{consumer['state']}, last heartbeat {consumer['last_heartbeat']}", consumer["message"]],
        ["lag", f"{lag['seconds']} s, {lag['messages']} records, {lag['source_bytes']} bytes of the source's log", ""],
        ["generation", facts["generation"], facts["consumer_group"] or ""],
    ]
    parts: list[RenderableType] = [head, table_of(["part", "state", "message"], rows)]
    if facts["tables"]:
        columns = ["table", "target", "rows copied", "inserts", "updates", "deletes", "state"]
        keys = ["table", "target", "rows_copied", "inserts", "updates", "deletes"]
        rows = [[*(table[key] for key in keys), _state(table)] for table in facts["tables"]]
        parts += [Text(), table_of(columns, rows)]
    if changes := facts.get("schema_changes"):
        shown = [[each["at"] or each["seen_at"], each["table"], each["what"], each["done"]] for each in changes[:5]]
        parts += [Text(), table_of(["schema change", "table", "what", "done"], shown)]
    parts += _carried(facts.get("carried") or {})
    errors = [*facts["errors"], *([facts["config"]["message"]] if facts["config"]["message"] else [])]
    return Group(*parts, *(Text(f"! {error}") for error in errors))


def _carried(carried: Facts) -> list[RenderableType]:
    """How many indexes and the like there are, and those that are not there."""
    if not any(carried.values()):
        return []
    counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(carried["made"].items()))
    missing = carried["not_made"]
    lines = [f"carried: {counts or 'nothing'}{f'; {len(missing)} not' if missing else ''}"]
    for each in missing:
        lines.append(f"  not {each['kind'].replace('_', ' ')} {each['table']}.{each['name']}: {each['why']}")
    return [Text(), *map(Text, lines)]


def _state(table: Facts) -> Text:
    """Whether the stream applies the table's changes."""
    apart = table.get("detached")
    return Text(apart["kind"], "yellow") if apart else Text("live")


def _problems(facts: Facts) -> list[str]:
    """One line each."""
    return [f"{p['message']}; {p['next_step']}" if p["next_step"] else p["message"] for p in facts["problems"]]
