"""Dates in the order of a search for the latest, and rules by whom they name.

Revision: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    latest = sa.text("hi_us DESC")
    op.create_index("ix_sp_date_latest", "sp_date", ["param_id", "type_id", latest, "resource_pk"])
    # What is about whoever asks says so by a value, which an index finds beside the others.
    op.execute("UPDATE consent_rule SET grantee = '' WHERE grantee IS NULL")
    with op.batch_alter_table("consent_rule") as rules:
        rules.alter_column("grantee", existing_type=sa.String(120), nullable=False)
        rules.create_index("ix_consent_rule_asked", ["person_id", "effect", "grantee"])
