"""Who may see in whose place.

Revision: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    _relationships()
    op.create_table(
        "proxy_event",
        sa.Column("id", Key, autoincrement=False, nullable=False),
        sa.Column("relationship_id", sa.String(32), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("key_id", Key, nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proxy_event")),
    )
    op.create_index(op.f("ix_proxy_event_relationship_id"), "proxy_event", ["relationship_id"])


def _relationships() -> None:
    table = "proxy_relationship"
    op.create_table(
        table,
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("person_id", sa.String(32), nullable=False),
        sa.Column("proxy_id", sa.String(32)),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("scope", sa.String(24), nullable=False),
        sa.Column("custody", sa.String(8), nullable=False),
        sa.Column("has_document", sa.Boolean(), nullable=False),
        sa.Column("named_mask", sa.BigInteger(), nullable=False),
        sa.Column("recorded_us", sa.BigInteger(), nullable=False),
        sa.Column("vouched_us", sa.BigInteger(), nullable=False),
        sa.Column("from_us", sa.BigInteger()),
        sa.Column("to_us", sa.BigInteger()),
        sa.Column("accepted_us", sa.BigInteger()),
        sa.Column("stopped_us", sa.BigInteger()),
        sa.Column("ended_us", sa.BigInteger()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("told", sa.String(16), nullable=False),
        sa.Column("key_id", Key, nullable=False),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.Column("document", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proxy_relationship")),
    )
    for column in ("person_id", "proxy_id"):
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
    op.create_index("ix_proxy_relationship_open", table, ["ended_us", "id"])
