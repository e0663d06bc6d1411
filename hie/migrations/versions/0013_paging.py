"""What pages of a search need: an index by type and time, for clients that ask what is new.

Revision: 0013
Revises: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_index("ix_resource_updated", "resource", ["type_id", "last_updated_us", "pk"])
