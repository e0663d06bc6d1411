"""Event times, partitions and replays.

Revision: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    for name in ("event_us", "sent_us"):
        op.add_column("resource", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("resource", sa.Column("status_rank", sa.SmallInteger(), nullable=True))
    op.create_table(
        "resource_log",
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("type_id", "id", name=op.f("pk_resource_log")),
    )
