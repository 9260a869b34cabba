"""`configuration`: Dagster loads the code location anew where other tables or schedules are configured than it shows.

A schedule that nobody loaded never ticks, so it can't tell that itself; the one before it only says that it is old.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from cdc_pipelines.assets.declared import DeclaredPipeline, configured_pipelines
from cdc_pipelines.dagster_client import DagsterClient
from cdc_pipelines.replication.alerts.message import unloaded_alert
from cdc_pipelines.replication.alerts.telling import Teller
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import CdcError, NotConfiguredError
from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.resources.pipelines import PipelinesResource
from cdc_pipelines.resources.webserver import NoWebserverError, load, reach
from cdc_pipelines.schedules.shown import Shown, schedules_of, shown

PATIENCE_S = 180.0
"""A daemon that loads the code location itself does so every minute: until then nobody need hear of a difference."""
_SETTLED_S = 20.0  # whoever saves lets it be loaded, too, and may save more
_AFTER_S = 3.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Difference:
    """Between what was loaded and what is configured: which, since when, and whether Dagster was asked to load it."""

    mark: str
    since: float
    asked: bool = False


def configuration_sensor(pipelines: Iterable[DeclaredPipeline]) -> dg.SensorDefinition:
    """`pipelines` are those that this code location was loaded with."""
    loaded = shown(pipelines)

    @dg.sensor(
        name="configuration", minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING,
        description="Lets the webserver of CDC_DAGSTER_URL load the code location anew, once, where tables or "
        "schedules are configured that it does not show; tells people of schedules that stay unknown to it.",
    )
    def configuration(context: dg.SensorEvaluationContext, pipelines: PipelinesResource) -> dg.SensorResult:
        return look(context, pipelines, loaded, datetime.now(UTC))

    return configuration


def look(
    context: dg.SensorEvaluationContext, pipelines: PipelinesResource, loaded: Shown, now: datetime
) -> dg.SensorResult:
    """One comparison of what is configured with what was loaded."""
    try:
        with pipelines.store() as store:
            configured = configured_pipelines(store)
            wanted = shown(configured)
            if wanted == loaded:
                return dg.SensorResult(skip_reason="Dagster shows what is configured", cursor="{}")
            found, why = _asked(_difference(context.cursor, loaded, wanted, now), now)
            if now.timestamp() - found.since >= PATIENCE_S:
                for pipeline in configured:
                    _tell(context.log, store, pipeline, loaded.get(pipeline.name, {}), why, now)
    except (CdcError, SQLAlchemyError, OSError) as error:
        return dg.SensorResult(skip_reason=f"the control store can't be read: {redact(str(error))}")
    names = ", ".join(sorted(name for name in loaded | wanted if loaded.get(name) != wanted.get(name)))
    reason = f"Dagster does not show pipeline(s) {names} as configured: {why}"
    return dg.SensorResult(skip_reason=reason, cursor=json.dumps(asdict(found)))


def _difference(cursor: str | None, loaded: Shown, wanted: Shown, now: datetime) -> Difference:
    """The one that was seen before, or a new one."""
    mark = hashlib.sha256(json.dumps([loaded, wanted], sort_keys=True).encode()).hexdigest()[:16]
    with suppress(ValueError, TypeError):
        before = Difference(**json.loads(cursor or "{}"))
        if before.mark == mark:
            return before
    return Difference(mark, now.timestamp())


def _asked(found: Difference, now: datetime) -> tuple[Difference, str]:
    """Dagster is asked once for each difference: one that stays is not mended by loading the same again."""
    if found.asked:
        return found, "it was asked to load its code location anew"
    if now.timestamp() - found.since < _SETTLED_S:
        return found, "that is new"
    try:
        client = reach()
    except NoWebserverError as error:
        return found, str(error)
    # After this tick, which the load would end together with this process: then nobody knew that it was asked.
    timer = threading.Timer(_AFTER_S, _load, [client])
    timer.daemon = True
    timer.start()
    return replace(found, asked=True), "it is asked to load its code location anew"


def _load(client: DagsterClient) -> None:
    try:
        load(client, _log)
    except NoWebserverError as error:
        _log.warning("%s", error)


def _tell(
    log: logging.Logger, store: ControlStore, pipeline: DeclaredPipeline, loaded: dict[str, str], why: str,
    now: datetime,
) -> None:
    """People, once for each configuration of an active pipeline, as of a time that was missed: nothing runs by it."""
    try:
        record = store.get(pipeline.name)
    except NotConfiguredError:
        return  # torn down just now
    for name, what in schedules_of(pipeline).items():
        if not record.is_active or loaded.get(name) == what:
            continue
        words = (
            f"{name} is configured as {what}, but Dagster has not loaded it, and runs nothing at that time: {why}. "
            "Reload the code location cdc_pipelines (Deployment → Code locations → Reload), or restart its code server."
        )
        log.warning(words)
        alert = unloaded_alert(record.name, name, record.configured_at, words, store=store.id, now=now)
        Teller(store, log).leave(record, alert)
