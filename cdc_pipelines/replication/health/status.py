"""The one status of a pipeline, made from facts: connector, consumer, lag, control store and target.

The sensor, the CLI, the API and the page all call `status`. What is out of reach is told in its place; nothing raises.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import requests

from cdc_pipelines.replication.control.records import LeaseInfo, Problem, Severity
from cdc_pipelines.replication.errors import CdcError, ResyncRequiredError, RetryableError, named
from cdc_pipelines.replication.health import facts, judge
from cdc_pipelines.replication.health.facts import Connectors, Facts, iso
from cdc_pipelines.replication.health.rules import problem, worst
from cdc_pipelines.replication.operations import foundations
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.replication.stream.findings import Findings

_PASSING = timedelta(minutes=5)  # longer than any operation has the connector in its hands

ON_THE_WAY = ("copying", "connecting", "starting")


def status(rt: Runtime, connectors: Connectors = None) -> Facts:
    """The status as JSON-ready values; times are ISO 8601 in UTC, lags in seconds, records and bytes.

    `connectors`: the answer of `ConnectClient.all("status")`, where it was asked for many pipelines at once. A runtime
    that is `impatient` answers soon, whoever hangs.
    """
    record = rt.refresh()
    asked = _Asked(rt.name)
    connector = asked.of(
        "connector", "connect_unreachable", lambda: facts.connector(rt, connectors),
        {"state": "UNREACHABLE", "healthy": False, "tasks": [], "message": "Kafka Connect is out of reach"},
    )
    connector["message"] = named(connector["message"], rt.name)
    target = asked.of("target", "target_unreachable", lambda: facts.target(rt), {})
    beat = rt.store.heartbeat(rt.name)
    consumer = facts.consumer(beat)
    messages = facts.messages_behind(beat)
    if broken := _broken_off(rt):
        asked.tell("start", broken)
    if connector["state"] not in ("MISSING", "UNREACHABLE"):
        asked.of("connector", "connector_changed", lambda: foundations.connector_as_made(rt, target), {})
    log = asked.of("change log", "change_log_broken", lambda: foundations.change_log(rt, target), {})
    asked.of("source", "source_history", lambda: foundations.source_history(rt, target, connector), {})
    asked.of("connector", "connector_silent", lambda: foundations.connector_speaks(rt, target, connector, beat), {})
    lag = asked.of(
        "source", "source_unreachable", lambda: facts.lag(rt, target, connector, beat),
        {"seconds": None, "source_bytes": None},
    )
    lag["messages"] = messages
    limits = rt.pipeline.health
    asked.of("runway", "connect_unreachable", lambda: _runway(rt, asked, target, lag), {})
    tables = target.get("tables", [])
    lanes = target.get("lanes", [])
    for found in [
        *judge.size_problems(limits, log, target), *judge.quarantine_problems(rt.name, tables),
        *judge.difference_problems(rt.name, tables), *judge.lane_problems(rt.name, lanes, datetime.now(UTC)),
        *judge.changed_problems(rt.name, tables, lanes),
    ]:
        asked.tell("", found)
    problems = list(dict.fromkeys(asked.problems))
    if record.status == "failed":
        problems.append(problem("needs_person", record.message or "the pipeline failed", f"see `cdc status {rt.name}`"))
    elif record.is_active and record.status not in ON_THE_WAY:
        operation = works_on_it(rt.store.lease_info(rt.name), datetime.now(UTC))
        of_connector = judge.connector_problems(rt.name, rt.pipeline.connector_name, connector)
        problems += [each for each in of_connector if not judge.is_in_passing(each, operation)]
        problems += judge.consumer_problems(rt.name, consumer, facts.crashes(rt), facts.has_agent(rt))
        problems += judge.stream_problems(limits, rt.name, lag)
        problems += judge.found_problems(rt.name, tables, Findings.from_json(beat.findings if beat else None))
    return {
        "overall": worst(problems),
        "connector": connector,
        "consumer": consumer,
        "config": {
            "status": record.status,
            "is_active": record.is_active,
            "connector_name": rt.pipeline.connector_name,
            "kafka_topic_prefix": rt.pipeline.topic_prefix,
            "id": record.config,
            "name": record.name,
            "message": record.message,
        },
        "statistics": {
            "total_rows_synced": sum(t["rows_copied"] + t["changes_applied"] for t in tables),
            "tables_enabled": len(record.tables),
            "last_sync_at": iso(target.get("last_sync_at")),
        },
        "lag": lag,
        "position": {
            "applied": target.get("position"),
            "log_topic": target.get("log_topic"),
            "log_offset": target.get("log_offset"),
        },
        "change_log": log,
        "generation": target.get("generation", record.generation),
        "epoch": target.get("epoch"),
        "consumer_group": record.consumer_group,
        "tables": tables,
        "lanes": lanes,
        "schema_changes": target.get("schema_changes", []),
        "carried": target.get("carried", {"made": {}, "not_made": []}),
        "problems": [asdict(each) for each in problems],
        "errors": asked.errors,
        "timestamp": iso(datetime.now(UTC)),
    }


class _Asked:
    """Questions, each of which may fail by itself, and what their failures mean."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self.problems: list[Problem] = []
        self._texts: list[tuple[bool, str]] = []

    @property
    def errors(self) -> list[str]:
        """One line each, those first that only a new copy mends."""
        return list(dict.fromkeys(text for _, text in sorted(self._texts, key=lambda text: not text[0])))

    def of(self, what: str, kind: str, question: Callable[[], Facts | None], otherwise: Facts) -> Facts:
        try:
            return question() or {}
        except (CdcError, requests.RequestException) as error:
            self.tell(what, self._meaning(what, kind, error))
            return otherwise

    def tell(self, what: str, found: Problem) -> None:
        self.problems.append(found)
        words = f"{found.message}; {found.next_step}" if found.next_step else found.message
        self._texts.append((found.severity == "failed", f"{what}: {words}" if what else words))

    def _meaning(self, what: str, kind: str, error: CdcError | requests.RequestException) -> Problem:
        """A question that got no answer means that somebody is out of reach, whatever was asked."""
        message, step = (error.message, error.next_step) if isinstance(error, CdcError) else (str(error), "")
        severity: Severity = "failed" if isinstance(error, ResyncRequiredError) else "degraded"
        if isinstance(error, RetryableError | requests.RequestException):
            kind = _OUT_OF_REACH.get(kind, kind)
        elif kind == "source_history" and severity == "degraded":
            kind = "source_unreachable"  # it refuses us
        return problem(kind, named(redact(message), self._pipeline), named(redact(step), self._pipeline), severity)


