"""`verifications`: what was compared outside of Dagster, by the background or the command line, as asset checks."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from cdc_pipelines.assets.checks import EQUAL_TO_SOURCE
from cdc_pipelines.assets.names import table_key
from cdc_pipelines.replication.control.store import PipelineRecord
from cdc_pipelines.replication.databases.postgres.connection import connect, server_errors
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.databases.postgres.verified import Verified, last_verified
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.resources.pipelines import PipelinesResource

_DEADLINE_S = 40  # a tick may take 60 s
_AT_ONCE = 8

Seen = dict[str, dict[str, str]]
"""Pipeline → table → when it was compared last, as told to Dagster."""


@dg.sensor(
    name="verifications", minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING,
    description="Shows comparisons that the background or the command line made as evaluations of each table's check "
    f"`{EQUAL_TO_SOURCE}`.",
)
def verifications(context: dg.SensorEvaluationContext, pipelines: PipelinesResource) -> dg.SensorResult:
    """One look at the targets of all active pipelines; one that can't be reached is looked at next time."""
    seen: Seen = json.loads(context.cursor or "{}")
    try:
        with pipelines.store() as store:
            records = [record for record in store.list() if record.is_active]
    except (CdcError, SQLAlchemyError, OSError) as error:
        return dg.SensorResult(skip_reason=f"the control store can't be read: {redact(str(error))}")
    events: list[dg.AssetCheckEvaluation] = []
    now: Seen = {}
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="verifications")
    futures = {pool.submit(_look, record): record.name for record in records}
    wait(futures, timeout=_DEADLINE_S)
    pool.shutdown(wait=False, cancel_futures=True)
    for future, name in futures.items():
        told = now.setdefault(name, seen.get(name, {}))
        error = future.exception() if future.done() and not future.cancelled() else TimeoutError("no answer in time")
        if isinstance(error, CdcError | OSError):
            context.log.warning("pipeline %s: its verifications can't be read: %s", name, redact(str(error)))
        elif error is not None:
            raise error
        else:
            events += _news(name, future.result(), told)
            now[name] = {**told, **{v.table: _moment(v) for v in future.result()}}
    return dg.SensorResult(asset_events=events, cursor=json.dumps(now))


def _look(record: PipelineRecord) -> list[Verified]:
    purpose = f"{record.name}:verifications"
    with connect(record.spec.target, purpose=purpose) as conn, server_errors(f"pipeline {record.name}"):
        conn.execute("set statement_timeout = '20s'")
        return last_verified(conn, record.name) if TargetState(conn, record.name).exists() else []


def _moment(result: Verified) -> str:
    return result.at.astimezone(UTC).isoformat(timespec="microseconds")


def _news(pipeline: str, verified: Iterable[Verified], told: dict[str, str]) -> Iterable[dg.AssetCheckEvaluation]:
    for result in verified:
        if result.by != "dagster" and told.get(result.table, "") < _moment(result):
            yield dg.AssetCheckEvaluation(
                asset_key=table_key(pipeline, result.table),
                check_name=EQUAL_TO_SOURCE,
                passed=result.equal,
                description=f"compared by the {result.by} at {result.at:%Y-%m-%d %H:%M:%S} UTC",
                metadata={
                    "rows on the source": result.rows,
                    "differences": result.differences,
                    "differences repaired": result.repaired,
                    "verified through": result.position,
                    "compared at": dg.MetadataValue.timestamp(result.at),
                },
            )
