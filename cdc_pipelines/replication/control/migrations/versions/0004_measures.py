"""What a consumer measures, with its heartbeat."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cdc_heartbeats", sa.Column("measures", sa.Text))
