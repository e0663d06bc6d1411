"""Whether who asked once may still ask: rights that outlive a request, such as a subscription's.

What was revoked holds no more. What has expired goes on only where a system asked for itself:
a session's end is the end of what a person at a screen, or a patient, may see through it.
"""

from dataclasses import replace

from hie.auth.repository import TokenRepository
from hie.auth.service import OrganizationDirectory, StandIns
from hie.db import Database
from hie.kernel.clock import Clock
from hie.kernel.context import Caller


class Standing:
    """Looks at tokens after the request they came with."""

    def __init__(
        self, db: Database, directory: OrganizationDirectory, clock: Clock, stand_ins: StandIns
    ) -> None:
        self._db = db
        self._directory = directory
        self._clock = clock
        self._stand_ins = stand_ins
        self._tokens = TokenRepository()

    async def now(self, caller: Caller) -> Caller | None:
        """The caller with the rights it has now; None when it has none any more.

        Args:
            caller: as it was; its organisation's ancestors and feeds are looked up anew.
        """
        async with self._db.reading() as conn:
            token = await self._tokens.by_pk(conn, int(caller.token_id, 16))
        if token is not None and token.revoked_us is not None:
            return None
        is_over = token is None or not token.holds_at(self._clock.now_us())
        if is_over and not _is_for_itself(caller):
            return None
        organization = caller.organization
        sender = organization if caller.patient is None else None
        now = replace(
            caller,
            # In a role one acts at a screen: once that is left, nobody does.
            roles=frozenset() if is_over else caller.roles,
            grantees=self._directory.grantees(organization) if organization else frozenset(),
            sources=self._directory.sources_of(sender) if sender else frozenset(),
        )
        async with self._db.reading() as conn:
            return await self._stand_ins.held(conn, now, self._clock.now_us())

    async def bearer(self, token_id: str) -> Caller | None:
        """Who brings a token that is good now, as it says; None for any other. Opens nothing."""
        async with self._db.reading() as conn:
            token = await self._tokens.by_pk(conn, int(token_id, 16))
        if token is None or not token.holds_at(self._clock.now_us()):
            return None
        roles = frozenset(token.roles)
        return Caller(token_id=token_id, user=token.user, purpose=token.purpose, roles=roles)


def _is_for_itself(caller: Caller) -> bool:
    """Whether nobody but a system asks: no patient, no screen."""
    return caller.patient is None and all(scope.level == "system" for scope in caller.scopes)
