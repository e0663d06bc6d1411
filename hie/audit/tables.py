"""Tables of the audit trail: events, signed tree heads, and the sequencer's lease.

What an event says stands sealed in `sealed`; beside it only what a patient's access log and
an auditor's search filter on: `agent` is a keyed hash of who sat at the screen. `row_hash`
covers the row as stored, so the chain can be verified without a key and survives the
destruction of one.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, text

from hie.db import Key, metadata

HASH = LargeBinary(32)

audit_event = Table(
    "audit_event",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("recorded_us", BigInteger, nullable=False),
    Column("person_id", String(64)),
    Column("organization", String(200)),
    Column("action", String(1), nullable=False),
    Column("outcome", String(2), nullable=False),
    Column("key_id", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("subtype", String(40)),
    Column("agent", BigInteger),
    # What was asked in words, under a key of the question's own: see `AuditLog.append`.
    Column("question_key", BigInteger),
    Column("question", LargeBinary),
    Column("row_hash", HASH, nullable=False),
    Column("chain_seq", BigInteger),  # 0-based, dense; null until the sequencer has come by
    Column("chain_hash", HASH),
    Index("uq_audit_event_chain_seq", "chain_seq", unique=True),
    Index("ix_audit_event_person", "person_id", "recorded_us"),
    Index("ix_audit_event_recorded", "recorded_us"),
    Index("ix_audit_event_organization", "organization", "pk"),
    Index(
        "ix_audit_event_agent",
        "agent",
        "pk",
        sqlite_where=text("agent IS NOT NULL"),
        postgresql_where=text("agent IS NOT NULL"),
    ),
    Index(
        "ix_audit_event_question",
        "pk",
        sqlite_where=text("question_key IS NOT NULL"),
        postgresql_where=text("question_key IS NOT NULL"),
    ),
    Index(
        "ix_audit_event_unchained",
        "pk",
        sqlite_where=text("chain_seq IS NULL"),
        postgresql_where=text("chain_seq IS NULL"),
    ),
)

#: Published heads, one row each; the same stand in a file outside the database.
audit_head = Table(
    "audit_head",
    metadata,
    Column("tree_size", Key, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("root", HASH, nullable=False),
    Column("chain_hash", HASH, nullable=False),
    Column("signature", LargeBinary(64), nullable=False),
)

#: One row: who chains, until when, and the signed head of all that is chained.
audit_lease = Table(
    "audit_lease",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("tree_size", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("chain_hash", HASH, nullable=False),
    Column("peaks", LargeBinary, nullable=False),
    Column("signature", LargeBinary(64), nullable=False),
)
