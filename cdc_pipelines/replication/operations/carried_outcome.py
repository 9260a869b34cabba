"""What carrying indexes, constraints and the like has come to, for people and for programs."""

from dataclasses import dataclass, field
from typing import Any

from cdc_pipelines.replication.carry.settings import KINDS
from cdc_pipelines.replication.databases.postgres.carried_store import Carried

WORDS = {"index": "indexes", "check": "checks", "foreign_key": "foreign keys", "identity": "identities",
         "comment": "comments"}


@dataclass
class Outcome:
    """What was done: things made and taken away, things told for the first time, and all of what is not there."""

    made: list[Carried] = field(default_factory=list)
    dropped: list[Carried] = field(default_factory=list)
    told: list[Carried] = field(default_factory=list)
    rest: list[Carried] = field(default_factory=list)
    sequences: dict[str, int] = field(default_factory=dict)
    there: dict[str, int] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "there": self.there,
            "made": [words(each) for each in self.made],
            "dropped": [words(each) for each in self.dropped],
            "not_made": [{"what": words(each), "state": each.state, "why": each.why} for each in self.rest],
            "sequences": self.sequences,
        }

    def __str__(self) -> str:
        counts = {kind: sum(each.kind == kind for each in self.made) for kind in KINDS}
        parts = [f"{count} {WORDS[kind]}" for kind, count in counts.items() if count]
        text = f"carried: {', '.join(parts) or 'nothing new'}"
        if self.dropped:
            text += f"; {len(self.dropped)} that the source has no more were dropped"
        return text + (f"; {len(self.rest)} not" if self.rest else "")


def words(each: Carried) -> str:
    """What it is, for people."""
    if each.kind == "comment":
        return f"the comment of {each.table}{'.' if each.name else ''}{each.name}"
    what = {"index": "unique index" if each.unique else "index", "identity": "the identity of"}.get(
        each.kind, each.kind.replace("_", " "))
    return f"{what} {each.table}.{each.name}"
