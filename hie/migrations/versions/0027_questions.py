"""Questions that describe somebody are sealed under keys of their own; what rules are compiled by.

Revision: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward; what was asked before stays sealed as it was."""
    op.add_column("audit_event", sa.Column("question_key", sa.BigInteger))
    op.add_column("audit_event", sa.Column("question", sa.LargeBinary))
    op.create_index(
        "ix_audit_event_question",
        "audit_event",
        ["pk"],
        sqlite_where=sa.text("question_key IS NOT NULL"),
        postgresql_where=sa.text("question_key IS NOT NULL"),
    )
    op.create_table(
        "consent_basis",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("doing", sa.String(64), nullable=False),
        sa.Column("place", sa.String(64), nullable=False),
    )
