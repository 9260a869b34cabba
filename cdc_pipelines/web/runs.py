"""What Dagster did last about a pipeline, and does now, whoever launched it: a repeated run is followed, too."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import requests

from cdc_pipelines.dagster_client import ENDED, DagsterClient, DagsterClientError, SeenRun
from cdc_pipelines.replication.control.records import DiaryEntry
from cdc_pipelines.web.launch import PASSING, TAG
from cdc_pipelines.web.views import Badge, Step, step

START = "start_replication"
_AT_MOST = 10
_FRESH_S, _SILENT_S = 2.0, 15.0
_TIMEOUT_S = 4.0
_CHARS = 2000
_STEP_OF = {"validate_prerequisites": 0, "plan_copy": 1, "copy_shard": 1, "check_copy": 1, "create_connector": 2,
            "start_consumer": 3}  # fmt: skip
_LAST_OF = ("validate_prerequisites", "check_copy", "create_connector", "start_consumer")


@dataclass(frozen=True)
class Shown:
    """A run in words. `at`: since when it goes on, or when it ended; `reason`: why it failed, where that is known."""

    id: str
    job: str
    state: Literal["waits", "runs", "succeeded", "failed", "terminated"]
    at: datetime
    badge: Badge
    reason: str = ""


@dataclass
class _Seen:
    lock: threading.Lock = field(default_factory=threading.Lock)
    runs: list[SeenRun] = field(default_factory=list)
    good_until: float = float("-inf")


class Runs:
    """Asks one Dagster, at most every few seconds for a pipeline; a page must not wait for one that hangs."""

    def __init__(self, url: str) -> None:
        self._client = DagsterClient(url, timeout_s=_TIMEOUT_S)
        self._guard = threading.Lock()
        self._seen: dict[str, _Seen] = {}
        self._why: dict[str, str] = {}

    def latest(self, pipeline: str) -> list[SeenRun]:
        """The newest first, without what passes by itself; empty where Dagster does not answer."""
        with self._guard:
            seen = self._seen.setdefault(pipeline, _Seen())
        if not seen.lock.acquire(blocking=False):
            return seen.runs  # somebody else asks just now
        try:
            if time.monotonic() > seen.good_until:
                try:
                    found = self._client.newest({TAG: pipeline}, _AT_MOST)
                    seen.runs = [run for run in found if run.job not in PASSING]
                    seen.good_until = time.monotonic() + _FRESH_S
                except (requests.RequestException, DagsterClientError):
                    seen.runs, seen.good_until = [], time.monotonic() + _SILENT_S
            return seen.runs
        finally:
            seen.lock.release()

    def why(self, run_id: str) -> str:
        """Why a run failed, as Dagster has it; empty where it does not say. Asked once."""
        if run_id not in self._why:
            try:
                self._why[run_id] = "\n".join(self._client.failures(run_id))[:_CHARS]
            except (requests.RequestException, DagsterClientError):
                return ""
        return self._why[run_id]

    def look_again(self, pipeline: str) -> None:
        """A run was launched: the next who asks looks again."""
        with self._guard:
            self._seen.setdefault(pipeline, _Seen()).good_until = float("-inf")


def shown(
    runs: Sequence[SeenRun], diary: Sequence[DiaryEntry], why: Callable[[str], str], *, since: datetime
) -> list[Shown]:
    """All that go on; where none does, the one that ended last. The diary knows why one failed, or else `why`.

    One that ended before `since`, when the pipeline was configured, is of no interest: another start will be another.
    """
    going = [run for run in runs if run.status not in ENDED]
    return [_shown(run, diary, why) for run in going or _ended_since(runs[:1], since)]


def _ended_since(runs: Sequence[SeenRun], since: datetime) -> list[SeenRun]:
    return [run for run in runs if run.status in ENDED and (run.ended or run.created) >= since.timestamp()]


def steps(runs: Sequence[SeenRun], *, running: bool, since: datetime) -> list[Step]:
    """The four steps of the start that goes on, or that broke off since and nothing came after; else empty.

    A run that repeats a failed one has only the steps from there on: those before them are done.
    """
    start = next((run for run in runs if run.job == START and run.status not in ENDED), None)
    if start is None and not running:
        last = _ended_since(runs[:1], since)
        start = next((run for run in last if run.job == START and run.status in ("FAILURE", "CANCELED")), None)
    if start is None:
        return []
    begun = [_STEP_OF[name] for key in start.steps if (name := key.split("[")[0]) in _STEP_OF]
    now = max(begun, default=0)
    if start.steps.get(_LAST_OF[now]) == "SUCCESS":
        now = min(now + 1, len(_LAST_OF) - 1)
    return [step(number, now, "broken" if start.status in ENDED else "now") for number in range(len(_LAST_OF))]


def _shown(run: SeenRun, diary: Sequence[DiaryEntry], why: Callable[[str], str]) -> Shown:
    at = datetime.fromtimestamp(run.ended or run.created, UTC)
    if run.status not in ENDED:
        waits = run.status in ("QUEUED", "NOT_STARTED", "MANAGED", "STARTING")
        badge = Badge("", "is about to run" if waits else "runs", "idle")
        return Shown(run.id, run.job, "waits" if waits else "runs", at, badge)
    if run.status == "SUCCESS":
        return Shown(run.id, run.job, "succeeded", at, Badge("", "succeeded", "good"))
    if run.status == "CANCELED":
        return Shown(run.id, run.job, "terminated", at, Badge("", "terminated", "warn"))
    told = next((each.message for each in diary if each.holder == run.id and each.outcome == "failed"), "")
    reason = told or why(run.id)
    return Shown(run.id, run.job, "failed", at, Badge("", "failed", "bad"), reason)
