"""From a status to what the pages show: badges, steps, the plot. Pure; words and tones, no HTML but the plot's path."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from cdc_pipelines.replication.control.records import LeaseInfo, PipelineRecord
from cdc_pipelines.replication.health.status import ON_THE_WAY
from cdc_pipelines.web.watch import Sample

Facts = dict[str, Any]
Tone = Literal["good", "warn", "bad", "idle"]

_RUN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TONES: dict[str, Tone] = {"healthy": "good", "degraded": "warn", "failed": "bad"}
STEPS = ("Validate prerequisites", "Initial copy", "Connector", "Consumer")
_STEP_OF = {"copying": 1, "connecting": 2, "starting": 3}
WIDTH, HEIGHT = 960, 160
"""Of the plot, in its own units."""


@dataclass(frozen=True)
class Badge:
    label: str
    value: str
    tone: Tone
    note: str = ""


@dataclass(frozen=True)
class Step:
    number: int
    name: str
    state: Literal["done", "now", "waits", "broken"]


@dataclass(frozen=True)
class Plot:
    """`paths`: unbroken stretches of the line; `areas`: the same, closed at the bottom."""

    paths: tuple[str, ...]
    areas: tuple[str, ...]
    top: str
    since: str
    until: str
    words: str


def overall(record: PipelineRecord, status: Facts | None) -> Badge:
    """The one word for a pipeline. A pipeline that nobody wants to run is not praised for being healthy."""
    if status is None:
        return Badge("Overall", "not started" if record.status == "configured" else "looking…", "idle")
    word = status["overall"]
    if word == "healthy" and record.status in ON_THE_WAY:
        return Badge("Overall", "starting", "idle")
    if word == "healthy" and not record.is_active:
        return Badge("Overall", "not started" if record.status == "configured" else record.status, "idle")
    return Badge("Overall", word, _TONES[word])


def badges(record: PipelineRecord, status: Facts) -> list[Badge]:
    """Connector, its tasks, consumer, heartbeat and lag. What is not wanted to run is idle, however it stands."""
    active = record.is_active and record.status not in ON_THE_WAY
    connector, consumer, lag = status.get("connector", {}), status["consumer"], status["lag"]

    def tone(good: bool, otherwise: Tone = "bad") -> Tone:
        return "good" if good else otherwise if active else "idle"

    tasks = connector.get("tasks", [])
    running = sum(task["state"] == "RUNNING" for task in tasks)
    state = connector.get("state", "UNKNOWN")
    age = consumer.get("heartbeat_age_seconds")
    limit = record.spec.health.lag_seconds
    seconds = lag["seconds"]
    return [
        Badge("Connector", _word(state), tone(state == "RUNNING", "warn" if state == "UNREACHABLE" else "bad")),
        Badge("Tasks", f"{running} of {len(tasks)}" if tasks else "none",
              tone(bool(tasks) and running == len(tasks))),
        Badge("Consumer", _word(consumer["state"]),
              tone(bool(consumer["healthy"]), "bad" if consumer.get("gone") else "warn")),
        Badge("Heartbeat", "never" if age is None else f"{duration(age)} ago",
              tone(bool(consumer["heartbeat_recent"]), "warn")),
        Badge("Lag", "unknown" if seconds is None else duration(seconds),
              tone(seconds is not None and seconds <= limit, "warn"),
              _records(lag.get("messages"))),
    ]


def steps(record: PipelineRecord, lease: LeaseInfo | None) -> list[Step]:
    """The four steps of a start that is under way, or broke off; empty where there is none."""
    starting = lease is not None and lease.operation.startswith("start")
    if record.status not in ON_THE_WAY and not (starting and record.status != "running"):
        return []
    now = _STEP_OF.get(record.status, 0)
    return [step(number, now, "now" if lease is not None else "broken") for number in range(len(STEPS))]


def step(number: int, now: int, state: Literal["now", "broken"]) -> Step:
    """Step `number`, counted from 0, of a start that is at step `now`."""
    return Step(number + 1, STEPS[number], "done" if number < now else "waits" if number > now else state)


def time_left(tables: Sequence[Facts], lease: LeaseInfo | None, seen_at: datetime) -> str:
    """About how long the copy still takes, by the chunks that were done since this start began, as they were seen."""
    chunks = sum(each.get("chunks", 0) for each in tables)
    done = sum(each.get("chunks_done", 0) for each in tables)
    done_since = sum(each.get("chunks_done_since", 0) for each in tables)
    passed = (seen_at - lease.acquired_at).total_seconds() if lease is not None else 0
    if passed <= 0 or done_since == 0 or done >= chunks:
        return ""
    return f"about {duration(passed / done_since * (chunks - done))} left"


def run_of(lease: LeaseInfo | None) -> str:
    """The Dagster run that holds a pipeline; empty where it is held by something else."""
    return lease.holder if lease is not None and _RUN.fullmatch(lease.holder) else ""


def is_run(text: str) -> bool:
    return _RUN.fullmatch(text) is not None


def plot(samples: Sequence[Sample]) -> Plot | None:
    """The lag over time; None before the second sample."""
    if len(samples) < 2:
        return None
    known = [each.lag_seconds for each in samples if each.lag_seconds is not None]
    top = _ceiling(max(known, default=0.0))
    first, last = samples[0].at, samples[-1].at
    span = max(1.0, (last - first).total_seconds())
    stretches: list[list[tuple[float, float]]] = [[]]
    for each in samples:
        if each.lag_seconds is None:
            stretches.append([])  # not known: a gap says so
            continue
        x = WIDTH * (each.at - first).total_seconds() / span
        stretches[-1].append((round(x, 1), round(HEIGHT * (1 - each.lag_seconds / top), 1)))
    lines = [points for points in stretches if points]
    paths = tuple("M" + "L".join(f"{x} {y}" for x, y in points) for points in lines)
    areas = tuple(
        f"{path}L{points[-1][0]} {HEIGHT}L{points[0][0]} {HEIGHT}Z" for path, points in zip(paths, lines, strict=True)
    )
    present = samples[-1].lag_seconds
    words = f"Lag since {first:%H:%M} UTC: now {'unknown' if present is None else duration(present)}, "
    words += f"at most {duration(max(known))}." if known else "never known."
    return Plot(paths, areas, duration(top), f"{first:%H:%M}", f"{last:%H:%M} UTC", words)


def _ceiling(value: float) -> float:
    """A round number above, at least a second."""
    for step in (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400):
        if value <= step:
            return float(step)
    return value


def _records(count: int | None) -> str:
    return "" if count is None else f"{count:,} record{'' if count == 1 else 's'} to apply"


def _word(state: str) -> str:
    return state.replace("_", " ").lower()


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2 h 5 min`, `4 days`."""
    if seconds < 0.95:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} days"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def moment(text: str | None) -> str:
    """An ISO moment as `2026-11-28 14:05:09`; all of the page's times are UTC."""
    if not text:
        return "never"
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
