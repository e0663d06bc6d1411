"""In which roles the bearer of a token acts.

Revision: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("access_token", sa.Column("roles", sa.String(700)))
    op.add_column("subscription", sa.Column("roles", sa.String(700)))
