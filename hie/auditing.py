"""What a hub shows of its audit trail: made and joined over its services."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.accounting import Accountings, Rules, Whose
from hie.audit.event import Hub as HubName
from hie.audit.search import AuditSearch
from hie.emergencies.waiting import Waiting
from hie.kernel.fhir import FhirJson
from hie.services import Services
from hie.trail import Trail
from mpi.repository import decisions

_PRACTITIONER: Final = "Practitioner/"


class Auditing:
    """The trail as callers may see it."""

    def __init__(self, services: Services) -> None:
        self.search = AuditSearch(services.audit)
        self.words = services.config.audit_words
        self.trail = Trail(
            services.db,
            self.search,
            services.sight,
            services.repository.seen,
            persons_of,
            services.disclosures,
            self.words,
            HubName(address=services.settings.listen.fhir),
            services.directory.called,
            Waiting(services.config.emergencies),
        )
        law = services.consent.law
        self.accountings = Accountings(
            services.db,
            self.trail,
            services.disclosures,
            self.words,
            Rules(subsumed=law.settings.purposes.expand, mask=law.labels.bits),
            Whose(
                is_person=is_person,
                users=self._users,
                organization=services.directory.called,
            ),
        )
        self._load = services.repository.load

    async def _users(self, conn: AsyncConnection, users: Sequence[str]) -> Mapping[str, str]:
        """Names of the users who are Practitioners of the directory."""
        ids = [user.partition("/")[2] for user in users if user.startswith(_PRACTITIONER)]
        found = await self._load(conn, [("Practitioner", one) for one in ids]) if ids else {}
        named = {
            f"{_PRACTITIONER}{key}": _name(stored.resource)
            for (_, key), stored in found.items()
            if not stored.is_deleted
        }
        return {user: f"{name} ({user})" for user, name in named.items() if name}


def _name(practitioner: FhirJson) -> str:
    names = practitioner.get("name") or [{}]
    name = names[0]
    parts = [*name.get("prefix", ()), *name.get("given", ()), name.get("family", "")]
    return name.get("text") or " ".join(part for part in parts if part)


async def is_person(conn: AsyncConnection, person_id: str) -> bool:
    """Whether an id is a person's, now or before a merge."""
    return await decisions.person(conn, person_id) is not None


async def persons_of(conn: AsyncConnection, person_id: str) -> Sequence[str]:
    """The person, and the ids that meant it before they were merged into this one."""
    found, left = [person_id], [person_id]
    while left:
        merged = [str(one.id) for one in await decisions.merged_into(conn, left.pop())]
        left += [one for one in merged if one not in found]
        found += left
    return list(dict.fromkeys(found))
