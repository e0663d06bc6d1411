"""What the API asks of emergency accesses."""

from typing import Protocol

from hie.emergencies.model import Emergency, Stated
from hie.kernel.context import Caller, RequestContext
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId


class Emergencies(Protocol):
    """Breaking the glass (`hie.flow.emergencies`)."""

    def is_for(self, caller: Caller, /) -> bool:
        """Whether a caller's purpose is an emergency's."""
        ...

    async def ask(
        self, ctx: RequestContext, patient: FhirJson, stated: Stated | None, /
    ) -> PersonId | None:
        """The one person whom a description certainly means."""
        ...

    async def open(self, ctx: RequestContext, person_id: str, /) -> Emergency:
        """Open the record of a person this token was told of, for a time."""
        ...

    async def end(self, ctx: RequestContext, person_id: str, /) -> Emergency:
        """End an access before its time."""
        ...

    async def notices(self, ctx: RequestContext, patient_id: str, /) -> list[FhirJson]:
        """What a patient is told, as Communications."""
        ...
