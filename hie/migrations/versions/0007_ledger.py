"""What the identity ledger keeps besides links.

Revision: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

from hie.db import Key

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_index(op.f("ix_access_token_patient"), "access_token", ["patient"])
    op.create_table(
        "identity_side",
        sa.Column("decision_id", Key, autoincrement=False, nullable=False),
        sa.Column("record_id", sa.String(length=32), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", "record_id", name=op.f("pk_identity_side")),
    )
    op.create_index(op.f("ix_identity_side_record_id"), "identity_side", ["record_id"])
    op.create_table(
        "disclosure_correction",
        sa.Column("id", Key, autoincrement=False, nullable=False),
        sa.Column("decision_id", Key, nullable=False),
        sa.Column("audit_pk", Key, nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("organization", sa.String(length=200), nullable=True),
        sa.Column("notified_us", sa.BigInteger(), nullable=True),
        sa.Column("notified_by", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disclosure_correction")),
    )
    op.create_index(
        "uq_disclosure_correction_event",
        "disclosure_correction",
        ["decision_id", "audit_pk"],
        unique=True,
    )
    op.create_table(
        "redirected_message",
        sa.Column("message_id", Key, autoincrement=False, nullable=False),
        sa.Column("record_id", sa.String(length=32), nullable=False),
        sa.Column("survivor_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "record_id", name=op.f("pk_redirected_message")),
    )
    op.create_index(op.f("ix_redirected_message_record_id"), "redirected_message", ["record_id"])
    op.add_column("identity_link", sa.Column("restores", Key, nullable=True))
    op.add_column("consent_rule", sa.Column("record_id", sa.String(length=32), nullable=True))
    with op.batch_alter_table("identity_decision") as decision:
        decision.add_column(sa.Column("about", Key, nullable=True))
        decision.create_index(op.f("ix_identity_decision_about"), ["about"])
    op.create_index(
        op.f("ix_identifier_xref_authority"), "identifier_xref", ["authority_hash", "id"]
    )
