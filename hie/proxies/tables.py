"""Tables of relationships: who may see in whose place, and what was done about it.

Ids, times and keys of the policy stand in clear, for they are asked at every request; names,
numbers, papers and reasons are sealed under the key of the person whose record it is about.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table

from hie.db import Key, metadata

proxy_relationship = Table(
    "proxy_relationship",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("person_id", String(32), nullable=False, index=True),
    Column("proxy_id", String(32), index=True),  # null while nobody proved to be that person
    Column("kind", String(24), nullable=False),
    Column("scope", String(24), nullable=False),
    Column("custody", String(8), nullable=False),
    Column("has_document", Boolean, nullable=False),
    Column("named_mask", BigInteger, nullable=False),
    Column("recorded_us", BigInteger, nullable=False),
    Column("vouched_us", BigInteger, nullable=False),
    Column("from_us", BigInteger),
    Column("to_us", BigInteger),
    Column("accepted_us", BigInteger),
    Column("stopped_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("version", Integer, nullable=False),
    Column("told", String(16), nullable=False),  # the bracket of age that staff were told of last
    Column("key_id", Key, nullable=False),
    Column("detail", LargeBinary, nullable=False),
    Column("document", LargeBinary),
    Index("ix_proxy_relationship_open", "ended_us", "id"),
)

#: Who did what to a relationship; never changed. `words` are sealed: a person wrote them.
proxy_event = Table(
    "proxy_event",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("relationship_id", String(32), nullable=False, index=True),
    Column("at_us", BigInteger, nullable=False),
    Column("action", String(16), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("key_id", Key, nullable=False),
    Column("words", LargeBinary, nullable=False),
)
