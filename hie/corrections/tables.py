"""Tables of correction notices: which disclosure, because of which decision, told when by whom."""

from sqlalchemy import BigInteger, Column, Index, String, Table

from hie.db import Key, metadata

#: What was shown stands in the audit event `audit_pk`, sealed; nothing of it is repeated here.
disclosure_correction = Table(
    "disclosure_correction",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("decision_id", Key, nullable=False),
    Column("audit_pk", Key, nullable=False),
    Column("person_id", String(64), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("organization", String(200)),
    Column("notified_us", BigInteger),
    Column("notified_by", String(255)),
    Index("uq_disclosure_correction_event", "decision_id", "audit_pk", unique=True),
)
