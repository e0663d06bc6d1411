"""Tables of emergency accesses. The words of a reason are sealed with the person's key."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table

from hie.db import Key, metadata

emergency_access = Table(
    "emergency_access",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("token_id", String(20), nullable=False),
    Column("organization", String(200), nullable=False),
    Column("user_name", String(200), nullable=False),
    Column("person_id", String(64), nullable=False, index=True),
    Column("asked_us", BigInteger, nullable=False),
    Column("code", String(40), nullable=False),
    Column("key_id", BigInteger, nullable=False),
    Column("words", LargeBinary, nullable=False),
    Column("factors", String(200), nullable=False),
    Column("opened_us", BigInteger),
    Column("expires_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("ended_by", String(20), nullable=False),
    Column("notice_us", BigInteger),
    Column("task_id", BigInteger),
    Column("verdict", String(20), nullable=False),
    Column("reviewed_us", BigInteger),
    Column("reviewed_by", String(200), nullable=False),
    Index("ix_emergency_access_token", "token_id", "person_id"),
    Index("ix_emergency_access_queue", "verdict", "id"),
)

emergency_event = Table(
    "emergency_event",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("emergency_id", Key, nullable=False, index=True),
    Column("at_us", BigInteger, nullable=False),
    Column("action", String(20), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("key_id", BigInteger, nullable=False),
    Column("note", LargeBinary, nullable=False),
)

emergency_suspension = Table(
    "emergency_suspension",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("organization", String(200), nullable=False),
    Column("user_name", String(200), nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("by_name", String(200), nullable=False),
    Column("emergency_id", BigInteger, nullable=False),
    Column("lifted_us", BigInteger),
    Column("lifted_by", String(200), nullable=False),
    Index("ix_emergency_suspension_user", "organization", "user_name"),
)

#: Accesses the privacy office is to be told of, each until its endpoint took it.
emergency_alert = Table(
    "emergency_alert",
    metadata,
    Column("emergency_id", Key, primary_key=True, autoincrement=False),
    Column("attempts", Integer, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("settled_us", BigInteger),  # null = it waits
    Index("ix_emergency_alert_queue", "settled_us", "due_us"),
)
