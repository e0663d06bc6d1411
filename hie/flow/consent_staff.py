"""Consents that staff record from paper, revoke and put back in force.

A clerk's word is no verification: what would widen access waits for a privacy officer. What was
signed on paper is the patient's own word, whoever types it in.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.consents.content import bare, superseding
from hie.consents.forms import Form, Signature, filled
from hie.consents.model import is_patients_word
from hie.consents.scan import Scan
from hie.flow.consent_parts import Parts
from hie.flow.consent_rules import CONSENT, Kept, Wish
from hie.flow.consents import ConsentDesk
from hie.flow.placement import Placement
from hie.kernel.clock import instant
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import OrganizationId, PersonId, SourceRecordId
from hie.store.loader import Stored

_AREA: Final = "privacy"
_OFFICER: Final = "officer"
#: Kinds of fields whose values name organisations.
_NAMED: Final = frozenset({"organizations", "senders"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """What staff were handed.

    Attributes:
        form: name of the form; empty for a Consent as it is.
        values: what was filled in, by field.
        resource: the Consent, where no form is used; an officer's alone.
        scan: the paper as a file.
        record: id of the record it is filed under; empty = the person's first.
    """

    form: str = ""
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    resource: FhirJson | None = None
    signature: Signature = Signature()  # noqa: RUF009 - frozen, and empty
    scan: Scan | None = None
    supersedes: tuple[str, ...] = ()
    record: str = ""
    reason: str = ""


def is_officer(caller: Caller) -> bool:
    """Whether a privacy officer asks."""
    return any((s.resource, s.actions) == (_AREA, _OFFICER) for s in caller.scopes)


def staff_of(caller: Caller) -> str:
    """Who acts, in the words of an act."""
    return f"{_OFFICER if is_officer(caller) else 'clerk'}:{caller.user or ''}"


class StaffConsents:
    """Takes what staff bring."""

    def __init__(self, parts: Parts, desk: ConsentDesk, forms: Mapping[str, Form]) -> None:
        self._parts = parts
        self._desk = desk
        self.forms = forms

    async def record(self, ctx: RequestContext, named: str, paper: Paper) -> Kept:
        """A new Consent about a person.

        Raises:
            HieError: NOT_FOUND for nobody; INVALID, one issue per field; FORBIDDEN for what
                needs an officer.
        """
        async with (
            self._desk.audited(ctx, "C", "create", "", ""),
            self._parts.db.reading() as conn,
        ):
            person = await self._parts.mpi.resolve(conn, PersonId(named))
            resource = await self._resource(conn, ctx, person, paper)
        papers, resource = self._filed(paper, resource, person, ctx.now_us)
        wish = Wish(
            person=person,
            resource=superseding(resource, paper.supersedes),
            actor=staff_of(ctx.caller),
            is_trusted=is_officer(ctx.caller),
            is_patients_word=bool(paper.signature.by),
            record=SourceRecordId(paper.record) if paper.record else None,
            papers=papers,
            supersedes=paper.supersedes,
            note=_note(paper),
        )
        return await self._desk.keep(ctx, wish)

    async def revoke(self, ctx: RequestContext, consent_id: str, paper: Paper) -> Kept:
        """The version in which a Consent no more holds; it is kept for ever."""
        return await self._turned(ctx, consent_id, paper, "inactive")

    async def restore(self, ctx: RequestContext, consent_id: str, paper: Paper) -> Kept:
        """A mistaken revocation taken back, by a new version.

        Raises:
            HieError: CONFLICT where it was not revoked, or something took its place.
        """
        return await self._turned(ctx, consent_id, paper, "active")

    async def _turned(
        self, ctx: RequestContext, consent_id: str, paper: Paper, status: str
    ) -> Kept:
        async with (
            self._desk.audited(ctx, "U", "update", "", consent_id),
            self._parts.db.reading() as conn,
        ):
            stored = await self._stored(conn, consent_id)
        person = PersonId(str(stored.person_id))
        papers, resource = self._filed(paper, bare(stored.resource), person, ctx.now_us)
        wish = Wish(
            person=person,
            resource={**resource, "status": status},
            actor=staff_of(ctx.caller),
            is_trusted=is_officer(ctx.caller),
            consent_id=consent_id,
            is_patients_word=is_patients_word(stored.source_id),
            papers=papers,
            note=_note(paper),
        )
        return await self._desk.keep(ctx, wish)

    async def _stored(self, conn: AsyncConnection, consent_id: str) -> Stored:
        found = await self._parts.repository.load(conn, [(CONSENT, consent_id)])
        stored = found.get((CONSENT, consent_id))
        if stored is None or stored.is_deleted or stored.person_id is None:
            raise HieError(Category.NOT_FOUND, "there is no such Consent")
        return stored

    async def _resource(
        self, conn: AsyncConnection, ctx: RequestContext, person: PersonId, paper: Paper
    ) -> FhirJson:
        """The Consent that was brought: a form filled in, or an officer's own."""
        if paper.resource is not None and not paper.form:
            if not is_officer(ctx.caller):
                text = "a Consent as FHIR is a privacy officer's to record; use a form"
                raise HieError(Category.FORBIDDEN, text)
            return paper.resource
        missing = [
            (not paper.signature.by, "#/body/signature/by", "expected who signed the form"),
            (not paper.signature.on, "#/body/signature/on", "expected the day it was signed"),
            (
                paper.scan is None and not is_officer(ctx.caller),
                "#/body/scan",
                "expected the signed form as a file",
            ),
        ]
        issues = [
            Issue(text=text, code="required", expression=(place,))
            for is_missing, place, text in missing
            if is_missing
        ]
        if issues and paper.form in self.forms:
            raise HieError(Category.INVALID, issues[0].text, issues)
        return await self.consent_of(conn, person, paper)

    async def consent_of(self, conn: AsyncConnection, person: PersonId, paper: Paper) -> FhirJson:
        """The Consent that a filled-in form is.

        Raises:
            HieError: INVALID, one issue per field.
        """
        form = self.forms.get(paper.form)
        if form is None:
            text = f"expected one of {', '.join(sorted(self.forms))}"
            issue = Issue(text=text, code="value", expression=("#/body/form",))
            raise HieError(Category.INVALID, f"`form`: {text}", [issue])
        names = await self._names(conn, form, paper.values)
        return filled(
            form,
            paper.values,
            patient=f"Patient/{person}",
            signature=paper.signature,
            resolve=names.get,
        )

    async def _names(
        self, conn: AsyncConnection, form: Form, values: Mapping[str, Sequence[str]]
    ) -> dict[str, FhirJson]:
        """The organisations that a form names, as references."""
        asked = [v for f in form.fields if f.kind in _NAMED for v in values.get(f.name, ())]
        ids: dict[str, str] = {}
        for named in asked:
            known = self._parts.directory.resolve_organization(named)
            ids[named] = known or OrganizationId(named.removeprefix("Organization/"))
        wanted = {("Organization", one) for one in ids.values()}
        found = await self._parts.repository.load(conn, wanted)
        references = {}
        for named, organization in ids.items():
            stored = found.get(("Organization", organization))
            if stored is not None and not stored.is_deleted:
                references[named] = {
                    "reference": f"Organization/{organization}",
                    "display": str(stored.resource.get("name", "")) or organization,
                }
        return references

    def _filed(
        self, paper: Paper, resource: FhirJson, person: str, now_us: int
    ) -> tuple[tuple[Placement, ...], FhirJson]:
        """The scan as a document and its content, and the Consent that rests on it."""
        if paper.scan is None:
            return (), resource
        number = str(self._parts.acts.next_id())
        document, content = (
            self._parts.ring.blind("id", "scan", number, kind) for kind in ("paper", "file")
        )
        binary = {
            "resourceType": "Binary",
            "contentType": paper.scan.media_type,
            "data": base64.b64encode(paper.scan.content).decode(),
        }
        about = _document(paper, paper.scan, person, content, now_us)
        resource = {**resource, "sourceReference": {"reference": f"DocumentReference/{document}"}}
        return (
            Placement(type="DocumentReference", id=document, resource=about),
            Placement(type="Binary", id=content, resource=binary),
        ), resource


def _note(paper: Paper) -> dict[str, str]:
    told = {
        "reason": paper.reason,
        "form": paper.form,
        "signed_by": paper.signature.by,
        "signed_on": paper.signature.on,
        "witness": paper.signature.witness,
        "scan": paper.scan.title if paper.scan else "",
    }
    return {name: text for name, text in told.items() if text}


def _document(paper: Paper, scan: Scan, person: str, content: str, now_us: int) -> FhirJson:
    title = scan.title or "Signed consent form"
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {
            "coding": [
                {
                    "system": "http://loinc.org",
                    "code": "64292-6",
                    "display": "Release of information consent",
                }
            ],
            "text": title,
        },
        "subject": {"reference": f"Patient/{person}"},
        "date": instant(now_us),
        "content": [
            {
                "attachment": {
                    "contentType": scan.media_type,
                    "url": f"Binary/{content}",
                    "size": len(scan.content),
                    "title": title,
                    **({"creation": paper.signature.on} if paper.signature.on else {}),
                }
            }
        ],
    }
