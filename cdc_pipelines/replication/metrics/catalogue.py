"""Every metric that we tell: its kind, its labels, what it means. `docs/metrics.md` is made from it."""

from typing import Literal, NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from cdc_pipelines.replication.stream.measures import Histogram

Kind = Literal["gauge", "counter", "histogram"]
_PIPELINE = ("pipeline",)
_TABLE = ("pipeline", "table")


class Description(NamedTuple):
    """`labels` beside those that Prometheus adds itself. Every one is bounded: pipelines, their tables, fixed words."""

    kind: Kind
    labels: tuple[str, ...]
    help: str


METRICS: dict[str, Description] = {
    # From the control store, as it is at the scrape
    "cdc_control_store_up": Description("gauge", (), "1 where the control store answers; 0: nothing else is told."),
    "cdc_agents": Description("gauge", (), "Agents that beat lately."),
    "cdc_pipeline_active": Description("gauge", _PIPELINE, "1 where the pipeline is meant to stream."),
    "cdc_pipeline_status": Description("gauge", ("pipeline", "status"), "1 for the status that it has, 0 for others."),
    "cdc_pipeline_health": Description(
        "gauge", _PIPELINE, "0 healthy, 1 degraded, 2 failed: by the last look, else by its open incident."
    ),
    "cdc_open_incidents": Description("gauge", _PIPELINE, "1 while an incident is open."),
    "cdc_incident_opened_timestamp_seconds": Description("gauge", _PIPELINE, "Since when the open incident lasts."),
    "cdc_consumer_heartbeat_age_seconds": Description("gauge", _PIPELINE, "Age of the consumer's last heartbeat."),
    "cdc_consumer_state": Description(
        "gauge", ("pipeline", "state"), "1 for the state in the last heartbeat, 0 for others."
    ),
    "cdc_consumer_exits_total": Description(
        "counter", ("pipeline", "code"), "Ends of consumers by exit code, negative for a signal, since this process "
        "began: 0 stopped, 10 out of reach, 20 a person is needed, 30 something newer took over, 2 bad configuration."
    ),
    "cdc_lag_records": Description("gauge", _PIPELINE, "Records of the change log that are not applied yet."),
    "cdc_events_applied_total": Description("counter", _PIPELINE, "Row events applied, since the generation began."),
    "cdc_transactions_applied_total": Description(
        "counter", _PIPELINE, "Source transactions applied, since the generation began."
    ),
    "cdc_latency_seconds": Description(
        "histogram", _PIPELINE, "From a commit on the source until it was visible on the target, per transaction."
    ),
    "cdc_run_events": Description("histogram", _PIPELINE, "Row events per target transaction that the consumer made."),
    # From the last look at source, target, Kafka and Kafka Connect
    "cdc_look_age_seconds": Description("gauge", (), "Age of the last look, which all metrics below are of."),
    "cdc_pipeline_problem": Description(
        "gauge", ("pipeline", "kind", "severity"), "1 for every problem that the pipeline has: rows of the table of "
        "health."
    ),
    "cdc_lag_seconds": Description("gauge", _PIPELINE, "How far the target is behind the source, on its clock."),
    "cdc_log_runway_seconds": Description(
        "gauge", _PIPELINE, "Until the source may purge what is not applied yet. Absent: never, or unknown."
    ),
    "cdc_change_log_bytes": Description("gauge", _PIPELINE, "The change log before compression, estimated."),
    "cdc_change_log_records": Description("gauge", _PIPELINE, "Records that the change log keeps."),
    "cdc_copy_chunks": Description("gauge", _TABLE, "Chunks that the table's copy has."),
    "cdc_copy_chunks_done": Description("gauge", _TABLE, "Chunks of them that are on the target."),
    "cdc_copied_rows": Description("gauge", _TABLE, "Rows that the copy brought."),
    "cdc_changes_applied_total": Description(
        "counter", ("pipeline", "table", "operation"), "Changes applied, since the generation began."
    ),
    "cdc_tables_quarantined": Description(
        "gauge", _PIPELINE, "Tables that stand still because the target refused a change."
    ),
    "cdc_dead_letters": Description("gauge", _PIPELINE, "Changes that the target refused and nobody has done with."),
    "cdc_lanes": Description(
        "gauge", ("pipeline", "phase"), "Tables that are copied beside the stream, by how far they are."
    ),
    "cdc_lanes_idle": Description("gauge", _PIPELINE, "Of these, those on which nobody has worked for a minute."),
    "cdc_verification_age_seconds": Description(
        "gauge", _TABLE, "Since the last comparison with the source, where it was complete. Absent: never."
    ),
    "cdc_verification_differences": Description("gauge", _TABLE, "Rows that differed in the last comparison."),
}


class Families:
    """Samples gathered by metric, in the catalogue's order."""

    def __init__(self) -> None:
        self._found: dict[str, Metric] = {}

    def add(self, name: str, value: float | bool | Histogram | None, *labels: str) -> None:
        """One sample; None adds nothing."""
        if value is None:
            return
        family = self._found.get(name) or self._found.setdefault(name, _family(name))
        if isinstance(value, Histogram):
            assert isinstance(family, HistogramMetricFamily)
            buckets = [(f"{bound:g}", float(count)) for bound, count in zip(value.bounds, value.counts, strict=True)]
            family.add_metric(labels, [*buckets, ("+Inf", float(value.number))], value.total)
        else:
            assert isinstance(family, GaugeMetricFamily | CounterMetricFamily)
            family.add_metric(labels, float(value))

    def all(self) -> list[Metric]:
        return [self._found[name] for name in METRICS if name in self._found]


def _family(name: str) -> Metric:
    kind, labels, words = METRICS[name]
    if kind == "histogram":
        return HistogramMetricFamily(name, words, labels=labels)
    return (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, words, labels=labels)
