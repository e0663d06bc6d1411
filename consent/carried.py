"""What must be told beside a disclosure: notices of the law, and the consents relied on.

The notice stands on each resource (`consent.notices`), wherever it goes. Beside it, an outcome in
Bundles and a header tell it once for the answer; the outcome names the consents that permitted
what carries it, for 42 CFR 2.32 asks for the notice and for the scope of the consent. It comes
from what leaves and from nothing else, so it says nothing of what is hidden.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from consent.model import Decision, Obligation
from hie.kernel.context import RequestContext
from hie.kernel.errors import Issue

#: Requests whose obligations are remembered; each is told within the request.
MOST_REQUESTS: Final = 2_000
#: The header beside an answer: codes of `config/consent/hard-rules.toml`, with their texts.
HEADER: Final = "X-Disclosure-Notice"
#: Consents that one notice names.
_MOST_NAMED: Final = 20


class Inner(Protocol):
    """Other notices of an answer (`hie.feeds.partial`)."""

    async def of(self, ctx: RequestContext, /) -> Sequence[Issue]:
        """As issues of an outcome."""
        ...


class Carried:
    """By request, what must leave with the answer; the oldest are forgotten."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, str, int], dict[Obligation, set[str]]] = OrderedDict()

    def keep(self, ctx: RequestContext, decision: Decision) -> None:
        """Remember what one permitted resource must carry, and whose consent permitted it."""
        if not decision.obligations:
            return
        known = self._found.setdefault(_key(ctx), {})
        consents = {
            f"Consent/{reason.consent_id}/_history/{reason.version}"
            for reason in decision.reasons
            if reason.consent_id
        }
        for obligation in decision.obligations:
            known.setdefault(obligation, set()).update(consents)
        if len(self._found) > MOST_REQUESTS:
            self._found.popitem(last=False)

    def issues(self, ctx: RequestContext) -> tuple[Issue, ...]:
        """One for each notice: its text, and the consents that were relied on."""
        found = self._found.get(_key(ctx), {})
        return tuple(
            Issue(text=_told(one, found[one]), code="informational", severity="information")
            for one in sorted(found, key=lambda one: one.code)
        )

    def headers(self, ctx: RequestContext) -> Mapping[str, str]:
        """The same without the consents, as a header; none where nothing must be told."""
        found = self._found.get(_key(ctx))
        if not found:
            return {}
        told = (f'{one.code}; text="{one.text}"' for one in sorted(found, key=lambda o: o.code))
        return {HEADER: ", ".join(told)}


class Told:
    """Every notice of an answer: what it must carry, and what else there is to say.

    Args:
        carried: filled by the last look at what leaves.
        inner: the other notices.
    """

    def __init__(self, carried: Carried, inner: Inner) -> None:
        self._carried = carried
        self._inner = inner

    async def of(self, ctx: RequestContext) -> Sequence[Issue]:
        """As issues of an outcome, what must be told first."""
        return (*self._carried.issues(ctx), *await self._inner.of(ctx))

    def headers(self, ctx: RequestContext) -> Mapping[str, str]:
        """As headers of the response."""
        return self._carried.headers(ctx)


def _key(ctx: RequestContext) -> tuple[str, str, int]:
    return (ctx.caller.token_id, ctx.request_id, ctx.now_us)


def _told(obligation: Obligation, consents: Iterable[str]) -> str:
    named = sorted(consents)[:_MOST_NAMED]
    relied = f" Disclosed by {', '.join(named)}." if named else ""
    return f"{obligation.text}{relied}"
