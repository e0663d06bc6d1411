"""Requests that must not happen twice: answers by idempotency key.

Answers may name people and are sealed, as base64. `key_hash` is of the caller's name and key,
`content_hash` a keyed one of the request, so that one key is not used for two requests.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from hie.db import metadata

staff_request = Table(
    "staff_request",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    Column("content_hash", String(64), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("status", Integer),
    Column("answer", Text),
    Index("ix_staff_request_at_us", "at_us"),
)
