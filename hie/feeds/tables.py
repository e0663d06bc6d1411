"""Table of the sources that are watched: since when, and since when one is late."""

from sqlalchemy import BigInteger, Column, String, Table

from hie.db import metadata

source_watch = Table(
    "source_watch",
    metadata,
    Column("source_id", String(200), primary_key=True),
    Column("since_us", BigInteger, nullable=False),  # silence before that is not its fault
    Column("late_us", BigInteger),  # when it became late; null = it is not
)
