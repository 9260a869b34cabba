"""What a consumer found on the source that the log does not tell, with its heartbeat."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cdc_heartbeats", sa.Column("findings", sa.Text))
