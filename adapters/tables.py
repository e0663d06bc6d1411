"""Tables of the journal: every message and batch as received, and what became of it."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from hie.db import Key, metadata

inbound_message = Table(
    "inbound_message",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("source_id", String(200), nullable=False),
    Column("wire", String(10), nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("trigger", String(20), nullable=False),
    Column("partition", String(32), nullable=False),  # keyed hash
    # Keyed hashes of its further partitions, with blanks: a patient's other numbers, and the
    # other patients of a merge or a move.
    Column("partitions", Text),
    # Keyed hash of source, control id and content; null for refused messages, whose repeats
    # are judged afresh.
    Column("repeat_key", String(26)),
    Column("control_key", String(26), nullable=False),  # keyed hash of source and control id
    Column("answer_code", String(4), nullable=False),  # MSA-1 or the HTTP status; "" = none yet
    Column("state", String(12), nullable=False),
    Column("stage", String(20), nullable=False),
    Column("reason", Text, nullable=False),  # why it is parked or refused; no patient data
    Column("attempts", Integer, nullable=False),
    Column("settled_us", BigInteger),
    Column("findings", Text, nullable=False),  # JSON; places and rules, never values
    # The row's own data key, wrapped by the key ring until the message is identified, then
    # by the source record's key: erasing the record erases its messages.
    Column("wrapped_by", BigInteger),
    Column("wrapped", LargeBinary, nullable=False),
    Column("control_id", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    # MSH-16 where the outcome is told to the sender's own listener; empty = never.
    Column("application", String(2), nullable=False, server_default=""),
    Column("batch_pk", BigInteger),  # the batch it came in, and its place there, 1-based
    Column("batch_number", Integer),
    UniqueConstraint("repeat_key"),
    Index("ix_inbound_message_queue", "state", "pk"),
    Index("ix_inbound_message_control", "control_key"),
    Index("ix_inbound_message_source", "source_id", "pk"),
    Index("ix_inbound_message_batch", "batch_pk", "batch_number"),
)

#: What people did to messages: put back in the queue, closed, opened again.
replay = Table(
    "replay",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("message_pk", Key, nullable=False),
    Column("run", Key, nullable=False),  # what was done at once
    Column("action", String(10), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("from_state", String(12), nullable=False),
    Column("from_stage", String(20), nullable=False),
    Column("from_reason", Text, nullable=False),
    Column("outcome", String(12), nullable=False),  # "" = it waits to be worked off
    Column("settled_us", BigInteger),
    Column("key_id", BigInteger, nullable=False),
    Column("why", LargeBinary, nullable=False),  # sealed: somebody's own words
    Index("ix_replay_message", "message_pk", "pk"),
    Index("ix_replay_run", "run", "outcome"),
)

#: Sequence number protocol: the last MSH-13 accepted from each source; null = none yet.
link_sequence = Table(
    "link_sequence",
    metadata,
    Column("source_id", String(200), primary_key=True),
    Column("last", BigInteger),
    Column("changed_us", BigInteger, nullable=False),
)

outbound_acknowledgement = Table(
    "outbound_acknowledgement",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("message_pk", BigInteger, nullable=False),  # acknowledged, once
    Column("source_id", String(200), nullable=False),
    Column("code", String(2), nullable=False),  # MSA-1
    Column("state", String(10), nullable=False),
    Column("reason", Text, nullable=False),  # why it was not delivered; no patient data
    Column("attempts", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("settled_us", BigInteger),
    Column("payload", LargeBinary, nullable=False),  # under the message's key; gone once delivered
    UniqueConstraint("message_pk"),
    Index("ix_outbound_acknowledgement_queue", "state", "source_id", "pk"),
)

inbound_batch = Table(
    "inbound_batch",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("source_id", String(200), nullable=False),
    Column("wire", String(10), nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("settled_us", BigInteger),  # null while its messages are being taken
    Column("messages", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("findings", Text, nullable=False),  # JSON; places and rules, never values
    Column("wrapped", LargeBinary, nullable=False),  # the row's own data key
    Column("header", LargeBinary, nullable=False),  # its first FHS or BHS, sealed
    Column("name", LargeBinary, nullable=False),  # of the file it came in, sealed
    Index("ix_inbound_batch_source", "source_id", "pk"),
)
