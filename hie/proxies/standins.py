"""Callers who look at a record in its patient's place, held to what they may as of now."""

from dataclasses import replace
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.context import Caller
from hie.kernel.errors import Category, HieError
from hie.proxies import repository
from hie.proxies.judge import is_outgrown, judge, narrowed
from hie.proxies.model import Because, Human, Relationship, Verdict, is_proxy, relationship_of
from hie.proxies.policy import Policy


class Humans(Protocol):
    """What is known of the two persons of a relationship (`hie.flow.humans`)."""

    async def of(self, conn: AsyncConnection, found: Relationship, /) -> Human:
        """Birth dates, and whether the two are still whom somebody vouched for."""
        ...


class StandIns:
    """Looks relationships up at each request; nothing is kept."""

    def __init__(self, policy: Policy, humans: Humans) -> None:
        self.policy = policy
        self._humans = humans

    async def verdict(self, conn: AsyncConnection, found: Relationship, now_us: int) -> Verdict:
        """Whether a relationship opens anything now, and what or why not."""
        return judge(found, await self._humans.of(conn, found), self.policy, now_us)

    async def refuse_outgrown(
        self, conn: AsyncConnection, found: Relationship, now_us: int, *, is_new: bool
    ) -> None:
        """Refuse a relationship of minors to somebody who is of age: it would open nothing.

        Args:
            conn: an open connection.
            found: as it would be.
            now_us: the time of the request.
            is_new: it is to be recorded; else it is to be changed, and may be taken away alone.

        Raises:
            HieError: BUSINESS_RULE, saying what can be done instead.
        """
        human = await self._humans.of(conn, found)
        if is_outgrown(found, human, self.policy, now_us):
            kind, adult = self.policy.kinds[found.kind], self.policy.adult
            rule = f"{self.policy.title}: ends at {adult} years"
            text = f"`kind`: the patient is of age, and `{kind.name}` is of minors ({rule})"
            alone = "" if is_new else ", so that it can only be ended or stopped; instead"
            raise HieError(Category.BUSINESS_RULE, f"{text}{alone}: {kind.instead}")

    async def held(self, conn: AsyncConnection, caller: Caller, now_us: int) -> Caller | None:
        """The caller with the rights of now: less in another's place, None for no right at all.

        Whoever asks for oneself or for an organisation stays as it is.
        """
        relationship = relationship_of(caller)
        if not relationship:
            return caller
        if not is_proxy(caller):
            return None  # a relationship opens one patient's record, and nothing beside it
        found = await repository.find(conn, relationship)
        if found is None or found.person != caller.patient:
            return None
        verdict = await self.verdict(conn, found, now_us)
        if verdict.rights is None:
            return None
        return replace(
            caller,
            scopes=narrowed(caller.scopes, verdict.rights),
            withheld_mask=verdict.rights.withheld_mask,
            organization=None,
            grantees=frozenset(),
            sources=frozenset(),
            is_steward=False,
        )


def explained(verdict: Verdict) -> str:
    """Why a relationship opens nothing, for staff; "" where it opens something."""
    return _WORDS[verdict.because] if verdict.because else ""


_WORDS = {
    Because.UNKNOWN: "its kind or scope is none of the policy any more",
    Because.ENDED: "it was ended",
    Because.NOT_ACCEPTED: "whoever was appointed has not accepted yet",
    Because.NOT_YET: "it has not begun",
    Because.OVER: "its period is over",
    Because.STOPPED: "a privacy officer stopped it",
    Because.NO_CUSTODY: "a court order ended the rights",
    Because.NO_DOCUMENT: "the paper it needs is not on file",
    Because.BIRTH_DATE: "the patient's birth date is not known",
    Because.OF_AGE: "the patient is of age",
    Because.NOT_OF_AGE: "the patient is not of age, as far as is known",
    Because.AWAITS_REVIEW: "records of one of the two persons moved: look at who they are again",
}
