"""Consents that a patient writes over FHIR, with the own token.

The portal is such a client. What a patient may not do here (delete, patch, write by a condition,
write about somebody else) is refused and put on record.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from typing import Final

from adapters.fhir.body import Limits, parse_body
from adapters.fhir.receive import Answer
from hie.consents.content import bare, relative, superseded_by
from hie.consents.model import Act
from hie.consents.scan import read_scan
from hie.flow.consent_operations import (
    FILE,
    OPERATIONS,
    REVOKE,
    VERIFY,
    filed,
    names_of,
    parameters,
    value,
)
from hie.flow.consent_parts import Parts
from hie.flow.consent_rules import CONSENT, Kept, Wish, require_word
from hie.flow.consent_verdicts import ConsentVerdicts
from hie.flow.consents import ConsentDesk
from hie.flow.placement import Placement
from hie.kernel.clock import SECOND_US
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson, rewrite_references
from hie.kernel.ids import PersonId

#: Who acts, in the words of an act; who does so in the patient's place stands in the note.
PATIENT: Final = "patient"
#: Characters kept of a reason.
_LONGEST: Final = 1_000
_FAULTY: Final = frozenset({"error", "fatal"})
_IF_MATCH: Final = re.compile(r'^(?:W/)?"([0-9]{1,9})"$')
_REFUSED: Final = {
    "delete": "a Consent is never deleted: revoke it, by `status` `inactive` or `$revokeConsent`",
    "patch": "a Consent is written whole: send all of it with `PUT`",
}


class PatientConsents:
    """Takes the Consents of patients."""

    def __init__(
        self, parts: Parts, desk: ConsentDesk, verdicts: ConsentVerdicts, limits: Limits
    ) -> None:
        self._parts = parts
        self._verdicts = verdicts
        self._desk = desk
        self._limits = limits

    async def write(
        self,
        ctx: RequestContext,
        interaction: str,
        consent_id: str | None,
        body: bytes,
        headers: Mapping[str, str],
    ) -> Answer:
        """Create, update or an operation; the answer, after its commit.

        Raises:
            HieError: nothing is stored but the refused attempt.
        """
        action, subtype = ("C", "create") if consent_id is None else ("U", "update")
        own = ctx.caller.patient or ""
        async with self._desk.audited(ctx, action, subtype, own, consent_id or ""):
            person = await self.person_of(ctx)
            _require_written_so(interaction, consent_id, headers)
            told = self._told(interaction, body)
            version = version_of(headers.get("If-Match", ""))
        if interaction == VERIFY:
            return await self._verified(ctx, person, consent_id or "", told)
        resource, papers, noted = await self._asked(ctx, person, interaction, consent_id, told)
        wish = Wish(
            person=person,
            resource=resource,
            actor=PATIENT,
            is_trusted=True,
            consent_id=consent_id,
            version=version,
            supersedes=superseded_by(resource),
            papers=papers,
            note={**noted, **told_by(ctx.caller)},
            key=request_key(headers, body) if consent_id is None else (),
        )
        return answered(await self._desk.keep(ctx, wish), is_new=consent_id is None)

    def _told(self, interaction: str, body: bytes) -> FhirJson:
        """The body: a Consent, or the Parameters of an operation."""
        read = parameters if interaction in OPERATIONS else parse_body
        return relative(read(body, self._limits), self._parts.bases)

    async def _asked(
        self,
        ctx: RequestContext,
        person: PersonId,
        interaction: str,
        consent_id: str | None,
        told: FhirJson,
    ) -> tuple[FhirJson, tuple[Placement, ...], dict[str, str]]:
        """The Consent as it is to be, its papers, and what was said with it."""
        action, subtype = ("C", "create") if consent_id is None else ("U", "update")
        async with self._desk.audited(ctx, action, subtype, person, consent_id or ""):
            if interaction == REVOKE:
                async with self._parts.db.reading() as conn:
                    stored = await self._desk.own(conn, person, consent_id or "")
                ended = {**bare(stored.resource), "status": "inactive"}
                return ended, (), _reason_in(told)
            if interaction == FILE:
                consent, papers = filed(told)
                return (*self._named(consent, papers), {})
            if consent_id is not None and told.get("id") != consent_id:
                text = "expected the id that the address names"
                issue = Issue(text=text, code="value", expression=("Consent.id",))
                raise HieError(Category.INVALID, text, [issue])
            return told, (), {}

    def _named(
        self, consent: FhirJson, papers: Sequence[FhirJson]
    ) -> tuple[FhirJson, tuple[Placement, ...]]:
        """The papers under ids of the hub, and every name of theirs changed with them."""
        number = str(self._parts.acts.next_id())
        ids: dict[str, str] = {}
        placed = []
        for position, each in enumerate(papers):
            content = bare(each)
            _require_paper(content)
            faults = [i for i in self._parts.verdict(content, "").issues if i.severity in _FAULTY]
            if faults:
                raise HieError(Category.BUSINESS_RULE, faults[0].text, faults)
            kind, name = str(each["resourceType"]), str(each.get("id", ""))
            hub_id = self._parts.ring.blind("id", "filed", number, str(position))
            if name:
                ids |= dict.fromkeys(names_of(kind, name), f"{kind}/{hub_id}")
            placed.append((kind, hub_id, content))

        def changed(reference: str) -> str:
            return ids.get(reference, reference)

        return rewrite_references(consent, changed), tuple(
            Placement(type=kind, id=hub_id, resource=rewrite_references(each, changed))
            for kind, hub_id, each in placed
        )

    async def _verified(
        self, ctx: RequestContext, person: PersonId, consent_id: str, told: FhirJson
    ) -> Answer:
        """The patient's word about a Consent that another recorded; the Consent as it is."""
        is_verified = value(told, "verified") is not False
        async with self._desk.audited(ctx, "U", "update", person, consent_id):
            async with self._parts.db.reading() as conn:
                stored = await self._desk.own(conn, person, consent_id)
                names = [(CONSENT, one) for one in superseded_by(stored.resource)]
                others = (await self._parts.repository.load(conn, names)).values()
            withheld = ctx.caller.withheld_mask
            require_word(self._parts, stored, withheld, is_verified=is_verified, replaced=others)
        await self._verdicts.judge(
            ctx,
            consent_id,
            Act.VERIFIED if is_verified else Act.REJECTED,
            actor=PATIENT,
            note={**told_by(ctx.caller), **_reason_in(told)},
            person=person,
        )
        async with self._parts.db.reading() as conn:
            return Answer(status=200, body=await self._parts.body(conn, person, consent_id))

    async def person_of(self, ctx: RequestContext) -> PersonId:
        """The person whose token it is; what a proxy may say, the desk judges by each Consent.

        Raises:
            HieError: FORBIDDEN for a token that opens nobody's own record.
        """
        if ctx.caller.patient is None:
            text = "only a patient's own token, or a registered source, writes a Consent"
            raise HieError(Category.FORBIDDEN, text, [Issue(text=text, code="forbidden")])
        async with self._parts.db.reading() as conn:
            return await self._parts.mpi.resolve(conn, ctx.caller.patient)


