"""What became of the resources of a type: versions found by type and time.

Revision: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("resource_version", sa.Column("type_id", sa.SmallInteger(), nullable=True))
    op.execute(
        "UPDATE resource_version SET type_id = "
        "(SELECT r.type_id FROM resource r WHERE r.pk = resource_version.resource_pk)"
    )
    op.create_index(
        "ix_resource_version_type",
        "resource_version",
        ["type_id", "last_updated_us", "resource_pk", "version"],
    )
