"""`replication_health`: looks at all pipelines, records how they do, and asks for runs where one is not healthy."""

import json
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from cdc_pipelines.assets.observations import FRESH_EVERY_S, fresh, is_fresh, observations, schema_changes
from cdc_pipelines.jobs.health import INCIDENT_TAG, heal_replication, replication_health
from cdc_pipelines.replication.daemon_pool import DaemonPool
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.health.rounds import Seen, look_at_all
from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.resources.pipelines import PIPELINE_TAG, PipelinesResource

# Dagster itself copies every sensor of two jobs with the beta parameter `owners`, and then warns of it.
warnings.filterwarnings("ignore", message="Parameter `owners` of initializer", category=dg.BetaWarning)

_INTERVAL_S = 20
_DEADLINE_S = 40.0  # a tick may take 60 s
_STORE_S = 2.0

Recorded = dict[str, dict[str, float]]
"""Pipeline → when its tables were observed and recorded as fresh last, in seconds since 1970; and the number of the
schema change that was observed last.
"""


@dg.sensor(
    name="replication_health", minimum_interval_seconds=_INTERVAL_S, jobs=[replication_health, heal_replication],
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks at Kafka Connect and at the consumers' heartbeats of all pipelines. An incident gets one run of "
    "`replication_health`, which fails with the status; what can be mended is mended by runs of `heal_replication`.",
)
def health(context: dg.SensorEvaluationContext, pipelines: PipelinesResource) -> dg.SensorResult:
    """One look, within 40 s, whatever hangs."""
    now = datetime.now(UTC).timestamp()
    pool = DaemonPool(1, "look")  # a store that hangs between two answers is left behind
    try:
        seen = pool.submit(_look, pipelines).result(timeout=_DEADLINE_S)
    except TimeoutError:
        return dg.SensorResult(skip_reason=f"the control store gave no answer within {_DEADLINE_S:.0f} s")
    except (CdcError, SQLAlchemyError, OSError) as error:
        return dg.SensorResult(skip_reason=f"the control store can't be read: {redact(str(error))}")
    recorded = _parsed(context.cursor)
    events: list[dg.AssetObservation | dg.AssetMaterialization] = []
    for each in seen:
        events += _events(each, recorded.setdefault(each.record.name, {}), now)
        _tell(context, each)
    known = {each.record.name for each in seen}
    return dg.SensorResult(
        run_requests=[request for each in seen for request in _runs(each)],
        asset_events=events,  # type: ignore[arg-type]
        cursor=json.dumps({name: times for name, times in recorded.items() if name in known}),
    )


def _look(pipelines: PipelinesResource) -> list[Seen]:
    with pipelines.store(patience_s=_STORE_S) as store:
        return look_at_all(store)


def _parsed(cursor: str | None) -> Recorded:
    """Of whatever an older version left; nothing is lost with it but a moment's pause."""
    try:
        found = json.loads(cursor or "{}")
        return {str(name): {str(what): float(at) for what, at in times.items()} for name, times in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _events(
    seen: Seen, times: dict[str, float], now: float
) -> Iterator[dg.AssetObservation | dg.AssetMaterialization]:
    """Not at every look: each is a row in Dagster's event log, for every table."""
    limits, name = seen.record.spec.health, seen.record.name
    changes, times["schema change"] = schema_changes(name, seen.status, times.get("schema change", 0))
    yield from changes
    if now - times.get("observed", 0) >= limits.observe_seconds - _INTERVAL_S / 2:
        times["observed"] = now
        yield from observations(name, seen.status)
    if now - times.get("fresh", 0) >= FRESH_EVERY_S and is_fresh(seen.status, limits.lag_seconds):
        times["fresh"] = now
        yield from fresh(name, seen.status)


def _runs(seen: Seen) -> Iterator[dg.RunRequest]:
    incident, name = seen.incident, seen.record.name
    if incident is None:
        return
    config = {"pipeline": name, "incident": incident.id}
    tags = {PIPELINE_TAG: name, INCIDENT_TAG: str(incident.id)}
    if seen.raised:  # at each look, until the run has begun: Dagster takes its key once
        yield dg.RunRequest(
            run_key=f"{name}:{incident.id}", job_name=replication_health.name, run_config=config, tags=tags
        )
    if seen.cure:
        yield dg.RunRequest(
            run_key=f"{name}:{incident.id}:heal:{seen.tries}", job_name=heal_replication.name, run_config=config,
            tags=tags,
        )


def _tell(context: dg.SensorEvaluationContext, seen: Seen) -> None:
    """Into the tick's log, which the UI shows."""
    if seen.unkept:
        context.log.warning("%s: the control store did not take what was seen: %s", seen.record.name, seen.unkept)
    incident = seen.incident
    if incident is None:
        return
    if incident.resolved_at is not None:
        context.log.info("%s: incident %d is over, after %.0f s", seen.record.name, incident.id, incident.seconds)
        return
    words = "; ".join(f"{p.kind}: {p.message}" for p in incident.problems)
    context.log.warning("%s is %s (incident %d): %s", seen.record.name, seen.status["overall"], incident.id, words)
