"""Consents: forms and papers, verification, revocation, receipts."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hie.consents import receipt as paper_receipt
from hie.consents.forms import Signature
from hie.consents.model import Act
from hie.consents.scan import MOST_BYTES, TYPES, read_scan
from hie.flow.consent_staff import Paper, staff_of
from hie.flow.receipts import MEDIA_TYPE
from hie.kernel.clock import SECOND_US
from hie.kernel.errors import Category, HieError, Issue
from hie.staff.edge import LONGEST_ID, Edge
from hie.staff.model import LIST, NUMBER, OBJECT, OBJECTS, Answer, Call, Field, Needs, Route
from hie.staff.privacy.consent_render import form_told, kept_told, shown_told, version_told

_SECTION: Final = "Consents"
_DAY_US: Final = 24 * 3600 * SECOND_US
#: How far the earliest time zone is ahead of UTC.
_AHEAD_US: Final = 14 * 3600 * SECOND_US
#: Base64 of the largest scan, and the rest of the body.
_PAPER_BYTES: Final = MOST_BYTES * 4 // 3 + 256 * 1024
_VERDICTS: Final = {"verify": Act.VERIFIED, "reject": Act.REJECTED}
_MOST_ENDING: Final = 200

_REASON: Final = Field(name="reason", text="why, in your own words; sealed", most=1_000)
_WHY: Final = Field(
    name="reason", text="why, in your own words; sealed", is_required=True, most=1_000
)
_SIGNATURE: Final = Field(
    name="signature",
    text="of the paper",
    kind=OBJECT,
    fields=(
        Field(name="by", text="who signed, as on the paper; sealed", default=""),
        Field(name="on", text="the day, `2026-01-31`", most=32, default=""),
        Field(name="witness", text="who saw it; sealed", default=""),
    ),
)
_SCAN: Final = Field(
    name="scan",
    text="the paper as a file",
    kind=OBJECT,
    fields=(
        Field(name="media_type", text="its type", is_required=True, choices=TYPES),
        Field(name="content", text="base64", is_required=True, most=_PAPER_BYTES),
        Field(name="title", text="what people call it", default=""),
    ),
)
_PAPER: Final = (
    Field(name="form", text="name of a form", default=""),
    Field(
        name="fields",
        text="what was filled in",
        kind=OBJECTS,
        most=20,
        default=[],
        fields=(
            Field(name="name", text="of the field", is_required=True),
            Field(
                name="values",
                text="an organization as `system|value` or id, a code, a date",
                kind=LIST,
                is_required=True,
                most=50,
            ),
        ),
    ),
    Field(name="resource", text="a FHIR Consent instead of a form; officers only", kind=OBJECT),
    _SIGNATURE,
    _SCAN,
    Field(name="supersedes", text="Consents it replaces", kind=LIST, most=20, default=[]),
    Field(name="record", text="the record it is filed under", most=LONGEST_ID, default=""),
    _REASON,
)


async def forms(edge: Edge, _: Call) -> Answer:
    """The forms there are."""
    listed = [form_told(one) for _, one in sorted(edge.office.staff.forms.items())]
    return Answer(content={"forms": listed})


async def listed(edge: Edge, call: Call) -> Answer:
    """A person's Consents with what they come to."""
    person, found = await edge.office.list.of_person(call.ctx, call.ids["id"])
    return Answer(content={"person": person, "consents": [shown_told(one) for one in found]})


async def waiting(edge: Edge, call: Call) -> Answer:
    """Consents that await a verification."""
    found = await edge.office.list.waiting(call.ctx)
    return Answer(content={"person": None, "consents": [shown_told(one) for one in found]})


async def ending(edge: Edge, call: Call) -> Answer:
    """Consents that end within some days."""
    until_us = call.ctx.now_us + call.args["days"] * _DAY_US
    found = await edge.office.list.ending(call.ctx, until_us, _MOST_ENDING)
    return Answer(content={"person": None, "consents": [shown_told(one) for one in found]})


async def one(edge: Edge, call: Call) -> Answer:
    """A Consent, what was done about it, and its FHIR."""
    found = await edge.office.list.one(call.ctx, call.ids["id"])
    versions = await edge.office.list.versions(found.stored.id)
    content = {
        "consent": shown_told(found),
        "versions": [version_told(each) for each in versions],
        "resource": found.stored.resource,
    }
    return Answer(content=content)


async def record(edge: Edge, call: Call) -> Answer:
    """A new Consent about a person."""
    return kept_told(await edge.office.staff.record(call.ctx, call.ids["id"], _paper(call)))


async def revoke(edge: Edge, call: Call) -> Answer:
    """The version in which a Consent no more holds."""
    return kept_told(await edge.office.staff.revoke(call.ctx, call.ids["id"], _paper(call)))


async def restore(edge: Edge, call: Call) -> Answer:
    """A mistaken revocation taken back."""
    return kept_told(await edge.office.staff.restore(call.ctx, call.ids["id"], _paper(call)))


async def judge(edge: Edge, call: Call) -> Answer:
    """Whether a waiting Consent may widen access."""
    verdict, consent_id = call.args["verdict"], call.ids["id"]
    await edge.office.verdicts.judge(
        call.ctx,
        consent_id,
        _VERDICTS[verdict],
        actor=staff_of(call.ctx.caller),
        note={"reason": call.args["reason"]},
    )
    return Answer(content={"id": consent_id, "verdict": verdict})


async def receipt(edge: Edge, call: Call) -> Answer:
    """The receipt of a version, made where there is none yet."""
    found = await edge.office.list.one(call.ctx, call.ids["id"])
    version = call.args["version"] or found.stored.version
    made = await edge.office.receipts.of(found.stored.id, version, call.ctx.now_us)
    file = await edge.office.receipts.file(made)
    content = {
        "consent": made.consent_id,
        "version": made.version,
        "document": made.document_id,
        "sha256": made.sha256,
        "media_type": MEDIA_TYPE,
        "content": base64.b64encode(file).decode(),
    }
    return Answer(content=content)


