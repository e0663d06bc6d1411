"""Tables of subscriptions: who asked, what happened, and what each was told.

Nothing here names a patient but by ids of the hub's own. What was asked for - filters, endpoint,
secret headers - is sealed. An event has no number until it is told, and one that its subscriber
may not see gets none: its row is deleted.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
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

subscription = Table(
    "subscription",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("status", String(10), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("topic", String(300), nullable=False),
    Column("channel", String(12), nullable=False),
    Column("key_id", BigInteger, nullable=False),
    Column("terms", LargeBinary, nullable=False),
    # Who asked: a token's terms as they stand in `access_token`.
    Column("token_id", String(20), nullable=False),
    Column("organization", String(64)),
    Column("user_name", String(200)),
    Column("roles", String(700)),
    Column("patient", String(32)),
    Column("purpose", String(20), nullable=False),
    Column("scopes", Text, nullable=False),
    # How it goes.
    Column("told", Integer, nullable=False),
    Column("delivered", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("failing_us", BigInteger),
    Column("heartbeat_us", BigInteger),
    Column("error", Text, nullable=False),
    Column("end_us", BigInteger),
    Column("deleted", Boolean, nullable=False),
    Index("ix_subscription_owner", "owner"),
    Index("ix_subscription_topic", "topic", "status"),
)

#: What was written, until it is known whom it is to be told.
resource_change = Table(
    "resource_change",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("type", String(40), nullable=False),
    Column("id", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("source_id", String(200), nullable=False),
    Column("happened_us", BigInteger, nullable=False),
    # Of a change of identity: the source records that moved, and whose they were.
    Column("records", Text, nullable=False),
    Column("was", Text, nullable=False),
)

subscription_event = Table(
    "subscription_event",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("subscription_id", String(64), nullable=False),
    Column("change_pk", Key, nullable=False),
    Column("type", String(40), nullable=False),
    Column("focus_id", String(64), nullable=False),
    Column("happened_us", BigInteger, nullable=False),
    Column("records", Text, nullable=False),
    Column("was", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("number", Integer),
    Column("settled_us", BigInteger),
    UniqueConstraint("subscription_id", "change_pk"),
    Index("ix_subscription_event_queue", "subscription_id", "state", "pk"),
    Index("ix_subscription_event_number", "subscription_id", "number"),
)

#: A websocket's right to subscriptions for a while; the token itself is nowhere.
subscription_binding = Table(
    "subscription_binding",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("subscriptions", Text, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    # Who asked for it; its rights hold as long as that token does.
    Column("token_id", String(20), nullable=False),
)

#: A panel that was loaded, and the Group as it was before: what to take back to undo it.
panel_load = Table(
    "panel_load",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("group_id", String(64), nullable=False),
    Column("source_id", String(200), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),  # of the Group after it
    Column("key_id", BigInteger, nullable=False),
    Column("before", LargeBinary, nullable=False),  # the Group, sealed; empty = there was none
    Column("undone_us", BigInteger),
    Index("ix_panel_load_group", "group_id", "pk"),
)
