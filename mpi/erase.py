"""Lawful erasure: source records of which nothing is left but ids and links.

Nobody is found by them any more and no question is asked about them; what was decided, when and
by whom stays, without its explanation. Sent again, such a record is filed as before.
"""

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId, SourceRecordId
from mpi.repository import decisions, erasure


async def with_merged(
    conn: AsyncConnection, records: Collection[SourceRecordId]
) -> list[SourceRecordId]:
    """The records and all that their sources merged into them."""
    return [SourceRecordId(found) for found in await erasure.with_merged(conn, records)]


async def with_merged_persons(conn: AsyncConnection, person_id: PersonId) -> list[PersonId]:
    """The person and all that were merged into it, however often: its trail names them all."""
    found, left = [person_id], [person_id]
    while left:
        rows = await decisions.merged_into(conn, left.pop())
        new = [one for row in rows if (one := PersonId(row.id)) not in found]
        found += new
        left += new
    return found


async def erase(
    conn: AsyncConnection,
    persons: Sequence[PersonId],
    records: Sequence[SourceRecordId],
    key_ids: Sequence[int],
    hub_key: int,
    now_us: int,
) -> None:
    """Erase records of a person, in the open transaction.

    `persons` are the person and those merged into it; `key_ids` sealed what the records said;
    `hub_key` stays, but not what stewards wrote of these under it.
    """
    await erasure.empty(conn, records)
    await erasure.forget_words(conn, records, persons, hub_key)
    await erasure.close_questions(conn, records, persons, now_us=now_us)
    await erasure.forget_explanations(conn, key_ids)
