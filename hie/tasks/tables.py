"""Tables of the tasks: what is asked, which messages wait for the answer, who did what.

`open_key` is the question while the task is open, null afterwards: nothing is asked twice at a
time. What a sender wrote (a code, a text, a statement) stands in `detail` alone, which is sealed.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from hie.db import Key, metadata

staff_task = Table(
    "staff_task",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("kind", String(24), nullable=False),
    Column("state", String(8), nullable=False),
    Column("question", String(26), nullable=False),  # keyed hash of kind and key
    Column("open_key", String(26)),
    Column("source_id", String(200), nullable=False),  # "" = of no source
    Column("record_id", String(64)),  # the source record it is about
    Column("topic", String(64), nullable=False),  # a name of the hub's own: a concept map
    Column("priority", Integer, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger),
    Column("outcome", String(16), nullable=False),  # "" while it is open
    Column("key_id", Key, nullable=False),
    Column("detail", LargeBinary, nullable=False),
    UniqueConstraint("open_key"),
    Index("ix_staff_task_question", "question", "id"),
    Index("ix_staff_task_queue", "state", "priority", "id"),
    Index("ix_staff_task_source", "source_id", "kind", "state"),
)

#: Messages that wait for the answer of a task; ids only.
staff_task_message = Table(
    "staff_task_message",
    metadata,
    Column("task_id", Key, primary_key=True, autoincrement=False),
    Column("message_id", Key, primary_key=True, autoincrement=False),
)

#: Who did what to a task, and when; `note` is sealed, a person wrote it.
staff_task_event = Table(
    "staff_task_event",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("task_id", Key, nullable=False, index=True),
    Column("at_us", BigInteger, nullable=False),
    Column("action", String(16), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("key_id", Key, nullable=False),
    Column("note", LargeBinary, nullable=False),
)
