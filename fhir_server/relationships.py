"""What the API asks of relationships: who may see in whose place."""

from collections.abc import Sequence
from typing import Protocol

from hie.flow.appointing import Appointed
from hie.flow.relationships import Standing, Wanted
from hie.kernel.context import RequestContext
from hie.kernel.fhir import FhirJson


class Relationships(Protocol):
    """What patients and proxies do themselves (`hie.flow.appointing`, `hie.flow.hiding`)."""

    async def appoint(self, ctx: RequestContext, wanted: Wanted, /) -> Appointed:
        """Let somebody see in the patient's place, once they accept."""
        ...

    async def accept(self, ctx: RequestContext, relationship: str, word: str, /) -> Standing:
        """Accept an appointment; NOT_FOUND for another word."""
        ...

    async def end(self, ctx: RequestContext, relationship: str, /) -> Standing:
        """End one, from either side; NOT_FOUND for what is not the caller's to end."""
        ...

    async def mine(self, ctx: RequestContext, patient_id: str, /) -> Sequence[Standing]:
        """Who may see in the place of the patient whose token it is."""
        ...

    async def acting_for(self, ctx: RequestContext, patient_id: str, /) -> Sequence[Standing]:
        """In whose place the patient whose token it is may see."""
        ...

    async def hide(self, ctx: RequestContext, type_name: str, resource_id: str, /) -> int:
        """Hide a resource from proxies; how many are hidden by it."""
        ...

    def described(self, standing: Standing, /) -> FhirJson:
        """The RelatedPerson."""
        ...
