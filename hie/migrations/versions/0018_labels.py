"""Which labels a re-label still owes, and which of a version's labels its content did not bring.

Revision: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    # Of a version that is older than the column nobody knows: its labels stay.
    op.add_column("resource_version", sa.Column("raised_mask", sa.BigInteger(), nullable=True))
    op.create_table(
        "label_lists",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("lists", sa.LargeBinary(), nullable=False),
        sa.Column("stale_since_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_lists")),
    )
    op.create_table(
        "label_job",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("lists", sa.LargeBinary(), nullable=False),
        sa.Column("is_ahead", sa.Boolean(), nullable=False),
        sa.Column("stage", sa.SmallInteger(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("done_pk", "last_pk", "since_us", "current_mask", "older_mask")
        ),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("done", "total", "raised", "lowered", "started_us")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_job")),
    )
    op.create_table(
        "label_taken_back",
        sa.Column("id", Key, nullable=False),
        sa.Column("record_id", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=100), nullable=False),
        sa.Column("mask", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("undone_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_taken_back")),
    )
