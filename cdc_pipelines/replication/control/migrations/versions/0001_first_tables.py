"""The first tables: pipelines, leases, heartbeats, agents, assignments, consumer exits, diary."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "cdc_facts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "cdc_pipelines",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("client", sa.BigInteger, nullable=False),
        sa.Column("config", sa.BigInteger, nullable=False, unique=True),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("file_text", sa.Text, nullable=False),
        sa.Column("tables", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("desired", sa.Text, nullable=False),
        sa.Column("desired_revision", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger),
        sa.Column("consumer_group", sa.Text),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("configured_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.Column("last_sync_at", _MOMENT),
    )
    op.create_table(
        "cdc_leases",
        sa.Column("pipeline", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("acquired_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("place", sa.Text),
        sa.Column("pid", sa.BigInteger),
        sa.Column("born", sa.Text),
    )
    op.create_table(
        "cdc_heartbeats",
        sa.Column("pipeline", sa.Text, primary_key=True),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("log_offset", sa.BigInteger),
        sa.Column("log_end", sa.BigInteger),
        sa.Column("applied_position", sa.Text),
        sa.Column("commit_ms", sa.BigInteger),
        sa.Column("lag_seconds", sa.Float),
        sa.Column("events_total", sa.BigInteger, nullable=False),
        sa.Column("transactions_total", sa.BigInteger, nullable=False),
        sa.Column("last_event_at", _MOMENT),
        sa.Column("last_heartbeat_event_at", _MOMENT),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("machine", sa.Text, nullable=False),
    )
    op.create_table(
        "cdc_agents",
        sa.Column("agent_id", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("born", sa.Text),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
    )
    op.create_table(
        "cdc_assignments",
        sa.Column("pipeline", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
    )
    op.create_table(
        "cdc_consumer_exits",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("pipeline", sa.Text, nullable=False),
        sa.Column("group", sa.Text),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("last_lines", sa.Text, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
    )
    op.create_index("ix_cdc_consumer_exits_pipeline", "cdc_consumer_exits", ["pipeline"])
    op.create_table(
        "cdc_diary",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("pipeline", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
    )
    op.create_index("ix_cdc_diary_pipeline", "cdc_diary", ["pipeline"])


def downgrade() -> None:
    for name in (
        "cdc_diary", "cdc_consumer_exits", "cdc_assignments", "cdc_agents", "cdc_heartbeats", "cdc_leases",
        "cdc_pipelines", "cdc_facts",
    ):
        op.drop_table(name)