async def receipt_key(edge: Edge, _: Call) -> Answer:
    """What receipts are checked with."""
    public = edge.office.receipts.public_key
    content = {
        "key": paper_receipt.key_id(public),
        "algorithm": "Ed25519",
        "pem": paper_receipt.public_pem(public),
    }
    return Answer(content=content)


def _paper(call: Call) -> Paper:
    args = call.args
    signed, scanned = args.get("signature") or {}, args.get("scan")
    scan = None
    if scanned:
        told = (scanned["media_type"], scanned["content"], scanned["title"] or "")
        scan = read_scan(*told, "#/body/scan")
    return Paper(
        form=args.get("form") or "",
        values={each["name"]: each["values"] for each in args.get("fields") or ()},
        resource=args.get("resource"),
        signature=_signature(signed, call.ctx.now_us),
        scan=scan,
        supersedes=tuple(args.get("supersedes") or ()),
        record=args.get("record") or "",
        reason=args.get("reason") or "",
    )


def _signature(signed: Mapping[str, Any], now_us: int) -> Signature:
    """Who signed and when; no paper is signed on a day that has begun nowhere on earth."""
    on = signed.get("on") or ""
    last = datetime.fromtimestamp((now_us + _AHEAD_US) / 1e6, UTC).date().isoformat()
    if on[:10] > last:
        text = "expected the day it was signed, not one to come"
        issue = Issue(text=text, code="value", expression=("#/body/signature/on",))
        raise HieError(Category.INVALID, f"`on`: {text}", [issue])
    return Signature(by=signed.get("by") or "", on=on, witness=signed.get("witness") or "")


def _route(method: str, path: str, name: str, summary: str, **more: Any) -> Route:
    return Route(
        method=method,
        path=f"/privacy{path}",
        name=name,
        summary=summary,
        area="privacy",
        section=_SECTION,
        **more,
    )


ROUTES: Final[tuple[Route, ...]] = (
    _route(
        "GET",
        "/consent-forms",
        "listConsentForms",
        "Forms of consents: what is filled in, what a signature means",
        handler=forms,
        role="read",
        answer="ConsentForms",
        is_personal=False,
    ),
    _route(
        "GET",
        "/consents/waiting",
        "listWaitingConsents",
        "Consents that would widen access and await a verification",
        text="The longest waiting first. Until then they change nothing.",
        handler=waiting,
        role="read",
        answer="Consents",
    ),
    _route(
        "GET",
        "/consents/ending",
        "listEndingConsents",
        "Consents in effect that end within some days",
        handler=ending,
        role="read",
        answer="Consents",
        query=(Field(name="days", text="from now", kind=NUMBER, least=1, most=366, default=30),),
    ),
    _route(
        "GET",
        "/consents/receipt-key",
        "readReceiptKey",
        "The public key that receipts are checked with",
        handler=receipt_key,
        role="read",
        answer="ReceiptKey",
        is_personal=False,
    ),
    _route(
        "GET",
        "/persons/{id}/consents",
        "listConsents",
        "A person's consents, and what each comes to now",
        text="In plain words, with what was done about each. A disclosure of the person.",
        handler=listed,
        role="read",
        answer="Consents",
        refusals=(404,),
    ),
    _route(
        "POST",
        "/persons/{id}/consents",
        "recordConsent",
        "Record a consent from paper",
        text="A form with its signature and scan, or an officer's FHIR. What a clerk records "
        "and would widen access waits for an officer.",
        handler=record,
        role="clerk",
        answer="ConsentKept",
        needs=(Needs.KEY,),
        body=_PAPER,
        refusals=(404, 413),
        most_bytes=_PAPER_BYTES,
    ),
    _route(
        "GET",
        "/consents/{id}",
        "readConsent",
        "A consent: standing, history, FHIR",
        handler=one,
        role="read",
        answer="ConsentShown",
        refusals=(404,),
    ),
    _route(
        "POST",
        "/consents/{id}/verify",
        "judgeConsent",
        "Verify or reject a consent that another recorded",
        text="Holds from the next request. Closes the task that asked.",
        handler=judge,
        role="officer",
        answer="ConsentJudged",
        needs=(Needs.KEY,),
        body=(
            Field(name="verdict", text="what is said", is_required=True, choices=tuple(_VERDICTS)),
            _WHY,
        ),
        refusals=(404,),
    ),
    _route(
        "POST",
        "/consents/{id}/revoke",
        "revokeConsent",
        "Revoke a consent at the patient's word",
        text="A new version; nothing is deleted. Taking a denial back needs an officer.",
        handler=revoke,
        role="clerk",
        answer="ConsentKept",
        needs=(Needs.KEY,),
        body=(_WHY, _SIGNATURE, _SCAN),
        refusals=(404, 413),
        most_bytes=_PAPER_BYTES,
    ),
    _route(
        "POST",
        "/consents/{id}/restore",
        "restoreConsent",
        "Take a mistaken revocation back",
        handler=restore,
        role="officer",
        answer="ConsentKept",
        needs=(Needs.KEY,),
        body=(_WHY,),
        refusals=(404,),
    ),
    _route(
        "GET",
        "/consents/{id}/receipt",
        "readConsentReceipt",
        "The signed receipt of a version",
        handler=receipt,
        role="read",
        answer="ReceiptFile",
        query=(
            Field(
                name="version",
                text="the current one unless said",
                kind=NUMBER,
                least=1,
                most=1_000_000,
            ),
        ),
        refusals=(404,),
    ),
)
