"""Which persons a token opens in an emergency: asked anew at every request."""

from collections.abc import Callable, Collection
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.emergencies import repository
from hie.emergencies.model import Emergency
from hie.kernel.context import Caller
from hie.kernel.ids import OrganizationId, PersonId


class Holding:
    """Looks up what a caller opened and may still see.

    Args:
        purposes: of emergencies: they open nobody's record by themselves.
        is_privileged: whether an organisation may break the glass, as its files say now.
    """

    def __init__(
        self, purposes: Collection[str], is_privileged: Callable[[OrganizationId], bool]
    ) -> None:
        self.purposes = frozenset(purposes)
        self.is_privileged = is_privileged

    async def held(self, conn: AsyncConnection, caller: Caller, now_us: int) -> Caller:
        """The caller with the persons that its emergency accesses open now.

        Bound to token, organisation and user; nothing is kept from one request to the next, so
        that an access ends when its time does, or when somebody ends it.
        """
        organization = caller.organization
        if caller.purpose not in self.purposes or organization is None or caller.patient:
            return caller
        if not self.is_privileged(organization):
            return caller
        persons = await repository.opened_persons(
            conn,
            token_id=caller.token_id,
            organization=organization,
            user=caller.user or "",
            now_us=now_us,
        )
        return replace(caller, break_glass=frozenset(PersonId(each) for each in persons))

    async def end_about(
        self, conn: AsyncConnection, persons: Collection[PersonId], now_us: int
    ) -> list[Emergency]:
        """End what is open to persons whose records changed hands; else a merge would widen it."""
        return await repository.end_about(conn, persons, now_us)
