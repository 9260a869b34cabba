"""Judging a consumer by its heartbeat, never by a pid."""

from datetime import UTC, datetime

from cdc_pipelines.replication.control.store import Heartbeat

STALE_AFTER_S = 30.0
DEAD_AFTER_S = 120.0
_LIVE_STATES = ("starting", "streaming", "barrier")


def age_seconds(beat: Heartbeat) -> float:
    return (datetime.now(UTC) - beat.at).total_seconds()


def alive(beat: Heartbeat | None, group: str | None) -> bool:
    """Whether a consumer of this group beats and streams."""
    return beat is not None and beat.group == group and beat.state in _LIVE_STATES and age_seconds(beat) < STALE_AFTER_S
