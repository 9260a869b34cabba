"""Scheduled times that passed without their run: the daemon, or the code location, was down for too long.

Dagster evaluates a time that it missed when it is back: of several the last one, the others it never mentions. So what
is told here is one for each outage and schedule, and says how late it is.
"""

import logging
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from cdc_pipelines.replication.alerts.message import missed_alert
from cdc_pipelines.replication.alerts.telling import Teller
from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord


@dataclass(frozen=True)
class Missed:
    """A time for which it is too late, and when that was noticed."""

    pipeline: str
    schedule: str
    job: str
    time: datetime
    noticed: datetime
    late_minutes: int

    @property
    def late(self) -> timedelta:
        return self.noticed - self.time

    def __str__(self) -> str:
        return (
            f"missed: the run of {self.time:%Y-%m-%d %H:%M %Z} is {_in_words(self.late)} late, more than the "
            f"{self.late_minutes} min that late_minutes allows, as Dagster's daemon or this code location was not at "
            f"work then. {self.schedule} goes on at its next time; to make up for this one launch {self.job} for "
            f"pipeline {self.pipeline}."
        )


def missed(log: logging.Logger, store: ControlStore, record: PipelineRecord, what: Missed) -> str:
    """Tell that a scheduled time was missed, in the tick's log and to people; returns it in words."""
    words = str(what)
    log.warning(words)
    alert = missed_alert(what.pipeline, what.schedule, what.time, words, store=store.id, now=what.noticed)
    Teller(store, log).leave(record, alert)
    return words


def _in_words(time: timedelta) -> str:
    minutes = math.ceil(time.total_seconds() / 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return " ".join(f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count)
