"""The numbers that stand for a person now, as one organisation may know them.

Nothing of it has been told yet: whoever tells it puts that on record before.
"""

from dataclasses import dataclass
from typing import Final

from consent.service import ConsentService
from hie.db import Database
from hie.identities import carried, facts_of, is_retired
from hie.kernel.context import RequestContext
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId
from hie.store.repository import ResourceRepository

_READ: Final = "access"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The numbers of a person.

    Attributes:
        records: source records that the organisation may see.
        identifiers: FHIR Identifiers of these records, each once, in a fixed order.
        carriers: the record that has each of them, in that order.
    """

    person_id: PersonId
    records: frozenset[str]
    identifiers: tuple[FhirJson, ...]
    carriers: tuple[str, ...]


class StandingNumbers:
    """Reads them; by the consents of the moment."""

    def __init__(
        self, db: Database, repository: ResourceRepository, consent: ConsentService
    ) -> None:
        self._db = db
        self._repository = repository
        self._consent = consent

    async def of(self, ctx: RequestContext, person: PersonId) -> Standing | None:
        """The numbers of a person; None where all its records are hidden, or it has none."""
        residual = self._consent.residual(ctx, _READ)
        async with self._db.reading() as conn:
            found = await self._repository.patients(conn, residual, [person])
            records = [one for one in found.get(person, []) if not is_retired(one)]
            await self._consent.recheck(conn, ctx, [facts_of(one) for one in records])
        if not records:
            return None
        numbers = {pair: (one, served.id) for served in records for pair, one in carried(served)}
        told = [numbers[pair] for pair in sorted(numbers)]
        return Standing(
            person_id=person,
            records=frozenset(served.id for served in records),
            identifiers=tuple(one for one, _ in told),
            carriers=tuple(record for _, record in told),
        )
