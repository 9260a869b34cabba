"""What a changed pipeline file changes, setting by setting, and when that takes effect."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.row_shape import RowShape

Effect = Literal[
    "at once", "at the next restart", "at the next copy", "at the next start, beside the stream", "with a resync"
]

_SECTIONS: dict[str, Effect] = {
    "source": "at the next restart",
    "target": "at the next restart",
    "connect": "at the next restart",
    "kafka": "at the next restart",
    "values": "with a resync",
    "shape": "at the next start, beside the stream",
    "copy": "at the next copy",
    "carry": "at the next start, beside the stream",
    "apply": "at the next restart",
    "schema_changes": "at the next restart",
    "verify": "at the next restart",
    "health": "at once",
    "alerts": "at once",
    "schedules": "at once",
}
# What names the two sides and the log between them: with another one, what was copied and streamed so far is of no use.
# (Another host or port may be another way to the same server. Where it is not, a start finds out and says so.)
_IDENTITY = {
    "client", "config", "source.type", "source.database", "target.type", "target.database", "target.schema",
    "kafka.topic_prefix", "connect.connector",
}


@dataclass(frozen=True)
class Change:
    """`what`: a setting with its old and new value, or a table, in words; `effect`: when it is in force."""

    what: str
    effect: Effect

    def __str__(self) -> str:
        return f"{self.what} ({self.effect})"


def settings_changes(before: Pipeline, after: Pipeline) -> list[Change]:
    """Every setting that differs but for the tables, in the order of the file. Secrets are references, as ever."""
    old, new = (dict(_leaves(_dumped(each))) for each in (before, after))
    return [
        Change(f"{name}: {_shown(old.get(name))} → {_shown(new.get(name))}", _effect(name))
        for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)
    ]


def _dumped(pipeline: Pipeline) -> dict[str, Any]:
    """Without what is told table by table."""
    dumped = pipeline.model_dump(by_alias=True, exclude={"tables", "exclude", "name"})
    for shape in dumped["shape"].values():
        for name in RowShape.model_fields:
            del shape[name]
    return dumped


def _effect(name: str) -> Effect:
    return "with a resync" if name in _IDENTITY else _SECTIONS[name.split(".")[0]]


def _leaves(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{prefix}{key}.")
        else:
            yield prefix + key, inner


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "unset"
    return f"{value:g}" if isinstance(value, float) else str(value)
