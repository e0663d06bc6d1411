"""Consents managed: who did what about them, and the receipts they are owed.

Revision: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "consent_act",
        sa.Column("id", _KEY, autoincrement=False, nullable=False),
        sa.Column("consent_id", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("act", sa.String(16), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(16), nullable=True),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("record_id", sa.String(64), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=True),
        sa.Column("key_id", _KEY, nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_consent_act_consent", "consent_act", ["consent_id", "id"])
    op.create_table(
        "consent_receipt",
        sa.Column("consent_id", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("asked_us", sa.BigInteger(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=True),
        sa.Column("document_id", sa.String(64), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("consent_id", "version"),
    )
    op.create_index("ix_consent_receipt_owed", "consent_receipt", ["made_us", "asked_us"])
    op.create_index("ix_consent_rule_ends", "consent_rule", ["valid_to_us", "consent_id"])
