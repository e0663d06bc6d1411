"""Moves of accounts and visits.

Revision: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "source_move",
        sa.Column("decision_id", Key, autoincrement=False, nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("survivor", sa.String(length=64), nullable=True),
        sa.Column("retired", sa.String(length=64), nullable=True),
        sa.Column("undone_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_source_move")),
    )
    op.create_table(
        "source_move_item",
        sa.Column("decision_id", Key, nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("before_version", sa.Integer(), nullable=False),
        sa.Column("after_version", sa.Integer(), nullable=False),
        sa.Column("from_record", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", "type_id", "id", name=op.f("pk_source_move_item")),
    )
    op.create_table(
        "resource_redirect",
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("to_id", sa.String(length=64), nullable=False),
        sa.Column("decision_id", Key, nullable=False),
        sa.PrimaryKeyConstraint("type_id", "id", name=op.f("pk_resource_redirect")),
    )
    op.create_index(op.f("ix_resource_redirect_decision_id"), "resource_redirect", ["decision_id"])
