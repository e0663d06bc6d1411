"""FHIR writes as the HTTP edge hands them over: from a caller to the source it writes as."""

from collections.abc import Mapping
from urllib.parse import urlencode

from adapters.fhir.receive import Answer, FhirCall, FhirReceiver
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import SourceId

_METHODS = {
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "transaction": "POST",
}
#: Preferences that change what is answered with; a representation of one resource is usual.
_RETURNS = {
    True: frozenset({"representation", "operationoutcome"}),
    False: frozenset({"operationoutcome"}),
}


class SourceWriter:
    """Takes writes, journals them and carries them out.

    Args:
        base: the FHIR base address, without a slash at the end; makes Locations absolute.
    """

    def __init__(self, receiver: FhirReceiver, base: str) -> None:
        self._receiver = receiver
        self._base = base

    async def write(  # noqa: PLR0913, PLR0917 - the edge's words
        self,
        ctx: RequestContext,
        interaction: str,
        type_name: str | None,
        resource_id: str | None,
        body: bytes,
        headers: Mapping[str, str],
        query: tuple[tuple[str, str], ...] = (),
        returns: str = "",
    ) -> Answer:
        """Process a body; the answer, after its commit.

        Raises:
            HieError: with one Issue per fault; nothing of the write is stored.
        """
        target = "/".join(part for part in (type_name, resource_id) if part)
        call = FhirCall(
            method=_METHODS[interaction],
            target=f"{target}?{urlencode(query)}" if query else target,
            body=body,
            content_type=headers.get("Content-Type", "application/fhir+json"),
            request_id=headers.get("X-Request-Id", ""),
            if_none_exist=headers.get("If-None-Exist", ""),
            if_match=headers.get("If-Match", ""),
            if_none_match=headers.get("If-None-Match", ""),
            returns=returns if returns in _RETURNS[not target] else "",
        )
        answer = await self._receiver.take(call, source_of(ctx.caller), ctx)
        located = dict(answer.headers)
        if "Location" in located:
            located["Location"] = f"{self._base}/{located['Location']}"
        return Answer(status=answer.status, headers=located, body=answer.body)


def source_of(caller: Caller) -> SourceId:
    """The feed a caller writes as: the first of its organisation's by id.

    Raises:
        HieError: FORBIDDEN when the organisation has none.
    """
    if not caller.sources:
        text = "only a registered source may write; this token's organisation has no feed"
        raise HieError(Category.FORBIDDEN, text)
    return min(caller.sources)
