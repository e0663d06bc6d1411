"""Linkage models, and which of them decides.

Revision: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    with op.batch_alter_table("model") as batch:
        batch.alter_column("active_from_us", existing_type=Key, nullable=True)
    op.create_table(
        "model_choice",
        sa.Column("id", Key, autoincrement=False, nullable=False),
        sa.Column("at_us", Key, nullable=False),
        sa.Column("model_id", Key, nullable=True),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_choice")),
    )
