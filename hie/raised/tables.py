"""Table of raised labels: bits of `config/sensitivity/labels.toml`, ids and times; in clear."""

from sqlalchemy import BigInteger, Column, Index, String, Table

from hie.db import Key, metadata

raised_label = Table(
    "raised_label",
    metadata,
    Column("record_id", String(64), primary_key=True),  # the patient's record at the source
    Column("target", String(100), primary_key=True),  # `Type/id`; "" = all of the record
    Column("mask", BigInteger, nullable=False),
    Column("message_id", Key, nullable=False),  # that raised it last
    Column("at_us", BigInteger, nullable=False),
    # A visit that was moved is another record's now, and as sensitive as it was.
    Index("ix_raised_label_target", "target"),
)

#: Labels that a privacy officer took back; who and why is in the audit trail.
label_taken_back = Table(
    "label_taken_back",
    metadata,
    Column("id", Key, primary_key=True),
    Column("record_id", String(64), nullable=False),
    Column("target", String(100), nullable=False),  # `Type/id`
    Column("mask", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("undone_us", BigInteger),
)
