"""Tasks for staff, translations of codes, raised labels, watched sources.

Revision: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    _tasks()
    op.create_table(
        "code_translation",
        sa.Column("id", Key, autoincrement=False, nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("map", sa.String(length=64), nullable=False),
        sa.Column("active_key", sa.String(length=26), nullable=True),
        sa.Column("task_id", Key, nullable=True),
        sa.Column("decided_us", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.String(length=200), nullable=False),
        sa.Column("key_id", Key, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_code_translation")),
        sa.UniqueConstraint("active_key", name=op.f("uq_code_translation_active_key")),
    )
    op.create_index("ix_code_translation_source", "code_translation", ["source_id", "map"])
    op.create_table(
        "raised_label",
        sa.Column("record_id", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=100), nullable=False),
        sa.Column("mask", sa.BigInteger(), nullable=False),
        sa.Column("message_id", Key, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "target", name=op.f("pk_raised_label")),
    )
    op.create_index("ix_raised_label_target", "raised_label", ["target"])
    op.create_table(
        "source_watch",
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("late_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source_id", name=op.f("pk_source_watch")),
    )


def _tasks() -> None:
    op.create_table(
        "staff_task",
        sa.Column("id", Key, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("question", sa.String(length=26), nullable=False),
        sa.Column("open_key", sa.String(length=26), nullable=True),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("record_id", sa.String(length=64), nullable=True),
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.Column("opened_us", sa.BigInteger(), nullable=False),
        sa.Column("closed_us", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("key_id", Key, nullable=False),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_task")),
        sa.UniqueConstraint("open_key", name=op.f("uq_staff_task_open_key")),
    )
    op.create_index("ix_staff_task_question", "staff_task", ["question", "id"])
    op.create_index("ix_staff_task_queue", "staff_task", ["state", "priority", "id"])
    op.create_index("ix_staff_task_source", "staff_task", ["source_id", "kind", "state"])
    op.create_table(
        "staff_task_message",
        sa.Column("task_id", Key, autoincrement=False, nullable=False),
        sa.Column("message_id", Key, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("task_id", "message_id", name=op.f("pk_staff_task_message")),
    )
    op.create_table(
        "staff_task_event",
        sa.Column("id", Key, autoincrement=False, nullable=False),
        sa.Column("task_id", Key, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("key_id", Key, nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_task_event")),
    )
    op.create_index("ix_staff_task_event_task_id", "staff_task_event", ["task_id"])
