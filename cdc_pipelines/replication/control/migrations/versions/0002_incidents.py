"""Incidents, and what was done about each."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "cdc_incidents",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("pipeline", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("worst", sa.Text, nullable=False),
        sa.Column("problems", sa.Text, nullable=False),
        sa.Column("opened_at", _MOMENT, nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("escalated_at", _MOMENT),
        sa.Column("raised_at", _MOMENT),
        sa.Column("calm_since", _MOMENT),
        sa.Column("resolved_at", _MOMENT),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("told_at", _MOMENT),
        sa.Column("told_times", sa.Integer, nullable=False),
        sa.Column("told_recovered_at", _MOMENT),
    )
    op.create_index(
        "ix_cdc_incidents_open", "cdc_incidents", ["pipeline"], unique=True,
        sqlite_where=sa.text("resolved_at is null"), postgresql_where=sa.text("resolved_at is null"),
    )
    op.create_index("ix_cdc_incidents_pipeline", "cdc_incidents", ["pipeline"])
    op.create_table(
        "cdc_incident_actions",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("incident", sa.BigInteger, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
    )
    op.create_index("ix_cdc_incident_actions_incident", "cdc_incident_actions", ["incident"])
