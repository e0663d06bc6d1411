"""Rotation of keys and lawful erasure: whose keys were destroyed.

Revision: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "erased_owner",
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("destroyed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "owner", name=op.f("pk_erased_owner")),
    )
