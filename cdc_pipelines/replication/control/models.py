"""The control store's tables. A change here needs a migration in `migrations/versions`.

Names carry the prefix `cdc_`: the store may share a database with others, Dagster's own for example.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)

VERSION_TABLE = "cdc_control_version"
HEAD = "0005"  # the newest migration; a test compares it with the folder

metadata = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_name)s"})


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: goes in and comes out aware, in UTC. SQLite keeps no zone, so there it is kept as UTC without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; give an aware datetime")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _number() -> "Column[int]":
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


facts = Table(  # `id`: the store's own name, by which processes tell whose consumers they see
    "cdc_facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

pipelines = Table(
    "cdc_pipelines",
    metadata,
    Column("name", Text, primary_key=True),
    Column("client", BigInteger, nullable=False),
    Column("config", BigInteger, nullable=False, unique=True),
    Column("spec", Text, nullable=False),  # JSON of pipeline.Pipeline: references, never secrets
    Column("file_text", Text, nullable=False),
    Column("tables", Text, nullable=False),  # JSON list of catalog.MappedTable
    Column("status", Text, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("desired", Text, nullable=False),
    # Grows with every word about what is desired: what failed under an older word says nothing about the new one.
    Column("desired_revision", BigInteger, nullable=False),
    Column("generation", BigInteger),
    Column("consumer_group", Text),
    Column("message", Text, nullable=False),
    Column("configured_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("last_sync_at", UtcDateTime),
)

leases = Table(
    "cdc_leases",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("acquired_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    # The holding process, where there is exactly one: its death ends the lease at once.
    Column("place", Text),
    Column("pid", BigInteger),
    Column("born", Text),
)

heartbeats = Table(
    "cdc_heartbeats",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("group", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("host", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("log_offset", BigInteger),
    Column("log_end", BigInteger),
    Column("applied_position", Text),
    Column("commit_ms", BigInteger),
    Column("lag_seconds", Float),
    Column("events_total", BigInteger, nullable=False),
    Column("transactions_total", BigInteger, nullable=False),
    Column("last_event_at", UtcDateTime),
    Column("last_heartbeat_event_at", UtcDateTime),
    Column("message", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("measures", Text),  # JSON of stream.measures.Measures
    Column("findings", Text),  # JSON of stream.findings.Findings
)

agents = Table(
    "cdc_agents",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("born", Text),
    Column("version", Text, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

assignments = Table(  # which host's agent runs a pipeline's consumer
    "cdc_assignments",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

exits = Table(
    "cdc_consumer_exits",
    metadata,
    _number(),
    Column("pipeline", Text, nullable=False),
    Column("group", Text),
    Column("revision", BigInteger, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("exit_code", Integer),  # negative: ended by that signal; null: not our child, so nobody knows
    Column("last_lines", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index(None, "pipeline"),
)

diary = Table(
    "cdc_diary",
    metadata,
    _number(),
    Column("pipeline", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index(None, "pipeline"),
)

incidents = Table(
    "cdc_incidents",
    metadata,
    _number(),
    Column("pipeline", Text, nullable=False),
    Column("severity", Text, nullable=False),  # now
    Column("worst", Text, nullable=False),  # so far
    Column("problems", Text, nullable=False),  # JSON list of health.Problem, as last seen
    Column("opened_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("escalated_at", UtcDateTime),
    Column("raised_at", UtcDateTime),  # when a run that fails was asked for
    Column("calm_since", UtcDateTime),  # healthy since then, not yet for long enough
    Column("resolved_at", UtcDateTime),
    Column("run", Text, nullable=False),  # id of the run that failed for it
    Index(None, "pipeline"),
)
Index(  # one continuous time at most
    "ix_cdc_incidents_open", incidents.c.pipeline, unique=True,
    sqlite_where=incidents.c.resolved_at.is_(None), postgresql_where=incidents.c.resolved_at.is_(None),
)

incident_actions = Table(  # what was done to mend it, by itself or by a person
    "cdc_incident_actions",
    metadata,
    _number(),
    Column("incident", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index(None, "incident"),
)

alerts = Table(  # what people are told; each message has a key of its own, so that it is told once
    "cdc_alerts",
    metadata,
    Column("key", Text, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("incident", BigInteger),  # none: of a failed run
    Column("event", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("document", Text, nullable=False),  # JSON of alerts.document.Alert
    Column("tries", Integer, nullable=False),
    Column("busy_until", UtcDateTime, nullable=False),  # somebody tells it, or waits before the next try
    Column("told_at", UtcDateTime),
    Index(None, "incident"),
    Index(None, "told_at"),
)
