"""Tables of notices: what is to be told to whom, and what each receiver was told last.

Nothing here names anybody: a notice says whose record an event touched, and its content is read
when it leaves, by the consents of that moment. What was told is kept as a keyed hash, so that a
change that a receiver may not see is no news to it.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, UniqueConstraint

from hie.db import Key, metadata

notice = Table(
    "notice",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("event_id", Key, nullable=False),
    Column("source_id", String(200), nullable=False),  # the receiver
    Column("channel", String(12), nullable=False),
    Column("record_id", String(32), nullable=False),  # the receiver's own record
    Column("happened_us", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),
    Column("reason", Text, nullable=False),  # why it was not delivered; no patient data
    Column("attempts", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("settled_us", BigInteger),
    UniqueConstraint("event_id", "source_id", "channel", "record_id"),
    Index("ix_notice_queue", "state", "source_id", "channel", "pk"),
)

notice_told = Table(
    "notice_told",
    metadata,
    Column("source_id", String(200), primary_key=True),
    Column("channel", String(12), primary_key=True),
    Column("record_id", String(32), primary_key=True),
    Column("person_id", String(32), nullable=False),
    Column("digest", String(32), nullable=False),  # of what it is known to have
    # Of what was sent and not answered: it may have that as well.
    Column("maybe_person_id", String(32)),
    Column("maybe", String(32)),
    Column("told_us", BigInteger),  # null = it was told nothing yet, and knows this by itself
    Index("ix_notice_told_record", "record_id"),
)
