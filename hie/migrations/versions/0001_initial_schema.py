"""Initial schema.

Revision: 0001
Revises: nothing
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "access_token",
        sa.Column(
            "pk",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.Column("organization", sa.String(length=200), nullable=True),
        sa.Column("user_name", sa.String(length=200), nullable=True),
        sa.Column("patient", sa.String(length=64), nullable=True),
        sa.Column("purpose", sa.String(length=20), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("is_steward", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_access_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_access_token_token_hash")),
    )
    with op.batch_alter_table("access_token", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_access_token_expires_us"), ["expires_us"], unique=False
        )

    op.create_table(
        "audit_event",
        sa.Column(
            "pk",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("recorded_us", sa.BigInteger(), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=True),
        sa.Column("organization", sa.String(length=200), nullable=True),
        sa.Column("action", sa.String(length=1), nullable=False),
        sa.Column("outcome", sa.String(length=2), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("row_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("chain_seq", sa.BigInteger(), nullable=True),
        sa.Column("chain_hash", sa.LargeBinary(length=32), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_audit_event")),
    )
    with op.batch_alter_table("audit_event", schema=None) as batch_op:
        batch_op.create_index("ix_audit_event_person", ["person_id", "recorded_us"], unique=False)
        batch_op.create_index("ix_audit_event_recorded", ["recorded_us"], unique=False)
        batch_op.create_index(
            "ix_audit_event_unchained",
            ["pk"],
            unique=False,
            sqlite_where=sa.text("chain_seq IS NULL"),
            postgresql_where=sa.text("chain_seq IS NULL"),
        )
        batch_op.create_index("uq_audit_event_chain_seq", ["chain_seq"], unique=True)

    op.create_table(
        "audit_head",
        sa.Column(
            "tree_size",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("chain_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=False),
        sa.PrimaryKeyConstraint("tree_size", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "audit_lease",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("tree_size", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("chain_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("peaks", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_lease")),
    )
    op.create_table(
        "block_key",
        sa.Column(
            "key",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("record_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("key", "record_id", name=op.f("pk_block_key")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("block_key", schema=None) as batch_op:
        batch_op.create_index("ix_block_key_record", ["record_id"], unique=False)

    op.create_table(
        "block_stat",
        sa.Column(
            "key",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("spec", sa.String(length=32), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("first_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_block_stat")),
    )
    op.create_table(
        "compartment",
        sa.Column(
            "resource_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("ordinal", sa.SmallInteger(), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("source_record_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("resource_pk", "ordinal", name=op.f("pk_compartment")),
    )
    with op.batch_alter_table("compartment", schema=None) as batch_op:
        batch_op.create_index("ix_compartment_person", ["person_id", "resource_pk"], unique=False)
        batch_op.create_index("ix_compartment_record", ["source_record_id"], unique=False)

    op.create_table(
        "consent_code",
        sa.Column("code_set", sa.BigInteger(), nullable=False),
        sa.Column("system", sa.String(length=200), nullable=False),
        sa.Column("code", sa.String(length=200), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("code_set", "system", "code", name=op.f("pk_consent_code")),
    )
    with op.batch_alter_table("consent_code", schema=None) as batch_op:
        batch_op.create_index("ix_consent_code_person", ["person_id"], unique=False)

    op.create_table(
        "consent_rule",
        sa.Column(
            "pk",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("consent_id", sa.String(length=64), nullable=False),
        sa.Column("consent_version", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=200), nullable=False),
        sa.Column("effect", sa.String(length=6), nullable=False),
        sa.Column("note", sa.String(length=40), nullable=True),
        sa.Column("grantee", sa.String(length=120), nullable=True),
        sa.Column("purpose", sa.String(length=200), nullable=True),
        sa.Column("action", sa.String(length=20), nullable=True),
        sa.Column("type_id", sa.SmallInteger(), nullable=True),
        sa.Column("source_id", sa.String(length=200), nullable=True),
        sa.Column("instance", sa.String(length=64), nullable=True),
        sa.Column("author", sa.String(length=120), nullable=True),
        sa.Column("encounter", sa.String(length=120), nullable=True),
        sa.Column("label_mask", sa.BigInteger(), nullable=True),
        sa.Column("date_lo_us", sa.BigInteger(), nullable=True),
        sa.Column("date_hi_us", sa.BigInteger(), nullable=True),
        sa.Column("code_set", sa.BigInteger(), nullable=True),
        sa.Column("valid_from_us", sa.BigInteger(), nullable=True),
        sa.Column("valid_to_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_consent_rule")),
    )
    with op.batch_alter_table("consent_rule", schema=None) as batch_op:
        batch_op.create_index(
            "ix_consent_rule_person", ["person_id", "effect", "consent_id", "path"], unique=False
        )

    op.create_table(
        "data_key",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_key")),
        sa.UniqueConstraint("kind", "owner", name=op.f("uq_data_key_kind_owner")),
    )
    op.create_table(
        "identifier_xref",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("record_id", sa.String(length=32), nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("authority_hash", sa.String(length=26), nullable=False),
        sa.Column("value_hash", sa.String(length=26), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column(
            "valid_from_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "valid_to_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("replaced_by", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identifier_xref")),
    )
    with op.batch_alter_table("identifier_xref", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_identifier_xref_record_id"), ["record_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_identifier_xref_value_hash"), ["value_hash"], unique=False
        )

    op.create_table(
        "identity_decision",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("at_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("on_behalf_of", sa.String(length=255), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("model_version", sa.String(length=64), nullable=True),
        sa.Column("key_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("explanation", sa.LargeBinary(), nullable=True),
        sa.Column(
            "inverse_of", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_decision")),
    )
    with op.batch_alter_table("identity_decision", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_identity_decision_batch_id"), ["batch_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_identity_decision_inverse_of"), ["inverse_of"], unique=False
        )

    op.create_table(
        "identity_event",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("at_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column(
            "decision_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("record_ids", sa.Text(), nullable=False),
        sa.Column("person_ids", sa.Text(), nullable=False),
        sa.Column(
            "published_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_event")),
    )
    with op.batch_alter_table("identity_event", schema=None) as batch_op:
        batch_op.create_index("ix_identity_event_unpublished", ["published_us", "id"], unique=False)

    op.create_table(
        "identity_link",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("record_id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column(
            "valid_from_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "valid_to_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column(
            "decision_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("closed_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("bits", sa.Float(), nullable=True),
        sa.Column("grade", sa.String(length=16), nullable=True),
        sa.Column("model_version", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_link")),
    )
    with op.batch_alter_table("identity_link", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_identity_link_closed_by"), ["closed_by"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_identity_link_decision_id"), ["decision_id"], unique=False
        )
        batch_op.create_index("ix_identity_link_person", ["person_id", "valid_to_us"], unique=False)
        batch_op.create_index(
            "ix_identity_link_record", ["record_id", "valid_from_us"], unique=False
        )
        batch_op.create_index(
            "uq_identity_link_open_record",
            ["record_id"],
            unique=True,
            sqlite_where=sa.text("valid_to_us IS NULL"),
            postgresql_where=sa.text("valid_to_us IS NULL"),
        )

    op.create_table(
        "inbound_message",
        sa.Column(
            "pk",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("wire", sa.String(length=10), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("trigger", sa.String(length=20), nullable=False),
        sa.Column("partition", sa.String(length=32), nullable=False),
        sa.Column("repeat_key", sa.String(length=26), nullable=True),
        sa.Column("control_key", sa.String(length=26), nullable=False),
        sa.Column("answer_code", sa.String(length=4), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("settled_us", sa.BigInteger(), nullable=True),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("wrapped_by", sa.BigInteger(), nullable=True),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("control_id", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_inbound_message")),
        sa.UniqueConstraint("repeat_key", name=op.f("uq_inbound_message_repeat_key")),
    )
    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.create_index("ix_inbound_message_control", ["control_key"], unique=False)
        batch_op.create_index("ix_inbound_message_queue", ["state", "pk"], unique=False)
        batch_op.create_index("ix_inbound_message_source", ["source_id", "pk"], unique=False)

    op.create_table(
        "model",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("trained_on", sa.Text(), nullable=True),
        sa.Column("metrics", sa.Text(), nullable=True),
        sa.Column(
            "active_from_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "active_to_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint("version", "content_hash", name=op.f("uq_model_version_content_hash")),
    )
    op.create_table(
        "negative_assertion",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("record_a", sa.String(length=32), nullable=False),
        sa.Column("record_b", sa.String(length=32), nullable=False),
        sa.Column(
            "valid_from_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "valid_to_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column(
            "decision_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("closed_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_negative_assertion")),
    )
    with op.batch_alter_table("negative_assertion", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_negative_assertion_closed_by"), ["closed_by"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_negative_assertion_decision_id"), ["decision_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_negative_assertion_record_b"), ["record_b"], unique=False
        )
        batch_op.create_index(
            "uq_negative_assertion_open_pair",
            ["record_a", "record_b"],
            unique=True,
            sqlite_where=sa.text("valid_to_us IS NULL"),
            postgresql_where=sa.text("valid_to_us IS NULL"),
        )

    op.create_table(
        "person",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column(
            "created_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("redirect_to", sa.String(length=32), nullable=True),
        sa.Column("ended_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
    )
    with op.batch_alter_table("person", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_person_ended_by"), ["ended_by"], unique=False)
        batch_op.create_index(batch_op.f("ix_person_redirect_to"), ["redirect_to"], unique=False)

    op.create_table(
        "resource",
        sa.Column(
            "pk",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body_version", sa.Integer(), nullable=False),
        sa.Column("last_updated_us", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=True),
        sa.Column("source_record_id", sa.String(length=64), nullable=True),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("label_mask", sa.BigInteger(), nullable=False),
        sa.Column("clinical_lo_us", sa.BigInteger(), nullable=True),
        sa.Column("clinical_hi_us", sa.BigInteger(), nullable=True),
        sa.Column("content_hash", sa.LargeBinary(length=16), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_resource")),
        sa.UniqueConstraint("type_id", "id", name=op.f("uq_resource_type_id_id")),
    )
    with op.batch_alter_table("resource", schema=None) as batch_op:
        batch_op.create_index("ix_resource_person", ["person_id", "type_id", "pk"], unique=False)
        batch_op.create_index("ix_resource_record", ["source_record_id", "type_id"], unique=False)
        batch_op.create_index("ix_resource_source", ["source_id", "type_id", "pk"], unique=False)
        batch_op.create_index("ix_resource_type", ["type_id", "pk"], unique=False)

    op.create_table(
        "resource_version",
        sa.Column(
            "resource_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body_version", sa.Integer(), nullable=False),
        sa.Column("last_updated_us", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("label_mask", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("resource_pk", "version", name=op.f("pk_resource_version")),
    )
    op.create_table(
        "review_candidate",
        sa.Column(
            "task_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "person_id", name=op.f("pk_review_candidate")),
    )
    with op.batch_alter_table("review_candidate", schema=None) as batch_op:
        batch_op.create_index("ix_review_candidate_person", ["person_id"], unique=False)

    op.create_table(
        "review_task",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("record_id", sa.String(length=32), nullable=True),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("question", sa.String(length=96), nullable=False),
        sa.Column("open_key", sa.String(length=96), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("assignee", sa.String(length=255), nullable=True),
        sa.Column(
            "opened_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("due_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("closed_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("opened_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("closed_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("key_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_task")),
        sa.UniqueConstraint("open_key", name=op.f("uq_review_task_open_key")),
    )
    with op.batch_alter_table("review_task", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_review_task_closed_by"), ["closed_by"], unique=False)
        batch_op.create_index(batch_op.f("ix_review_task_person_id"), ["person_id"], unique=False)
        batch_op.create_index(
            "ix_review_task_queue", ["state", "priority", "opened_us"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_review_task_record_id"), ["record_id"], unique=False)

    op.create_table(
        "source_alias",
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("alias", sa.String(length=64), nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "alias", name=op.f("pk_source_alias")),
    )
    op.create_table(
        "source_record",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("source_id", sa.String(length=200), nullable=False),
        sa.Column("authority_hash", sa.String(length=26), nullable=True),
        sa.Column("local_hash", sa.String(length=26), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "received_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("key_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("norm", sa.LargeBinary(), nullable=True),
        sa.Column("norm_version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=26), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("replaced_by", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_record")),
        sa.UniqueConstraint("local_hash", name=op.f("uq_source_record_local_hash")),
    )
    with op.batch_alter_table("source_record", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_source_record_replaced_by"), ["replaced_by"], unique=False
        )

    op.create_table(
        "sp_composite",
        sa.Column(
            "resource_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("param_id", sa.SmallInteger(), nullable=False),
        sa.Column("group_no", sa.SmallInteger(), nullable=False),
        sa.Column("system", sa.String(length=200), nullable=False),
        sa.Column("code", sa.String(length=200), nullable=False),
        sa.Column("value_system", sa.String(length=200), nullable=False),
        sa.Column("value_code", sa.String(length=200), nullable=False),
        sa.Column("lo", sa.Numeric(precision=30, scale=10), nullable=True),
        sa.Column("hi", sa.Numeric(precision=30, scale=10), nullable=True),
        sa.Column("lo_us", sa.BigInteger(), nullable=True),
        sa.Column("hi_us", sa.BigInteger(), nullable=True),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint(
            "resource_pk", "param_id", "group_no", name=op.f("pk_sp_composite")
        ),
    )
    with op.batch_alter_table("sp_composite", schema=None) as batch_op:
        batch_op.create_index(
            "ix_sp_composite_value",
            ["param_id", "type_id", "code", "value_code", "resource_pk"],
            unique=False,
        )

    op.create_table(
        "sp_date",
        sa.Column(
            "resource_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("param_id", sa.SmallInteger(), nullable=False),
        sa.Column("lo_us", sa.BigInteger(), nullable=False),
        sa.Column("hi_us", sa.BigInteger(), nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint(
            "resource_pk", "param_id", "lo_us", "hi_us", "person_id", name=op.f("pk_sp_date")
        ),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("sp_date", schema=None) as batch_op:
        batch_op.create_index(
            "ix_sp_date_person",
            ["person_id", "param_id", "type_id", "lo_us", "resource_pk"],
            unique=False,
        )
        batch_op.create_index(
            "ix_sp_date_value", ["param_id", "type_id", "lo_us", "resource_pk"], unique=False
        )

    op.create_table(
        "sp_number",
        sa.Column(
            "resource_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("param_id", sa.SmallInteger(), nullable=False),
        sa.Column("lo", sa.Numeric(precision=30, scale=10), nullable=False),
        sa.Column("hi", sa.Numeric(precision=30, scale=10), nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
    )
    with op.batch_alter_table("sp_number", schema=None) as batch_op:
        batch_op.create_index("ix_sp_number_resource", ["resource_pk"], unique=False)
        batch_op.create_index(
            "ix_sp_number_value", ["param_id", "type_id", "lo", "resource_pk"], unique=False
        )

    op.create_table(
        "sp_quantity",
        sa.Column(
            "resource_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("param_id", sa.SmallInteger(), nullable=False),
        sa.Column("system", sa.String(length=200), nullable=False),
        sa.Column("code", sa.String(length=100), nullable=False),
        sa.Column("lo", sa.Numeric(precision=30, scale=10), nullable=False),
        sa.Column("hi", sa.Numeric(precision=30, scale=10), nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
    )
    with op.batch_alter_table("sp_quantity", schema=None) as batch_op:
        batch_op.create_index("ix_sp_quantity_resource", ["resource_pk"], unique=False)
        batch_op.create_index(
            "ix_sp_quantity_value",
            ["param_id", "type_id", "code", "lo", "resource_pk"],
            unique=False,
        )

    op.create_table(
        "sp_ref",
        sa.Column(
            "resource_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("param_id", sa.SmallInteger(), nullable=False),
        sa.Column("target_type_id", sa.SmallInteger(), nullable=False),
        sa.Column("target_id", sa.String(length=64), nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "resource_pk", "param_id", "target_type_id", "target_id", name=op.f("pk_sp_ref")
        ),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("sp_ref", schema=None) as batch_op:
        batch_op.create_index(
            "ix_sp_ref_target",
            ["target_id", "target_type_id", "param_id", "resource_pk"],
            unique=False,
        )

    op.create_table(
        "sp_string",
        sa.Column(
            "resource_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("param_id", sa.SmallInteger(), nullable=False),
        sa.Column("value", sa.String(length=300), nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resource_pk", "param_id", "value", name=op.f("pk_sp_string")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("sp_string", schema=None) as batch_op:
        batch_op.create_index(
            "ix_sp_string_value", ["param_id", "type_id", "value", "resource_pk"], unique=False
        )

    op.create_table(
        "sp_token",
        sa.Column(
            "resource_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("param_id", sa.SmallInteger(), nullable=False),
        sa.Column("system", sa.String(length=200), nullable=False),
        sa.Column("code", sa.String(length=200), nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint(
            "resource_pk", "param_id", "system", "code", "person_id", name=op.f("pk_sp_token")
        ),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("sp_token", schema=None) as batch_op:
        batch_op.create_index(
            "ix_sp_token_person",
            ["person_id", "param_id", "type_id", "code", "resource_pk"],
            unique=False,
        )
        batch_op.create_index(
            "ix_sp_token_value", ["param_id", "code", "type_id", "resource_pk"], unique=False
        )

    op.create_table(
        "sp_uri",
        sa.Column(
            "resource_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("param_id", sa.SmallInteger(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("type_id", sa.SmallInteger(), nullable=False),
    )
    with op.batch_alter_table("sp_uri", schema=None) as batch_op:
        batch_op.create_index("ix_sp_uri_resource", ["resource_pk"], unique=False)
        batch_op.create_index(
            "ix_sp_uri_value", ["param_id", "type_id", "value", "resource_pk"], unique=False
        )

    op.create_table(
        "term_frequency",
        sa.Column("field", sa.String(length=16), nullable=False),
        sa.Column(
            "value_hash",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("share", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("field", "value_hash", name=op.f("pk_term_frequency")),
    )


def downgrade() -> None:
    """Take the schema back."""
    op.drop_table("term_frequency")
    with op.batch_alter_table("sp_uri", schema=None) as batch_op:
        batch_op.drop_index("ix_sp_uri_value")
        batch_op.drop_index("ix_sp_uri_resource")

    op.drop_table("sp_uri")
    with op.batch_alter_table("sp_token", schema=None) as batch_op:
        batch_op.drop_index("ix_sp_token_value")
        batch_op.drop_index("ix_sp_token_person")

    op.drop_table("sp_token")
    with op.batch_alter_table("sp_string", schema=None) as batch_op:
        batch_op.drop_index("ix_sp_string_value")

    op.drop_table("sp_string")
    with op.batch_alter_table("sp_ref", schema=None) as batch_op:
        batch_op.drop_index("ix_sp_ref_target")

    op.drop_table("sp_ref")
    with op.batch_alter_table("sp_quantity", schema=None) as batch_op:
        batch_op.drop_index("ix_sp_quantity_value")
        batch_op.drop_index("ix_sp_quantity_resource")

    op.drop_table("sp_quantity")
    with op.batch_alter_table("sp_number", schema=None) as batch_op:
        batch_op.drop_index("ix_sp_number_value")
        batch_op.drop_index("ix_sp_number_resource")

    op.drop_table("sp_number")
    with op.batch_alter_table("sp_date", schema=None) as batch_op:
        batch_op.drop_index("ix_sp_date_value")
        batch_op.drop_index("ix_sp_date_person")

    op.drop_table("sp_date")
    with op.batch_alter_table("sp_composite", schema=None) as batch_op:
        batch_op.drop_index("ix_sp_composite_value")

    op.drop_table("sp_composite")
    with op.batch_alter_table("source_record", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_source_record_replaced_by"))

    op.drop_table("source_record")
    op.drop_table("source_alias")
    with op.batch_alter_table("review_task", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_review_task_record_id"))
        batch_op.drop_index("ix_review_task_queue")
        batch_op.drop_index(batch_op.f("ix_review_task_person_id"))
        batch_op.drop_index(batch_op.f("ix_review_task_closed_by"))

    op.drop_table("review_task")
    with op.batch_alter_table("review_candidate", schema=None) as batch_op:
        batch_op.drop_index("ix_review_candidate_person")

    op.drop_table("review_candidate")
    op.drop_table("resource_version")
    with op.batch_alter_table("resource", schema=None) as batch_op:
        batch_op.drop_index("ix_resource_type")
        batch_op.drop_index("ix_resource_source")
        batch_op.drop_index("ix_resource_record")
        batch_op.drop_index("ix_resource_person")

    op.drop_table("resource")
    with op.batch_alter_table("person", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_person_redirect_to"))
        batch_op.drop_index(batch_op.f("ix_person_ended_by"))

    op.drop_table("person")
    with op.batch_alter_table("negative_assertion", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_negative_assertion_open_pair",
            sqlite_where=sa.text("valid_to_us IS NULL"),
            postgresql_where=sa.text("valid_to_us IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_negative_assertion_record_b"))
        batch_op.drop_index(batch_op.f("ix_negative_assertion_decision_id"))
        batch_op.drop_index(batch_op.f("ix_negative_assertion_closed_by"))

    op.drop_table("negative_assertion")
    op.drop_table("model")
    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.drop_index("ix_inbound_message_source")
        batch_op.drop_index("ix_inbound_message_queue")
        batch_op.drop_index("ix_inbound_message_control")

    op.drop_table("inbound_message")
    with op.batch_alter_table("identity_link", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_identity_link_open_record",
            sqlite_where=sa.text("valid_to_us IS NULL"),
            postgresql_where=sa.text("valid_to_us IS NULL"),
        )
        batch_op.drop_index("ix_identity_link_record")
        batch_op.drop_index("ix_identity_link_person")
        batch_op.drop_index(batch_op.f("ix_identity_link_decision_id"))
        batch_op.drop_index(batch_op.f("ix_identity_link_closed_by"))

    op.drop_table("identity_link")
    with op.batch_alter_table("identity_event", schema=None) as batch_op:
        batch_op.drop_index("ix_identity_event_unpublished")

    op.drop_table("identity_event")
    with op.batch_alter_table("identity_decision", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_identity_decision_inverse_of"))
        batch_op.drop_index(batch_op.f("ix_identity_decision_batch_id"))

    op.drop_table("identity_decision")
    with op.batch_alter_table("identifier_xref", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_identifier_xref_value_hash"))
        batch_op.drop_index(batch_op.f("ix_identifier_xref_record_id"))

    op.drop_table("identifier_xref")
    op.drop_table("data_key")
    with op.batch_alter_table("consent_rule", schema=None) as batch_op:
        batch_op.drop_index("ix_consent_rule_person")

    op.drop_table("consent_rule")
    with op.batch_alter_table("consent_code", schema=None) as batch_op:
        batch_op.drop_index("ix_consent_code_person")

    op.drop_table("consent_code")
    with op.batch_alter_table("compartment", schema=None) as batch_op:
        batch_op.drop_index("ix_compartment_record")
        batch_op.drop_index("ix_compartment_person")

    op.drop_table("compartment")
    op.drop_table("block_stat")
    with op.batch_alter_table("block_key", schema=None) as batch_op:
        batch_op.drop_index("ix_block_key_record")

    op.drop_table("block_key")
    op.drop_table("audit_lease")
    op.drop_table("audit_head")
    with op.batch_alter_table("audit_event", schema=None) as batch_op:
        batch_op.drop_index("uq_audit_event_chain_seq")
        batch_op.drop_index(
            "ix_audit_event_unchained",
            sqlite_where=sa.text("chain_seq IS NULL"),
            postgresql_where=sa.text("chain_seq IS NULL"),
        )
        batch_op.drop_index("ix_audit_event_recorded")
        batch_op.drop_index("ix_audit_event_person")

    op.drop_table("audit_event")
    with op.batch_alter_table("access_token", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_access_token_expires_us"))

    op.drop_table("access_token")
