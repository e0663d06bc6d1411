"""What patients hide from whoever may see in their place: the label is raised, never lowered.

Hidden is the resource; of a visit all that belongs to it, also what is still to come; of a report
its results. Documents that hold what is hidden carry its label too.
"""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.labels import LabelTable
from consent.service import ConsentService
from hie.audit.event import record_of
from hie.audit.repository import AuditLog
from hie.db import Database
from hie.disclosure import NOT_FOUND
from hie.flow.place import Placer
from hie.flow.placement import Origin
from hie.flow.privacy import PrivacyFields
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson, objects
from hie.kernel.ids import MessageId, SourceId, SourceRecordId
from hie.proxies.model import is_proxy
from hie.store.index import SearchIndex
from hie.store.loader import Stored
from hie.store.repository import ResourceRepository

#: What is confidential to a young person: the sensitivity that is raised.
LABEL: Final = "ADOL"
#: The record itself, and what is nobody's alone.
_NEVER: Final = frozenset({"Patient", "Person", "RelatedPerson", "Consent", "Provenance", "Group"})
_PARTS: Final = frozenset({"Observation", "Media", "ImagingStudy"})


def can_be_hidden(index: SearchIndex, type_name: str) -> bool:
    """Whether resources of a type are hidden one by one: what patients' records are made of."""
    return type_name not in _NEVER and index.is_of_patients(type_name)


class Hiding:
    """Hides what patients name."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in hie.proxying
        self,
        db: Database,
        repository: ResourceRepository,
        index: SearchIndex,
        consent: ConsentService,
        labels: LabelTable,
        privacy: PrivacyFields,
        placer: Placer,
        audit: AuditLog,
    ) -> None:
        self._db = db
        self._repository = repository
        self._index = index
        self._consent = consent
        self._mask = labels.raised([LABEL])
        self._privacy = privacy
        self._placer = placer
        self._audit = audit

    async def hide(self, ctx: RequestContext, type_name: str, resource_id: str) -> int:
        """Hide a resource from now on; how many are hidden by it.

        Raises:
            HieError: FORBIDDEN for anybody but the patient; BUSINESS_RULE for what cannot be
                hidden; NOT_FOUND for what the patient does not see.
        """
        patient = ctx.caller.patient
        if patient is None or is_proxy(ctx.caller):
            raise HieError(Category.FORBIDDEN, "this takes the patient's own token")
        if not can_be_hidden(self._index, type_name):
            text = f"`{type_name}`: expected something that was done, found or written"
            raise HieError(Category.BUSINESS_RULE, text)
        async with self._db.transaction() as conn:
            found = await self._own(conn, ctx, type_name, resource_id)
            record = SourceRecordId(found.source_record_id or "")
            parts = _parts(found.resource) if type_name == "DiagnosticReport" else []
            targets = [f"{type_name}/{resource_id}", *parts]
            # It stays its source's: nothing but the label is new.
            source = SourceId(found.source_id)
            origin = Origin(source_id=source, message_id=MessageId(0), now_us=ctx.now_us)
            changed = await self._privacy.raise_on(conn, origin, record, targets, self._mask)
            await self._placer.place(conn, origin, changed)
            event = record_of(
                ctx,
                "U",
                "amend",
                person_id=patient,
                resource_type=type_name,
                resource_id=resource_id,
                detail={"reason": "hidden from proxies by the patient"},
            )
            await self._audit.append(conn, [event])
        return len(changed)

    async def _own(
        self, conn: AsyncConnection, ctx: RequestContext, type_name: str, resource_id: str
    ) -> Stored:
        """What is to be hidden: the patient's own.

        Raises:
            HieError: NOT_FOUND.
        """
        residual = self._consent.residual(ctx)
        served = await self._repository.read(conn, residual, type_name, resource_id)
        if served is None or served.is_deleted or served.person_id != ctx.caller.patient:
            raise HieError(Category.NOT_FOUND, NOT_FOUND)
        stored = await self._repository.load(conn, [(type_name, resource_id)])
        return stored[type_name, resource_id]


def _parts(report: FhirJson) -> list[str]:
    """What a report consists of."""
    named = (element.get("reference") for element in objects(report))
    found = [one for one in named if isinstance(one, str) and one.partition("/")[0] in _PARTS]
    return list(dict.fromkeys(found))
