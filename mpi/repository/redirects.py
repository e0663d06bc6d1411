"""Messages that named a record its source had merged away."""

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from mpi import tables

_table = tables.redirected_message


async def note(conn: AsyncConnection, message_id: int, record_id: str, survivor_id: str) -> None:
    """Remember that a message was filed under the survivor; a replay is remembered once."""
    dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
    row = {"message_id": message_id, "record_id": record_id, "survivor_id": survivor_id}
    await conn.execute(dialect.insert(_table).values(row).on_conflict_do_nothing())


async def messages(conn: AsyncConnection, record_id: str, survivor_id: str) -> list[int]:
    """The messages that named a record and were filed under another, oldest first."""
    rows = await conn.execute(
        select(_table.c.message_id)
        .where(_table.c.record_id == record_id, _table.c.survivor_id == survivor_id)
        .order_by(_table.c.message_id)
    )
    return [row.message_id for row in rows]
