"""What auditors search the trail by: subtype, and a keyed hash of who sat at the screen.

Revision: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("audit_event", sa.Column("subtype", sa.String(40), nullable=True))
    op.add_column("audit_event", sa.Column("agent", sa.BigInteger(), nullable=True))
    op.create_index("ix_audit_event_organization", "audit_event", ["organization", "pk"])
    op.create_index(
        "ix_audit_event_agent",
        "audit_event",
        ["agent", "pk"],
        sqlite_where=sa.text("agent IS NOT NULL"),
        postgresql_where=sa.text("agent IS NOT NULL"),
    )
