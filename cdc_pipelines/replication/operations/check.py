"""Every prerequisite of a start, looked at together. Nothing is written anywhere."""

from collections.abc import Callable, Sequence

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.mysql.preflight import check_source
from cdc_pipelines.replication.databases.postgres.preflight import check_target
from cdc_pipelines.replication.errors import CdcError, CheckResult
from cdc_pipelines.replication.operations.mapping import resolve
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.stream.connector import connector_class, validate_extra
from cdc_pipelines.replication.stream.log_topic import LogTopics

_LOOK_S = 10.0  # who asks wants an answer: nothing is under way yet that would be worth more patience


def check(rt: Runtime, *, force_resync: bool = False) -> list[CheckResult]:
    """All results, met or not; never raises for a prerequisite that is not met.

    With `force_resync` those of a start that copies everything again.
    """
    results: list[CheckResult] = []

    def group(name: str, work: Callable[[], list[CheckResult]]) -> None:
        try:
            results.extend(work())
        except CdcError as error:
            results.append(CheckResult(name, False, error.message, error.next_step))

    streamed = () if force_resync else _streamed(rt)
    group("source", lambda: _source(rt, bool(streamed)))
    group("target", lambda: check_target(
        rt.target_spec, streamed or rt.tables, rt.name, anew=not streamed,
        foreign_keys=rt.pipeline.carry.foreign_keys,
    ))
    group("kafka connect", lambda: _connect(rt))
    group("kafka", lambda: _kafka(rt))
    return results


def _source(rt: Runtime, streams: bool) -> list[CheckResult]:
    live = rt.source.tables()
    results = check_source(rt.source, rt.tables, rt.pipeline.source, pipeline=rt.pipeline)
    if streams:
        results.append(CheckResult("source tables", True, "the stream follows their changes"))
        return results
    try:
        now = resolve(rt.pipeline, live)
    except CdcError as error:
        return [*results, CheckResult("source tables", False, error.message, error.next_step)]
    configured = {t.name: t.source.fingerprint() for t in rt.tables}
    other = [t.name for t in now if configured.get(t.name) != t.source.fingerprint()]
    other += [name for name in configured if name not in {t.name for t in now}]
    message = f"changed since they were configured: {', '.join(sorted(other))}" if other else ""
    results.append(
        CheckResult(
            "source tables",
            not other,
            message or f"{len(now)} tables are as they were configured",
            "cdc configure FILE" if other else "",
        )
    )
    return results


def _streamed(rt: Runtime) -> Sequence[MappedTable]:
    """The tables as the stream left them, with the columns that it added; none while the target is not past its copy.

    What keeps us from looking is told by the target's own checks.
    """
    try:
        with rt.target("check") as (_, state):
            return state.mapped_tables() if state.exists() and state.offset() is not None else ()
    except CdcError:
        return ()


def _connect(rt: Runtime) -> list[CheckResult]:
    wanted = connector_class(rt.pipeline.source.type)
    plugins = {p["class"]: p.get("version", "") for p in rt.connect.plugins(patience_s=_LOOK_S)}
    found = wanted in plugins
    validate_extra(rt.pipeline.connect.config)
    return [
        CheckResult(
            "connect plugin",
            found,
            f"{wanted} {plugins.get(wanted, '')}" if found else f"the worker at {rt.connect.url} has no {wanted}",
            ""
            if found
            else "unpack Debezium's connector plugin into a folder of the worker's plugin.path and restart it.",
        )
    ]


def _kafka(rt: Runtime) -> list[CheckResult]:
    brokers = LogTopics(rt.pipeline, deadline_s=_LOOK_S).brokers()
    enough = brokers >= rt.pipeline.kafka.replication_factor
    return [
        CheckResult(
            "kafka brokers",
            enough,
            f"{brokers} broker(s) for replication factor {rt.pipeline.kafka.replication_factor}",
            "" if enough else "lower kafka.replication_factor in the pipeline's file, or add brokers.",
        )
    ]
