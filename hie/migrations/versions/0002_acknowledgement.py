"""Deferred acknowledgements and sequence numbers.

Revision: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("application", sa.String(length=2), nullable=False, server_default="")
        )
    op.create_table(
        "link_sequence",
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=True),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", name=op.f("pk_link_sequence")),
    )
    op.create_table(
        "outbound_acknowledgement",
        sa.Column("pk", Key, autoincrement=False, nullable=False),
        sa.Column("message_pk", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("code", sa.String(length=2), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("settled_us", sa.BigInteger(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_outbound_acknowledgement")),
        sa.UniqueConstraint("message_pk", name=op.f("uq_outbound_acknowledgement_message_pk")),
    )
    op.create_index(
        "ix_outbound_acknowledgement_queue",
        "outbound_acknowledgement",
        ["state", "source_id", "pk"],
    )