def told_by(caller: Caller) -> dict[str, str]:
    """Who acts in the patient's place, to be kept sealed; nothing where it is the patient."""
    is_own = not caller.user or caller.user == f"Patient/{caller.patient}"
    return {} if is_own else {"by": str(caller.user)}


def request_key(headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
    """What makes a repeated request the same: the client's own id of it, and its content."""
    sent = headers.get("X-Request-Id", "")
    return ("request", sent, hashlib.sha256(body).hexdigest()) if sent else ()


def version_of(sent: str) -> int | None:
    """The version that `If-Match` names; None without one.

    Raises:
        HieError: INVALID for what names none.
    """
    if not sent:
        return None
    found = _IF_MATCH.match(sent.strip())
    if found is None:
        text = '`If-Match`: expected one ETag, `W/"1"`'
        raise HieError(Category.INVALID, text, [Issue(text=text, code="value")])
    return int(found[1])


def answered(kept: Kept, *, is_new: bool) -> Answer:
    """What a write is answered with; `Location` below the base."""
    location = f"{CONSENT}/{kept.consent_id}/_history/{kept.version}"
    return Answer(
        status=201 if is_new else 200,
        body=kept.body,
        headers={
            "ETag": f'W/"{kept.version}"',
            "Location": location,
            "Last-Modified": formatdate(kept.last_updated_us / SECOND_US, usegmt=True),
        },
    )


def _reason_in(told: FhirJson) -> dict[str, str]:
    """The reason that an operation is given, if any."""
    reason = str(value(told, "reason") or "")[:_LONGEST]
    return {"reason": reason} if reason else {}


def _require_paper(resource: FhirJson) -> None:
    """Refuse a Binary that is not what it says.

    Raises:
        HieError: see `read_scan`.
    """
    if resource.get("resourceType") == "Binary":
        told = (str(resource.get("contentType", "")), str(resource.get("data", "")))
        read_scan(*told, "", "Binary")


def _require_written_so(
    interaction: str, consent_id: str | None, headers: Mapping[str, str]
) -> None:
    """Refuse ways of writing that a patient's Consent does not take.

    Raises:
        HieError: UNSUPPORTED.
    """
    text = _REFUSED.get(interaction)
    if interaction == "update" and consent_id is None:
        text = "expected the id of the Consent in the address"
    if text is None and headers.get("If-None-Exist"):
        text = "`If-None-Exist` is not taken here: send an `X-Request-Id` of your own"
    if text is not None:
        raise HieError(Category.UNSUPPORTED, text, [Issue(text=text, code="not-supported")])
