"""Bulk exports: jobs, their parts, and how far they are.

Revision: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "export_job",
        sa.Column("pk", Key, autoincrement=False, nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=26), nullable=False),
        sa.Column("token_id", sa.String(length=16), nullable=False),
        sa.Column("organization", sa.String(length=200), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("as_of_us", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("in_batch", sa.Integer(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("listed", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("lease_by", sa.String(length=32), nullable=False),
        sa.Column("lease_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_export_job")),
        sa.UniqueConstraint("job_id", name=op.f("uq_export_job_job_id")),
    )
    op.create_index(op.f("ix_export_job_owner"), "export_job", ["owner"])
    op.create_index("ix_export_job_state", "export_job", ["state", "pk"])
    op.create_table(
        "export_holding",
        sa.Column("job_pk", Key, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("told_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("job_pk", "seq", name=op.f("pk_export_holding")),
    )
    op.create_index("ix_export_holding_batch", "export_holding", ["job_pk", "batch", "seq"])
    op.create_index("ix_export_holding_person", "export_holding", ["job_pk", "person_id"])
    op.create_table(
        "export_other",
        sa.Column("job_pk", Key, nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("resource_pk", Key, nullable=False),
        sa.PrimaryKeyConstraint("job_pk", "person_id", "resource_pk", name=op.f("pk_export_other")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "export_part",
        sa.Column("job_pk", Key, nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.Column("listed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_pk", "batch", "type_id", name=op.f("pk_export_part")),
        sqlite_with_rowid=False,
    )
