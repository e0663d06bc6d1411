"""Emergency accesses that the privacy office is to be told of.

Revision: 0028
Revises: 0027
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward; accesses of before are in the review queue alone."""
    op.create_table(
        "emergency_alert",
        sa.Column("emergency_id", Key, primary_key=True, autoincrement=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_us", sa.BigInteger, nullable=False),
        sa.Column("settled_us", sa.BigInteger),
    )
    op.create_index("ix_emergency_alert_queue", "emergency_alert", ["settled_us", "due_us"])
