"""Subscriptions, panels and what is still to be told.

Revision: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "subscription",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=120), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("topic", sa.String(length=300), nullable=False),
        sa.Column("channel", sa.String(length=12), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("terms", sa.LargeBinary(), nullable=False),
        sa.Column("token_id", sa.String(length=20), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=True),
        sa.Column("user_name", sa.String(length=200), nullable=True),
        sa.Column("patient", sa.String(length=32), nullable=True),
        sa.Column("purpose", sa.String(length=20), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("failing_us", sa.BigInteger(), nullable=True),
        sa.Column("heartbeat_us", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription")),
    )
    op.create_index("ix_subscription_owner", "subscription", ["owner"])
    op.create_index("ix_subscription_topic", "subscription", ["topic", "status"])
    op.create_table(
        "resource_change",
        sa.Column("pk", Key, autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("happened_us", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.Text(), nullable=False),
        sa.Column("was", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_resource_change")),
    )
    op.create_table(
        "subscription_event",
        sa.Column("pk", Key, autoincrement=False, nullable=False),
        sa.Column("subscription_id", sa.String(length=64), nullable=False),
        sa.Column("change_pk", Key, nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("focus_id", sa.String(length=64), nullable=False),
        sa.Column("happened_us", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.Text(), nullable=False),
        sa.Column("was", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("settled_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_subscription_event")),
        sa.UniqueConstraint(
            "subscription_id",
            "change_pk",
            name=op.f("uq_subscription_event_subscription_id_change_pk"),
        ),
    )
    op.create_index(
        "ix_subscription_event_queue", "subscription_event", ["subscription_id", "state", "pk"]
    )
    op.create_index(
        "ix_subscription_event_number", "subscription_event", ["subscription_id", "number"]
    )
    op.create_table(
        "subscription_binding",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("owner", sa.String(length=120), nullable=False),
        sa.Column("subscriptions", sa.Text(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("token_id", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_subscription_binding")),
    )
    op.create_table(
        "panel_load",
        sa.Column("pk", Key, autoincrement=False, nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.LargeBinary(), nullable=False),
        sa.Column("undone_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_panel_load")),
    )
    op.create_index("ix_panel_load_group", "panel_load", ["group_id", "pk"])
