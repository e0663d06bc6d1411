"""The decision as rows to join: derived from FHIR Consents, rebuilt at any time.

What a row means, and when it matches, is the formula of `hie.store.residual`; its repository
finds both tables by name. Nothing here says who the person is, only what may be seen.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
)

from hie.db import Key, metadata

#: One row per way a rule may match; null = any.
consent_rule = Table(
    "consent_rule",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("person_id", String(32), nullable=False),
    Column("consent_id", String(64), nullable=False),
    Column("consent_version", Integer, nullable=False),
    Column("path", String(200), nullable=False),  # `/` root, `/1/` its first provision, ...
    Column("effect", String(6), nullable=False),  # permit, deny, lift or spare
    Column("note", String(40)),  # why the rule is stricter than written
    Column("grantee", String(120), nullable=False),  # "" = whoever asks
    Column("purpose", String(200)),
    Column("action", String(20)),
    Column("type_id", SmallInteger),
    Column("source_id", String(200)),
    Column("instance", String(64)),
    Column("author", String(120)),
    Column("encounter", String(120)),
    Column("label_mask", BigInteger),
    Column("date_lo_us", BigInteger),
    Column("date_hi_us", BigInteger),
    Column("code_set", BigInteger),
    Column("valid_from_us", BigInteger),
    Column("valid_to_us", BigInteger),
    Column("record_id", String(32)),
    Index("ix_consent_rule_ends", "valid_to_us", "consent_id"),
    Index("ix_consent_rule_person", "person_id", "effect", "consent_id", "path"),
    Index("ix_consent_rule_asked", "person_id", "effect", "grantee"),
)

#: What every rule is compiled by: one row. `doing` and `place` while they are compiled anew:
#: by what, and the last person who had their turn.
consent_basis = Table(
    "consent_basis",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("doing", String(64), nullable=False),
    Column("place", String(64), nullable=False),
)

#: The codes a rule names; `code_set` is the key of one rule's set.
consent_code = Table(
    "consent_code",
    metadata,
    Column("code_set", BigInteger, nullable=False),
    Column("system", String(200), nullable=False),
    Column("code", String(200), nullable=False),
    Column("person_id", String(32), nullable=False),
    PrimaryKeyConstraint("code_set", "system", "code"),
    Index("ix_consent_code_person", "person_id"),
)
