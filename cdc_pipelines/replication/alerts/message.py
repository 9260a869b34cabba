"""The words of a message: what, since when, why, what was done already, what to do, where to look."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cdc_pipelines.replication.alerts.document import Alert, AlertAction, AlertProblem, AlertRun, Event
from cdc_pipelines.replication.control.records import Action, Incident, Problem
from cdc_pipelines.replication.secrets import redact

INCIDENT_JOB = "replication_health"
_TITLE, _LINE, _TEXT = 150, 1200, 6000  # characters; chats refuse what is much longer


@dataclass(frozen=True)
class FailedStep:
    """One step of a run that failed: its real reason, and what mends it."""

    step: str
    message: str
    next_step: str = ""


@dataclass(frozen=True)
class FailedRun:
    """A run of a pipeline that failed. Without steps it did not come to one, or its process died: `message` tells."""

    pipeline: str
    job: str
    run_id: str
    steps: tuple[FailedStep, ...] = ()
    message: str = ""


def run_url(run_id: str) -> str | None:
    """The run's page in Dagster's UI, where the environment's CDC_DAGSTER_URL says where that is."""
    base = os.environ.get("CDC_DAGSTER_URL", "").strip().rstrip("/")
    return f"{base}/runs/{run_id}" if base else None


def incident_alert(
    event: Event, incident: Incident, actions: Sequence[Action], *, name: str, store: str, now: datetime
) -> Alert:
    """The message about an incident. `name` tells messages of one event apart; `store`: the control store's id."""
    ends = incident.resolved_at or now
    seconds = max(0.0, (ends - incident.opened_at).total_seconds())
    first = _first(incident)
    pipeline, lasted = incident.pipeline, _duration(seconds)
    if event == "recovered":
        title = f"{pipeline} is healthy again after {lasted}"
        opening = f"Pipeline {pipeline} was {incident.worst} from {_moment(incident.opened_at)} to {_moment(ends)}."
    else:
        still = f"still {incident.severity} after {lasted}" if event == "reminder" else incident.severity
        title = f"{pipeline} is {still}" + (f": {_line(first.message)}" if first else "")
        since = f"{_moment(incident.opened_at)} ({lasted})"
        opening = f"Pipeline {pipeline} is {incident.severity}; it has not been healthy since {since}."
        if incident.calm_since is not None:
            opening += f" It has looked healthy again since {_moment(incident.calm_since)}."
    problems = tuple(
        AlertProblem(kind=p.kind, severity=p.severity, message=_cut(p.message), next_step=_cut(p.next_step))
        for p in incident.problems
    )
    done = tuple(
        AlertAction(action=a.action, outcome=a.outcome, message=_cut(a.message), at=a.at)
        for a in actions if a.outcome in ("done", "failed")
    )
    run = AlertRun(id=incident.run, job=INCIDENT_JOB, url=run_url(incident.run)) if incident.run else None
    thread = f"{store}/incident/{incident.id}"
    lines = [opening]
    if problems:
        lines += ["", "What it was:" if event == "recovered" else "What is wrong:"]
        for p in problems:
            lines.append(f"- {p.severity}, {p.kind}: {p.message}")
            lines += [f"  Next step: {p.next_step}"] if p.next_step and event != "recovered" else []
    if done:
        lines += ["", "What was done by itself:"]
        lines += [f"- {a.at:%H:%M:%S} UTC {a.action}: {a.outcome}; {a.message}" for a in done[-5:]]
    where = [f"Incident {incident.id}; see `cdc status {pipeline}`.", *_run_lines(run)]
    return Alert(
        id=f"{thread}/{name}", thread=thread, event=event,
        severity="recovered" if event == "recovered" else incident.severity, pipeline=pipeline,
        title=_title(title), text=_text(lines, where), at=now, incident=incident.id, since=incident.opened_at,
        seconds=round(seconds, 1), problems=problems, actions=done,
        next_step=_cut(first.next_step) if first and event != "recovered" else "", run=run,
    )


