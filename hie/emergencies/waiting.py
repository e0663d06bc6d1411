"""Which accesses a patient is not told of yet: what of the trail waits with the notice."""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.emergencies import repository
from hie.emergencies.model import Emergency
from hie.emergencies.policy import LONGEST_WAIT_US, EmergencyPolicy


class Waiting:
    """Knows the tokens whose doings a patient's own log does not show yet.

    A notice waits where who reads the patient's mail may be the danger; the log of accesses, read
    with the patient's token or in the patient's place, must then not tell it sooner.
    """

    def __init__(self, policy: EmergencyPolicy) -> None:
        self._policy = policy

    async def tokens(
        self, conn: AsyncConnection, persons: Collection[str], now_us: int
    ) -> frozenset[str]:
        """Ids of tokens, as audit events name them."""
        recent = await repository.recent_of(conn, persons, now_us - LONGEST_WAIT_US)
        return frozenset(one.token_id for one in recent if self._is_waiting(one, now_us))

    def _is_waiting(self, one: Emergency, now_us: int) -> bool:
        cause = self._policy.causes.get(one.code)
        delay_us = cause.notice_after_us if cause else 0
        # What was asked and not opened has no notice: it waits as long as one would.
        return now_us < (one.notice_us or one.asked_us + delay_us)
