"""Tables of what people did about Consents, and of the receipts they are owed.

The Consents themselves are FHIR resources in the store; their versions are never changed. What
somebody said when they did something (a reason, a signature's date, a witness) is sealed.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
)

from hie.db import Key, metadata

#: Who did what to a Consent, and when. Rows are added, never changed.
consent_act = Table(
    "consent_act",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("consent_id", String(64), nullable=False),
    Column("version", Integer, nullable=False),  # the one it made, or speaks of
    Column("act", String(16), nullable=False),
    # Keyed hash of the content that was verified or rejected; another content is another wish.
    Column("content_hash", LargeBinary(16)),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("record_id", String(64), nullable=False),  # whose key seals the note
    Column("task_id", BigInteger),  # the task that asks for a verification
    Column("key_id", Key, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Index("ix_consent_act_consent", "consent_id", "id"),
)

#: Receipts that are owed or were made: one of a version.
consent_receipt = Table(
    "consent_receipt",
    metadata,
    Column("consent_id", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("made_us", BigInteger),  # null while it is owed
    Column("document_id", String(64)),
    Column("sha256", String(64)),  # of the PDF, in hexadecimal
    PrimaryKeyConstraint("consent_id", "version"),
    Index("ix_consent_receipt_owed", "made_us", "asked_us"),
)
