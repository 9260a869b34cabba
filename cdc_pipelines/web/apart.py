"""What the page shows of a table that stands apart from the stream: in a lane, or in quarantine. Words, no HTML."""

from dataclasses import dataclass
from typing import Any

from cdc_pipelines.replication.databases.postgres.lane_store import PHASES
from cdc_pipelines.replication.databases.postgres.table_store import DetachedKind
from cdc_pipelines.web.views import Badge

Facts = dict[str, Any]

_LANE = {
    "copying": "being copied",
    "following": "catching up with the stream",
    "detached": "taking its place",
    "merged": "joining the stream",
}
_DETACHED: dict[DetachedKind, str] = {
    "quarantined": "in quarantine",
    "changed": "waits for a new copy",
    "lane": "stands still",
}


@dataclass(frozen=True)
class Apart:
    """`step` of `steps`: how far a lane is, 0 where there is none; `chunks_done` of `chunks` while it is copied."""

    badge: Badge
    words: tuple[str, ...]
    since: str = ""
    step: int = 0
    steps: int = len(PHASES)
    chunks: int = 0
    chunks_done: int = 0


def apart(table: Facts, *, streams: bool = True) -> Apart | None:
    """Of a table as `facts.tables` or `facts.leaving` tells it; None where it is in the stream alone."""
    lane, detached = table["lane"], table.get("detached")
    if table.get("leaving"):
        words = "it is no longer the pipeline's: a run leaves it out, or the next Start"
        return Apart(Badge("", "still streams", "idle"), (words,))
    if lane is not None:
        return _in_lane(lane, detached)
    if detached:
        skipped = detached.get("skipped", 0)
        words = [detached["reason"]]
        if skipped:
            words.append(f"{skipped:,} change{'' if skipped == 1 else 's'} passed by")
        if detached["kind"] == "quarantined":
            words.append("mend the cause, then Resync")
        return Apart(Badge("", _DETACHED[detached["kind"]], "warn"), tuple(words), detached["since"])
    if streams and "chunks" not in table:
        return Apart(Badge("", "not in the stream yet", "idle"), ("a run takes it in, or the next Start",))
    return None


def _in_lane(lane: Facts, detached: Facts | None) -> Apart:
    phase, idle = lane["phase"], lane["idle"]
    words = [f"step {PHASES.index(phase) + 1} of {len(PHASES)}"]
    copying = phase == "copying" and lane["chunks"] > 0
    if copying:
        words.append(f"{lane['chunks_done']} of {lane['chunks']} chunks, {lane['rows_copied']:,} rows")
    if detached and detached["kind"] == "quarantined":
        words.append(f"in quarantine until then: {detached['reason']}")
    if idle:
        badge = Badge("", "left behind" if phase in ("detached", "merged") else "interrupted", "warn")
        words.append("nobody works on it; Resync goes on from there")
    else:
        again = " again" if phase == "copying" and lane["reason"] != "new" else ""
        badge = Badge("", _LANE[phase] + again, "idle")
    return Apart(
        badge, tuple(words), lane["since"], PHASES.index(phase) + 1,
        chunks=lane["chunks"] if copying else 0, chunks_done=lane["chunks_done"] if copying else 0,
    )
