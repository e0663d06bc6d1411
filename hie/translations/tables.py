"""The decided translations: rows are added, never changed but for `active_key`.

`active_key` is null once a later row has replaced or withdrawn the row. Code and target stand in
`body`, sealed: a sender may put anything where a code should be.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, UniqueConstraint

from hie.db import Key, metadata

code_translation = Table(
    "code_translation",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("source_id", String(200), nullable=False),
    Column("map", String(64), nullable=False),
    Column("active_key", String(26)),  # keyed hash of source, map and code
    Column("task_id", Key),
    Column("decided_us", BigInteger, nullable=False),
    Column("decided_by", String(200), nullable=False),
    Column("key_id", Key, nullable=False),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("active_key"),
    Index("ix_code_translation_source", "source_id", "map"),
)
