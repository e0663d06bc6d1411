"""Identity changes to be told.

Revision: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "notice",
        sa.Column("pk", Key, autoincrement=False, nullable=False),
        sa.Column("event_id", Key, nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("channel", sa.String(length=12), nullable=False),
        sa.Column("record_id", sa.String(length=32), nullable=False),
        sa.Column("happened_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("settled_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_notice")),
        sa.UniqueConstraint(
            "event_id",
            "source_id",
            "channel",
            "record_id",
            name=op.f("uq_notice_event_id_source_id_channel_record_id"),
        ),
    )
    op.create_index("ix_notice_queue", "notice", ["state", "source_id", "channel", "pk"])
    op.create_table(
        "notice_told",
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("channel", sa.String(length=12), nullable=False),
        sa.Column("record_id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("maybe_person_id", sa.String(length=32), nullable=True),
        sa.Column("maybe", sa.String(length=32), nullable=True),
        sa.Column("told_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source_id", "channel", "record_id", name=op.f("pk_notice_told")),
    )
    op.create_index("ix_notice_told_record", "notice_told", ["record_id"])
