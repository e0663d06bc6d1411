"""Refused attempts to write Consents, put on record with their reason and whose they were."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fhir.plan import Method, Plan
from hie.audit.event import MINOR_FAILURE, AuditRecord, record_of
from hie.audit.repository import AuditLog
from hie.kernel.context import RequestContext
from hie.kernel.errors import HieError
from hie.store.repository import ResourceRepository

_CONSENT = "Consent"
#: What was tried, and why it was refused.
Attempt = tuple[Plan, HieError]


class Refusals:
    """Keeps the trail of what was refused."""

    def __init__(self, repository: ResourceRepository, audit: AuditLog) -> None:
        self._repository = repository
        self._audit = audit

    async def tell(
        self, conn: AsyncConnection, context: RequestContext, attempts: Sequence[Attempt]
    ) -> None:
        """Put refused attempts on record, in the caller's transaction."""
        told = await refused_consents(conn, self._repository, context, attempts)
        await self._audit.append(conn, told)


async def refused_consents(
    conn: AsyncConnection,
    repository: ResourceRepository,
    context: RequestContext,
    attempts: Sequence[Attempt],
) -> list[AuditRecord]:
    """One audit row for each Consent that was not written, in the trail of whose it is."""
    tried = [
        (write, error)
        for plan, error in attempts
        for write in plan.writes
        if write.type == _CONSENT
    ]
    if not tried:
        return []
    named = [(_CONSENT, write.own_id) for write, _ in tried if write.own_id]
    heads = await repository.versions_of(conn, named)
    return [
        record_of(
            context,
            *("C", "create") if write.method is Method.POST else ("U", "update"),
            outcome=MINOR_FAILURE,
            person_id=head.person_id if (head := heads.get((_CONSENT, write.own_id))) else None,
            resource_type=_CONSENT,
            resource_id=write.own_id,
            detail={"reason": error.text},
        )
        for write, error in tried
    ]
