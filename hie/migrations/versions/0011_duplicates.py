"""Potential duplicates of persons, how far work through the index is, and what it is found by.

Revision: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_OPEN = sa.text("valid_to_us IS NULL")


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("source_record", sa.Column("held_hash", sa.String(length=26), nullable=True))
    op.add_column("source_record", sa.Column("keys_as", sa.String(length=26), nullable=True))
    op.create_index(
        "ix_identity_link_current",
        "identity_link",
        ["record_id", "person_id", "valid_to_us"],
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_index(
        "ix_identity_decision_rate",
        "identity_decision",
        ["at_us", "kind", "reason", "on_behalf_of"],
    )
    op.create_table(
        "duplicate_pair",
        sa.Column("person_a", sa.String(length=32), nullable=False),
        sa.Column("person_b", sa.String(length=32), nullable=False),
        sa.Column("bits", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("found_us", Key, nullable=False),
        sa.PrimaryKeyConstraint("person_a", "person_b", name=op.f("pk_duplicate_pair")),
    )
    op.create_index("ix_duplicate_pair_bits", "duplicate_pair", ["bits"])
    op.create_table(
        "index_job",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("mark", sa.String(length=64), nullable=False),
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("began_us", Key, nullable=False),
        sa.Column("touched_us", Key, nullable=False),
        sa.Column("ended_us", Key, nullable=True),
        sa.Column("seen", Key, nullable=False),
        sa.Column("done", Key, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_index_job")),
    )
