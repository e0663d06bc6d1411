"""What disclosures rest on: the reasons of the last look, kept until they are put on record."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from consent.model import Reason, ReasonKind
from hie.kernel.context import RequestContext
from hie.kernel.fhir import FhirJson

#: Requests whose reasons are remembered; each is put on record within the request.
MOST_REQUESTS: Final = 2_000


class Grounds:
    """By request and person, the reasons that permitted what leaves; the oldest are forgotten."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, int], dict[str, set[Reason]]] = OrderedDict()

    def keep(self, ctx: RequestContext, person_id: str, reasons: Iterable[Reason]) -> None:
        """Remember why something of a person may leave."""
        key = (ctx.request_id, ctx.now_us)
        self._found.setdefault(key, {}).setdefault(person_id, set()).update(reasons)
        if len(self._found) > MOST_REQUESTS:
            self._found.popitem(last=False)

    def told(self, ctx: RequestContext, person_id: str) -> FhirJson:
        """The reasons as an audit row says them.

        Returns:
            `grounds`: kinds of reasons; `consents`: `<id>/_history/<version>` of those that
            spoke. Either is left out where there are none.
        """
        reasons = self._found.get((ctx.request_id, ctx.now_us), {}).get(person_id, set())
        kinds = {r.kind.value for r in reasons if r.kind is not ReasonKind.DIRECTORY}
        consents = {f"{r.consent_id}/_history/{r.version}" for r in reasons if r.consent_id}
        said: FhirJson = {"grounds": sorted(kinds)} if kinds else {}
        return said | ({"consents": sorted(consents)} if consents else {})
