"""What the staff interface keeps.

Revision: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "review_event",
        sa.Column("id", Key, autoincrement=False, nullable=False),
        sa.Column("task_id", Key, nullable=False),
        sa.Column("at_us", Key, nullable=False),
        sa.Column("action", sa.String(length=8), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("key_id", Key, nullable=True),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_event")),
    )
    op.create_index("ix_review_event_task_id", "review_event", ["task_id"])
    op.create_table(
        "identity_day",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("outcome", sa.String(length=8), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "source_id", "outcome", name=op.f("pk_identity_day")),
    )
    op.create_table(
        "staff_request",
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_staff_request")),
    )
    op.create_index("ix_staff_request_at_us", "staff_request", ["at_us"])
    by_steward = sa.text("actor LIKE 'steward:%'")
    op.create_index(
        "ix_identity_decision_steward",
        "identity_decision",
        ["id"],
        sqlite_where=by_steward,
        postgresql_where=by_steward,
    )
