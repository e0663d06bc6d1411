"""Who may see in whose place, joined: for staff, for patients, and the notices of birthdays."""

from collections.abc import Sequence

from hie.flow.appointing import Appointed, Appointing
from hie.flow.birthdays import Birthdays
from hie.flow.hiding import Hiding
from hie.flow.privacy import PrivacyFields
from hie.flow.proxies import Proxies
from hie.flow.related import related_person
from hie.flow.relationships import Standing, Wanted
from hie.kernel.context import RequestContext
from hie.kernel.fhir import FhirJson
from hie.proxies.book import ProxyBook
from hie.services import Services


class Proxying:
    """What keeps relationships; answers what FHIR asks of them."""

    def __init__(self, services: Services) -> None:
        labels = services.labeller.table
        self.proxies = Proxies(
            services.db,
            ProxyBook(services.db, services.keys, services.ring),
            services.stand_ins,
            services.mpi,
            services.repository,
            services.config.index,
            services.consent,
            labels,
            services.placer,
            services.audit,
            services.tokens.revoke_as,
        )
        self.birthdays = Birthdays(self.proxies, services.tasks, services.clock)
        self._appointing = Appointing(self.proxies)
        self._hiding = Hiding(
            services.db,
            services.repository,
            services.config.index,
            services.consent,
            labels,
            PrivacyFields(
                services.labeller,
                services.config.index,
                services.repository,
                services.tasks,
                services.ring,
            ),
            services.placer,
            services.audit,
        )

    async def appoint(self, ctx: RequestContext, wanted: Wanted) -> Appointed:
        """Let somebody see in the patient's place, once they accept."""
        return await self._appointing.appoint(ctx, wanted)

    async def accept(self, ctx: RequestContext, relationship: str, word: str) -> Standing:
        """Accept an appointment."""
        return await self._appointing.accept(ctx, relationship, word)

    async def end(self, ctx: RequestContext, relationship: str) -> Standing:
        """End one, from either side."""
        return await self._appointing.end(ctx, relationship)

    async def mine(self, ctx: RequestContext, patient_id: str) -> Sequence[Standing]:
        """Who may see in the place of the patient whose token it is."""
        return await self._appointing.mine(ctx, patient_id)

    async def acting_for(self, ctx: RequestContext, patient_id: str) -> Sequence[Standing]:
        """In whose place the patient whose token it is may see."""
        return await self._appointing.acting_for(ctx, patient_id)

    async def hide(self, ctx: RequestContext, type_name: str, resource_id: str) -> int:
        """Hide a resource from proxies."""
        return await self._hiding.hide(ctx, type_name, resource_id)

    def described(self, standing: Standing) -> FhirJson:
        """The RelatedPerson."""
        return related_person(standing, self.proxies.stand_ins.policy)
