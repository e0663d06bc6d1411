"""What an emergency access was used for: types and numbers, by the audit trail."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.search import Asked, AuditSearch
from hie.emergencies.model import Emergency

_PAGE: Final = 500
#: Disclosures of one access that are counted; beyond, the answer says so.
MOST: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What left of a person through one access.

    Attributes:
        requests: disclosures of the person to its token while it was open.
        resources: how many resources left, by type, each counted once.
        is_cut: there were more requests than are counted.
    """

    requests: int = 0
    resources: Mapping[str, int]
    is_cut: bool = False


async def seen_by(
    conn: AsyncConnection, search: AuditSearch, access: Emergency, now_us: int
) -> Seen:
    """What the trail says left while an access was open."""
    if access.opened_us is None:
        return Seen(resources={})
    asked = Asked(
        persons=frozenset({access.person_id}),
        organizations=frozenset({access.organization}),
        since_us=access.opened_us,
        until_us=access.end_at(now_us) + 1,
        keep=lambda record: record.token_id == access.token_id and "shown" in record.detail,
    )
    named: dict[str, set[str]] = {}
    requests, place = 0, None
    while requests < MOST:
        page = await search.page(conn, replace(asked, after=place), _PAGE)
        for row in page.rows:
            requests += 1
            for _, kind, _, ids in row.record.detail["shown"]:
                named.setdefault(kind, set()).update(ids)
        place = page.next_after
        if place is None:
            break
    resources = {kind: len(ids) for kind, ids in sorted(named.items())}
    return Seen(requests=requests, resources=resources, is_cut=place is not None)
