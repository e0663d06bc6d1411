"""FHIR writes as the HTTP edge hands them over: from a caller to the source it writes as."""

from collections.abc import Mapping
from urllib.parse import urlencode

from adapters.fhir.body import Limits
from adapters.fhir.receive import Answer, FhirCall, FhirReceiver
from hie.flow.consent_office import ConsentOffice
from hie.flow.consent_operations import (
    FILE,
    OPERATIONS,
    REVOKE,
    as_patch,
    as_transaction,
    parameters,
)
from hie.flow.consent_questions import QUESTIONS
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
        office: takes the Consents that patients write, and answers what they ask about them.
    """

    def __init__(
        self, receiver: FhirReceiver, base: str, office: ConsentOffice | None = None
    ) -> None:
        self._receiver = receiver
        self._base = base
        self._office = office

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
        office = self._office
        if office is not None and interaction in QUESTIONS:
            return await office.questions.answer(ctx, interaction, resource_id or "", body)
        if office is not None and ctx.caller.patient is not None and type_name == "Consent":
            kept = await office.patients.write(ctx, interaction, resource_id, body, headers)
            return self._located(kept)
        if interaction in OPERATIONS:
            return await self._operated(ctx, interaction, resource_id or "", body, headers)
        target = "/".join(part for part in (type_name, resource_id) if part)
        call = FhirCall(
            method=_METHODS[interaction],
            target=f"{target}?{urlencode(query)}" if query else target,
            body=body,
            content_type=headers.get("Content-Type", "application/fhir+json"),
            request_id=headers.get("X-Request-Id") or ctx.request_id,
            if_none_exist=headers.get("If-None-Exist", ""),
            if_match=headers.get("If-Match", ""),
            if_none_match=headers.get("If-None-Match", ""),
            returns=returns if returns in _RETURNS[not target] else "",
        )
        return self._located(await self._receiver.take(call, source_of(ctx.caller), ctx))

    async def _operated(
        self,
        ctx: RequestContext,
        interaction: str,
        resource_id: str,
        body: bytes,
        headers: Mapping[str, str],
    ) -> Answer:
        """An operation on a source's Consent: the write it stands for.

        Raises:
            HieError: FORBIDDEN for a verification, which is the patient's or an officer's.
        """
        told = parameters(body, Limits())
        if interaction == FILE:
            return await self.write(
                ctx, "transaction", None, None, as_transaction(told), headers, (), "representation"
            )
        if interaction == REVOKE:
            patch, more = as_patch()
            return await self.write(
                ctx, "patch", "Consent", resource_id, patch, {**headers, **more}
            )
        text = "a Consent is verified by the patient or a privacy officer"
        raise HieError(Category.FORBIDDEN, text)

    def _located(self, answer: Answer) -> Answer:
        """The answer with an absolute address."""
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
