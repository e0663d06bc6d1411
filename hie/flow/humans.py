"""What relationships ask of the two persons: birth dates, and whether they are still the same."""

import json

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.proxies.model import Human, Relationship
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual
from mpi.repository import settled

#: Every record of Patient, whatever its labels: an age is strict only if all are asked.
_ALL = Residual(sees_source_records=True)


class Humans:
    """Reads them as of now."""

    def __init__(self, repository: ResourceRepository) -> None:
        self._repository = repository

    async def of(self, conn: AsyncConnection, found: Relationship) -> Human:
        """Birth dates of the patient's records, and whether both persons are settled."""
        persons = [found.person, *([found.proxy] if found.proxy else [])]
        for person in persons:
            if not await settled.is_settled(conn, person, found.vouched_us):
                return Human(births=(), is_settled=False)
        return Human(births=await self.births(conn, found.person), is_settled=True)

    async def births(self, conn: AsyncConnection, person: str) -> tuple[str, ...]:
        """The birth dates that the records of a person say."""
        records = (await self._repository.patients(conn, _ALL, [person])).get(person, [])
        said = (json.loads(record.body).get("birthDate") for record in records)
        return tuple(sorted({date for date in said if isinstance(date, str)}))
