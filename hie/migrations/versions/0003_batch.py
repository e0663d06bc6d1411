"""Batches of messages.

Revision: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "inbound_batch",
        sa.Column(
            "pk",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("wire", sa.String(length=10), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("settled_us", sa.BigInteger(), nullable=True),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_inbound_batch")),
    )
    with op.batch_alter_table("inbound_batch", schema=None) as batch_op:
        batch_op.create_index("ix_inbound_batch_source", ["source_id", "pk"], unique=False)
    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.add_column(sa.Column("batch_pk", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("batch_number", sa.Integer(), nullable=True))
        batch_op.create_index(
            "ix_inbound_message_batch", ["batch_pk", "batch_number"], unique=False
        )
