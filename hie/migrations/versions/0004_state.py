"""Event times, partitions and replays.

Revision: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

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
    op.add_column("inbound_message", sa.Column("partitions", sa.Text(), nullable=True))
    _replays()


def _replays() -> None:
    op.create_table(
        "replay",
        sa.Column("pk", Key, autoincrement=False, nullable=False),
        sa.Column("message_pk", Key, nullable=False),
        sa.Column("run", Key, nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("from_state", sa.String(length=12), nullable=False),
        sa.Column("from_stage", sa.String(length=20), nullable=False),
        sa.Column("from_reason", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=False),
        sa.Column("settled_us", sa.BigInteger(), nullable=True),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_replay")),
    )
    op.create_index("ix_replay_message", "replay", ["message_pk", "pk"])
    op.create_index("ix_replay_run", "replay", ["run", "outcome"])
