"""Tables of exports: jobs, and the lists they make.

A list holds keys, no content. What was asked for may hold search values and is sealed.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
)

from hie.db import Key, metadata

export_job = Table(
    "export_job",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("job_id", String(32), nullable=False, unique=True),
    Column("owner", String(26), nullable=False, index=True),  # keyed hash of the caller
    Column("token_id", String(16), nullable=False),
    Column("organization", String(200), nullable=False),
    Column("key_id", BigInteger, nullable=False),
    Column("asked", LargeBinary, nullable=False),  # sealed
    Column("state", String(10), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("as_of_us", BigInteger, nullable=False),
    Column("place", Text, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("in_batch", Integer, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    Column("listed", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    Column("expires_us", BigInteger, nullable=False),
    # The worker that lists, and until when nobody else takes the job from it.
    Column("lease_by", String(32), nullable=False),
    Column("lease_us", BigInteger, nullable=False),
    Index("ix_export_job_state", "state", "pk"),
)

#: Resources by person, as the list names them; `told_us` = the person's audit event is written.
export_holding = Table(
    "export_holding",
    metadata,
    Column("job_pk", Key, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("person_id", String(32), nullable=False),  # "" = nobody's
    Column("content", LargeBinary, nullable=False),
    Column("told_us", BigInteger),
    PrimaryKeyConstraint("job_pk", "seq"),
    Index("ix_export_holding_batch", "job_pk", "batch", "seq"),
    Index("ix_export_holding_person", "job_pk", "person_id"),
)

#: What persons' records refer to, and what is another person's first: once in a job.
export_other = Table(
    "export_other",
    metadata,
    Column("job_pk", Key, nullable=False),
    Column("person_id", String(32), nullable=False),
    Column("resource_pk", Key, nullable=False),
    PrimaryKeyConstraint("job_pk", "person_id", "resource_pk"),
    sqlite_with_rowid=False,
)

#: Files: how many resources of a type a batch was given when it was listed.
export_part = Table(
    "export_part",
    metadata,
    Column("job_pk", Key, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("type_id", SmallInteger, nullable=False),
    Column("listed", BigInteger, nullable=False),
    PrimaryKeyConstraint("job_pk", "batch", "type_id"),
    sqlite_with_rowid=False,
)
