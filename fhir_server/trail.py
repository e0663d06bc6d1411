"""What the API asks of the audit trail."""

from typing import Protocol

from hie.accounting import Wanted
from hie.audit.account import Account
from hie.audit.search import Asked
from hie.kernel.context import RequestContext
from hie.trail import Page, Told


class AuditTrail(Protocol):
    """The trail as far as a caller may see it (`hie.trail`); reading it is on record, too."""

    async def search(self, ctx: RequestContext, asked: Asked, count: int, /) -> Page:
        """One page; FORBIDDEN for a token that opens no part of the trail."""
        ...

    async def read(self, ctx: RequestContext, name: str, /) -> Told:
        """One event; NOT_FOUND when it is none or not the caller's to see."""
        ...


class Accountings(Protocol):
    """Accountings of disclosures (`hie.accounting`)."""

    async def make(self, ctx: RequestContext, wanted: Wanted, /) -> Account:
        """The accounting, on record before it is given; NOT_FOUND for another's record."""
        ...
