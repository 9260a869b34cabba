"""What the page shows of indexes, constraints and the like: how many are there, what is not, and why."""

from dataclasses import dataclass
from typing import Any

from cdc_pipelines.replication.databases.postgres.carried_store import State
from cdc_pipelines.replication.operations.carried_outcome import WORDS
from cdc_pipelines.web.views import Badge

_BADGES: dict[State, Badge] = {
    "making": Badge("", "being made", "idle"),
    "waiting": Badge("", "waits", "idle"),
    "given_up": Badge("", "given up", "warn"),
    "not_made": Badge("", "has no equal", "idle"),
}


@dataclass(frozen=True)
class Rest:
    """Something that is not there. `what`: `index orders.by_day`."""

    what: str
    badge: Badge
    why: str


@dataclass(frozen=True)
class CarriedShown:
    """`made`: `3 indexes`, `1 check`."""

    made: tuple[str, ...]
    rest: tuple[Rest, ...]


def carried(facts: dict[str, Any] | None) -> CarriedShown | None:
    """From a status's `carried`; None where nothing was asked for."""
    if not facts or not (facts["made"] or facts["not_made"]):
        return None
    made = tuple(_counted(kind, count) for kind, count in facts["made"].items())
    rest = tuple(
        Rest(f"{each['kind'].replace('_', ' ')} {each['table']}{'.' if each['name'] else ''}{each['name']}",
             _BADGES[each["state"]], each["why"])
        for each in facts["not_made"]
    )
    return CarriedShown(made, rest)


def _counted(kind: str, count: int) -> str:
    return f"{count:,} {kind.replace('_', ' ') if count == 1 else WORDS[kind]}"
