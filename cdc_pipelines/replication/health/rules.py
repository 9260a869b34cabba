"""The table of health: every problem that a pipeline can have, how bad it is, and whether it can mend itself.

`docs/health.md` is made from it. The limits are those of the section `health` of a pipeline's file.
"""

from typing import Literal, NamedTuple

from cdc_pipelines.replication.control.records import Problem, Severity

Cure = Literal["restart_task", "recreate_connector", "restart_consumer", "copy_tables", ""]


class Rule(NamedTuple):
    """`severity`: how bad; `cure`: what self-healing does, if anything; `when`: the fact that it stands for."""

    severity: Severity
    cure: Cure
    when: str


RULES: dict[str, Rule] = {
    # The connector
    "connect_unreachable": Rule("degraded", "", "Kafka Connect does not answer"),
    "connector_missing": Rule("failed", "recreate_connector", "the connector was deleted"),
    "connector_failed": Rule("failed", "restart_task", "the connector itself is FAILED"),
    "task_failed": Rule("failed", "restart_task", "the connector's task is FAILED"),
    "connector_paused": Rule("degraded", "", "the connector is PAUSED, though the pipeline is active"),
    "connector_stopped": Rule("failed", "", "the connector is STOPPED, though the pipeline is active"),
    "no_tasks": Rule("degraded", "", "the connector is RUNNING and has no task"),
    "connector_not_running": Rule("degraded", "", "connector or task are in another state, as in a rebalance"),
    "connector_silent": Rule(
        "degraded", "restart_task", "the connector says RUNNING, but not even a heartbeat came into the log for 150 "
        "seconds, while the source's log went on",
    ),
    "connector_changed": Rule(
        "degraded", "", "the connector is not as it was made: settings, owner or its own topics; failed where changes "
        "may be missing because of it",
    ),
    # The change log
    "kafka_unreachable": Rule("degraded", "", "the broker does not answer"),
    "change_log_broken": Rule("failed", "", "the change log was deleted, made again, or trimmed beyond what is needed"),
    "log_size": Rule("degraded", "", "the change log is larger than `log_gb`"),
    # The consumer
    "consumer_stale": Rule("degraded", "restart_consumer", "no heartbeat of the consumer for 30 seconds"),
    "consumer_gone": Rule("failed", "restart_consumer", "no heartbeat of the consumer for 120 seconds"),
    "consumer_missing": Rule("degraded", "restart_consumer", "no consumer has beaten since the last start"),
    "consumer_not_streaming": Rule("degraded", "", "the consumer beats, but does not stream (starts, stops, waits)"),
    "crash_loop": Rule("degraded", "", "the consumer ended unasked three times within 15 minutes"),
    "agent_missing": Rule("degraded", "restart_consumer", "no agent beats: nobody would start a consumer again"),
    # Both ends
    "source_unreachable": Rule("degraded", "", "the source does not answer, or refuses us"),
    "source_history": Rule("failed", "", "the source's log was reset or purged, or it is another server"),
    "target_unreachable": Rule("degraded", "", "the target does not answer, or refuses us"),
    "target_size": Rule("degraded", "", "the target's database is larger than `target_gb`"),
    "runway": Rule("degraded", "", "the source may purge what is still needed within `runway_hours`"),
    # The pipeline
    "lag": Rule("degraded", "", "the target is more than `lag_seconds` behind"),
    "table_quarantined": Rule(
        "degraded", "", "the target refused a change of a table, which stands still since then; the others go on"
    ),
    "dead_letters": Rule("degraded", "", "changes that the target refused are held, and nobody has looked at them"),
    "differences": Rule("degraded", "", "a verification found rows that differ"),
    "table_changed": Rule(
        "degraded", "copy_tables", "a table changed so that it must be copied again, and that has not begun"
    ),
    "table_gone": Rule(
        "degraded", "", "the source has a table no more, and the log did not tell: it was renamed into another database"
    ),
    "cascade": Rule(
        "degraded", "", "the source got a foreign key by which it changes rows without telling of it in its log"
    ),
    "table_left_behind": Rule(
        "degraded", "copy_tables", "a table left the stream to be joined to it anew, and nobody works on it"
    ),
    "lane_idle": Rule("degraded", "", "a table was to be copied again beside the stream, and nobody works on it"),
    "start_broken_off": Rule("degraded", "", "a start ended before it was complete, and nobody works on it"),
    "needs_person": Rule("failed", "", "the stream stopped, and would stop again at the same place"),
    "unanswered": Rule("degraded", "", "the status could not be had within the time of a tick"),
}


def problem(kind: str, message: str, next_step: str = "", severity: Severity | None = None) -> Problem:
    """A problem with the severity of its rule, unless another is given."""
    return Problem(kind, severity or RULES[kind].severity, message, next_step)


def worst(problems: "list[Problem] | tuple[Problem, ...]") -> Literal["healthy", "degraded", "failed"]:
    """The word for all of them together."""
    severities = {each.severity for each in problems}
    return "failed" if "failed" in severities else "degraded" if severities else "healthy"
