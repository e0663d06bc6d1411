"""Emergency accesses and their review.

Revision: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("access_token", sa.Column("amr", sa.String(200)))
    _accesses()
    _events()
    _suspensions()


def _accesses() -> None:
    table = "emergency_access"
    op.create_table(
        table,
        sa.Column("id", Key, autoincrement=False, nullable=False),
        sa.Column("token_id", sa.String(20), nullable=False),
        sa.Column("organization", sa.String(200), nullable=False),
        sa.Column("user_name", sa.String(200), nullable=False),
        sa.Column("person_id", sa.String(64), nullable=False),
        sa.Column("asked_us", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=False),
        sa.Column("factors", sa.String(200), nullable=False),
        sa.Column("opened_us", sa.BigInteger()),
        sa.Column("expires_us", sa.BigInteger()),
        sa.Column("ended_us", sa.BigInteger()),
        sa.Column("ended_by", sa.String(20), nullable=False),
        sa.Column("notice_us", sa.BigInteger()),
        sa.Column("task_id", sa.BigInteger()),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("reviewed_us", sa.BigInteger()),
        sa.Column("reviewed_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency_access")),
    )
    op.create_index(op.f("ix_emergency_access_person_id"), table, ["person_id"])
    op.create_index("ix_emergency_access_token", table, ["token_id", "person_id"])
    op.create_index("ix_emergency_access_queue", table, ["verdict", "id"])


def _events() -> None:
    table = "emergency_event"
    op.create_table(
        table,
        sa.Column("id", Key, autoincrement=False, nullable=False),
        sa.Column("emergency_id", Key, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency_event")),
    )
    op.create_index(op.f("ix_emergency_event_emergency_id"), table, ["emergency_id"])


def _suspensions() -> None:
    table = "emergency_suspension"
    op.create_table(
        table,
        sa.Column("id", Key, autoincrement=False, nullable=False),
        sa.Column("organization", sa.String(200), nullable=False),
        sa.Column("user_name", sa.String(200), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("by_name", sa.String(200), nullable=False),
        sa.Column("emergency_id", sa.BigInteger(), nullable=False),
        sa.Column("lifted_us", sa.BigInteger()),
        sa.Column("lifted_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency_suspension")),
    )
    op.create_index("ix_emergency_suspension_user", table, ["organization", "user_name"])
