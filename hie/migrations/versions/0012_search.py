"""What resources are found by: the search index of every type.

Composite values of every shape, texts of codes, places, and by which definitions the rows
that stand were written.

Revision: 0012
Revises: 0011
"""

from decimal import Decimal

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    # Nothing was ever written to it.
    op.drop_table("sp_composite")
    op.create_table(
        "sp_composite",
        sa.Column("resource_pk", Key, nullable=False),
        sa.Column("param_id", sa.SmallInteger(), nullable=False),
        sa.Column("group_no", sa.SmallInteger(), nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.Column("system", sa.String(length=200), nullable=False),
        sa.Column("code", sa.String(length=200), nullable=False),
        sa.Column("value_system", sa.String(length=200), nullable=False),
        sa.Column("value_code", sa.String(length=300), nullable=False),
        *(sa.Column(name, _number(), nullable=True) for name in ("lo", "hi")),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in ("lo_us", "hi_us")),
        *(sa.Column(name, _number(), nullable=True) for name in ("lo2", "hi2")),
        sa.PrimaryKeyConstraint(
            "resource_pk", "param_id", "group_no", name=op.f("pk_sp_composite")
        ),
    )
    columns = ["param_id", "code", "type_id", "value_code", "resource_pk"]
    op.create_index("ix_sp_composite_value", "sp_composite", columns)
    op.create_table(
        "sp_text",
        sa.Column("key", sa.String(length=26), nullable=False),
        sa.Column("text", sa.String(length=26), nullable=False),
    )
    op.create_index("ix_sp_text_key", "sp_text", ["key", "text"])
    op.create_table(
        "sp_place",
        sa.Column("resource_pk", Key, nullable=False),
        sa.Column("param_id", sa.SmallInteger(), nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("x", "y", "z")),
        sa.PrimaryKeyConstraint("resource_pk", "param_id", name=op.f("pk_sp_place")),
    )
    op.create_index("ix_sp_place_value", "sp_place", ["param_id", "type_id", "z"])
    _progress()


def _progress() -> None:
    op.create_table(
        "search_table",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("definitions", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_table")),
    )
    op.create_table(
        "search_rebuild",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("done_pk", "last_pk", "done", "total", "started_us")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_rebuild")),
    )


def _number() -> sa.Numeric[Decimal]:
    return sa.Numeric(precision=30, scale=10)
