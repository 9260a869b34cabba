"""What people were told, message by message, instead of counts with the incidents."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "cdc_alerts",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("pipeline", sa.Text, nullable=False),
        sa.Column("incident", sa.BigInteger),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("busy_until", _MOMENT, nullable=False),
        sa.Column("told_at", _MOMENT),
    )
    op.create_index("ix_cdc_alerts_incident", "cdc_alerts", ["incident"])
    op.create_index("ix_cdc_alerts_told_at", "cdc_alerts", ["told_at"])
    for name in ("told_at", "told_times", "told_recovered_at"):
        op.drop_column("cdc_incidents", name)