def run_alert(failed: FailedRun, *, store: str, now: datetime) -> Alert:
    """The message about a run that failed."""
    steps = [FailedStep(s.step, _cut(s.message), _cut(s.next_step)) for s in failed.steps]
    reason = steps[0].message if steps else _cut(failed.message)
    run = AlertRun(id=failed.run_id, job=failed.job, url=run_url(failed.run_id))
    lines = [f"The run of {failed.job} for pipeline {failed.pipeline} failed at {_moment(now)}.", ""]
    for step in steps:
        lines.append(f"- {step.step}: {step.message}")
        lines += [f"  Next step: {step.next_step}"] if step.next_step else []
    lines += [] if steps else [reason or "No step failed; its process ended."]
    thread = f"{store}/run/{failed.pipeline}/{failed.job}"
    return Alert(
        id=f"{thread}/{failed.run_id}", thread=thread, event="run_failed", severity="failed", pipeline=failed.pipeline,
        title=_title(f"{failed.pipeline}: {failed.job} failed" + (f": {_line(reason)}" if reason else "")),
        text=_text(lines, _run_lines(run)), at=now, run=run,
        next_step=next((s.next_step for s in steps if s.next_step), ""),
    )


def missed_alert(
    pipeline: str, schedule: str, time: datetime, words: str, *, store: str, now: datetime
) -> Alert:
    """The message about a scheduled time that passed without its run; `words` say why, and what to do."""
    thread = f"{store}/schedule/{schedule}"
    return Alert(
        id=f"{thread}/{time:%Y%m%dT%H%M%z}", thread=thread, event="schedule_missed", severity="degraded",
        pipeline=pipeline, title=_title(f"{pipeline}: {schedule} missed its time of {_moment(time)}"),
        text=words, at=now,
    )


def unloaded_alert(
    pipeline: str, schedule: str, configured_at: datetime, words: str, *, store: str, now: datetime
) -> Alert:
    """The message about a schedule that Dagster has not loaded since it was configured; `words` say what to do."""
    thread = f"{store}/schedule/{schedule}"
    return Alert(
        id=f"{thread}/unloaded/{configured_at:%Y%m%dT%H%M%S}", thread=thread, event="schedule_missed",
        severity="degraded", pipeline=pipeline, title=_title(f"{pipeline}: Dagster does not know {schedule} yet"),
        text=words, at=now,
    )


def trial_alert(pipeline: str, *, store: str, now: datetime) -> Alert:
    """A message that says that messages arrive."""
    thread = f"{store}/test/{pipeline}"
    return Alert(
        id=f"{thread}/{now:%Y%m%dT%H%M%S%f}", thread=thread, event="test", severity="test", pipeline=pipeline,
        title=_title(f"{pipeline}: test of its alerts"), at=now,
        text=f"Nothing is wrong. Messages about pipeline {pipeline} arrive here.",
    )


def _first(incident: Incident) -> Problem | None:
    """The worst of its problems."""
    return next((p for p in incident.problems if p.severity == "failed"), next(iter(incident.problems), None))


def _run_lines(run: AlertRun | None) -> list[str]:
    if run is None:
        return []
    return [f"Run: {run.url or f'{run.id} of {run.job}, in Dagster'}"]


def _line(text: str) -> str:
    """A text's first line, without its last full stop."""
    return redact(text).strip().split("\n", 1)[0].rstrip(".:")


def _cut(text: str) -> str:
    text = redact(text).strip()
    return text if len(text) <= _LINE else text[: _LINE - 2] + " …"


def _title(text: str) -> str:
    return text if len(text) <= _TITLE else text[: _TITLE - 2] + " …"


def _text(lines: Sequence[str], where: Sequence[str]) -> str:
    """`where` to look stays, however long the rest is."""
    text, end = "\n".join(lines), "\n\n" + "\n".join(where)
    room = _TEXT - len(end)
    return (text if len(text) <= room else text[: room - 2] + " …") + end


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 5 min`, `2 d 4 h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    big, small, big_name, small_name = (
        (whole // 3600, whole % 3600 // 60, "h", "min") if whole < 86_400 else
        (whole // 86_400, whole % 86_400 // 3600, "d", "h")
    )
    return f"{big} {big_name} {small} {small_name}" if small else f"{big} {big_name}"