_OUT_OF_REACH = {
    "connector_changed": "connect_unreachable",
    "change_log_broken": "kafka_unreachable",
    "source_history": "source_unreachable",
}


def _runway(rt: Runtime, asked: _Asked, target: Facts, lag: Facts) -> Facts:
    """The alarm before a purge. The connector, which reads ahead of what is applied, is asked where it matters only."""
    limits = rt.pipeline.health
    limit = judge.runway_limit(limits, lag)
    left = (lag.get("runway") or {}).get("runway_seconds")
    if limit is not None and left is not None and left < limit:
        read = facts.runway_of_reading(rt, target)
        for found in judge.runway_problems(limits, lag, left if read is None else max(left, read)):
            asked.tell("source", found)
    return {}


def _broken_off(rt: Runtime) -> Problem | None:
    """What to do where a start ended before it was complete: nobody works on the pipeline any more."""
    if rt.record.status not in ON_THE_WAY or rt.store.lease_info(rt.name) is not None:
        return None
    if rt.refresh().status not in ON_THE_WAY:  # it came to its end between the two looks
        return None
    return problem(
        "start_broken_off", f"it ended while {rt.record.status}", f"run `cdc start {rt.name}`, which goes on from there"
    )


def works_on_it(held: LeaseInfo | None, now: datetime) -> str:
    """The operation that has begun on the pipeline just now. One that lasts, a copy, leaves the connector alone."""
    began_now = held is not None and held.seconds_left > 0 and now - held.acquired_at < _PASSING
    return held.operation if held is not None and began_now else ""
