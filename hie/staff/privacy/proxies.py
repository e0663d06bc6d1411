"""Who may see in whose place: parents, guardians, agents, proxies."""

import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hie.flow.proxies import Proxies
from hie.flow.relationships import Amended, Change, Standing, Wanted, version_of
from hie.kernel.clock import instant
from hie.proxies.ages import earliest
from hie.proxies.book import Happened, Paper
from hie.proxies.model import Custody, Rights
from hie.proxies.policy import Policy
from hie.proxies.standins import explained
from hie.staff.edge import LONGEST_ID, Edge
from hie.staff.model import LIST, OBJECT, TIME, Answer, Call, Field, Needs, Route
from hie.staff.problem import at, invalid

#: Characters of a scan in base64: what fits into a request's body.
LONGEST_SCAN: Final = 96 * 1024
LONGEST_WHY: Final = 2_000
_SECTION: Final = "Proxies and minors"
_ONE: Final = "/privacy/proxies/{id}"
_CUSTODY: Final = Field(
    name="custody",
    text="what a court said: `ended` opens nothing any more",
    choices=tuple(each.value for each in Custody),
)
_DOCUMENT: Final = Field(
    name="document",
    text="the paper it rests on; guardians and agents need one",
    kind=OBJECT,
    fields=(
        Field(name="title", text="what it is: a court order, a form", is_required=True),
        Field(name="reference", text="docket or file number; sealed", is_required=True),
        Field(name="issued", text="day it was issued", most=10, default=""),
        Field(name="content_type", text="of the scan", most=60, default=""),
        Field(name="content", text="the scan in base64; sealed", most=LONGEST_SCAN, default=""),
    ),
)
_RECORD: Final = (
    Field(name="person", text="whose record it opens", is_required=True, most=LONGEST_ID),
    Field(name="proxy", text="who opens it, where they are known here", most=LONGEST_ID),
    Field(name="name", text="of the proxy as on the paper; sealed", is_required=True),
    Field(name="kind", text="a kind of the policy: `parent`", is_required=True, most=24),
    Field(name="scope", text="a scope of the policy", most=24, default="everything"),
    _CUSTODY,
    Field(name="telecom", text="telephone numbers, addresses; sealed", kind=LIST, most=10),
    Field(name="labels", text="sensitivities the paper names in so many words", kind=LIST, most=40),
    Field(name="from", text="when it begins", kind=TIME),
    Field(name="to", text="when it is over", kind=TIME),
    _DOCUMENT,
)
_WHY: Final = Field(
    name="reason", text="why, in your words; sealed", is_required=True, most=LONGEST_WHY
)
_AMEND: Final = (
    _WHY,
    _CUSTODY,
    Field(name="to", text="when it is over", kind=TIME),
    _DOCUMENT,
)


async def recorded(edge: Edge, call: Call) -> Answer:
    """A new relationship."""
    args = call.args
    paper, scan = _paper(args["document"])
    wanted = Wanted(
        person=args["person"],
        proxy=args["proxy"],
        name=args["name"],
        kind=args["kind"],
        scope=args["scope"],
        custody=Custody(args["custody"] or Custody.UNSAID.value),
        telecom=tuple(args["telecom"] or ()),
        labels=tuple(args["labels"] or ()),
        from_us=args["from"],
        to_us=args["to"],
        paper=paper,
        scan=scan,
    )
    standing = await edge.proxies.record(call.ctx, wanted)
    return Answer(content=rendered(standing), status=201)


async def listed(edge: Edge, call: Call) -> Answer:
    """Every relationship of a person, on either side."""
    found = await edge.proxies.of(call.ctx, call.ids["id"])
    return Answer(content={"relationships": [rendered(one) for one in found]})


async def shown(edge: Edge, call: Call) -> Answer:
    """A relationship and what was done to it."""
    standing, history = await edge.proxies.one(call.ctx, call.ids["id"])
    return _tagged(standing, {"history": [_happened(one) for one in history]})


async def document(edge: Edge, call: Call) -> Answer:
    """The scan of the newest paper."""
    paper, scan = await edge.proxies.scan(call.ctx, call.ids["id"])
    content = base64.b64encode(scan).decode()
    return Answer(content=_rendered_paper(paper) | {"content": content})


async def previewed(edge: Edge, call: Call) -> Answer:
    """How much of what the proxy would see now."""
    standing, counts = await edge.proxies.preview(call.ctx, call.ids["id"])
    return _tagged(standing, {"types": dict(sorted(counts.items()))})


async def policy(edge: Edge, call: Call) -> Answer:
    """The ages, kinds and scopes of the law in force."""
    law = edge.proxies.stand_ins.policy
    return Answer(content=_rendered_policy(edge.proxies, law))


def changes(change: Change) -> Callable[[Edge, Call], Awaitable[Answer]]:
    """The handler of one change."""

    async def changed(edge: Edge, call: Call) -> Answer:
        args = call.args
        paper, scan = _paper(args.get("document"))
        amended = Amended(
            why=args["reason"],
            custody=Custody(args["custody"]) if args.get("custody") else None,
            to_us=args.get("to"),
            paper=paper,
            scan=scan,
        )
        standing = await edge.proxies.change(
            call.ctx, call.ids["id"], call.version, change, amended
        )
        return _tagged(standing, {})

    return changed


def rendered(standing: Standing) -> dict[str, Any]:
    """A relationship as it stands now."""
    plain, detail = standing.shown.plain, standing.shown.detail
    times = {
        "recorded_at": plain.recorded_us,
        "reviewed_at": plain.vouched_us,
        "accepted_at": plain.accepted_us,
        "from": plain.from_us,
        "to": plain.to_us,
        "stopped_at": plain.stopped_us,
        "ended_at": plain.ended_us,
    }
    return {
        "id": plain.id,
        "version": version_of(plain),
        "person": plain.person,
        "proxy": plain.proxy,
        "name": detail.name,
        "telecom": list(detail.telecom),
        "kind": plain.kind,
        "scope": plain.scope,
        "custody": plain.custody.value,
        "documents": [_rendered_paper(paper) for paper in detail.papers],
        "opens": _opens(standing.verdict.rights),
        "why_not": explained(standing.verdict) or None,
        **{name: None if us is None else instant(us) for name, us in times.items()},
    }


def _opens(rights: Rights | None) -> dict[str, Any] | None:
    if rights is None:
        return None
    return {
        "band": rights.band or None,
        "types": None if rights.types is None else sorted(rights.types),
        "may_record": sorted(rights.writes),
    }


def _tagged(standing: Standing, more: dict[str, Any]) -> Answer:
    content = rendered(standing)
    return Answer(content=content | more, headers={"ETag": f'"{content["version"]}"'})


def _rendered_paper(paper: Paper) -> dict[str, Any]:
    return {
        "title": paper.title,
        "reference": paper.reference,
        "issued": paper.issued or None,
        "sha256": paper.sha256 or None,
        "content_type": paper.content_type or None,
    }


def _happened(one: Happened) -> dict[str, Any]:
    return {
        "at": instant(one.at_us),
        "action": one.action,
        "actor": one.actor,
        "reason": one.words or None,
    }


def _rendered_policy(proxies: Proxies, law: Policy) -> dict[str, Any]:
    codes = proxies.labels.codes
    return {
        "title": law.title,
        "time_zone": law.zone.key,
        "adult": law.adult,
        "bands": [
            {
                "name": band.name,
                "from": band.years,
                "types": None if band.extent.types is None else sorted(band.extent.types),
                "withheld": list(codes(band.extent.withheld_mask | law.alone_mask)),
            }
            for band in law.bands
        ],
        "alone": [
            {"name": one.name, "law": one.law, "labels": list(codes(one.mask))} for one in law.alone
        ],
        "kinds": [
            {"name": kind.name, "title": kind.title, "needs_document": kind.needs_document}
            for kind in law.kinds.values()
        ],
        "scopes": [{"name": name, "title": law.titles[name]} for name in law.scopes],
    }


def _paper(sent: dict[str, Any] | None) -> tuple[Paper | None, bytes]:
    """The paper of a body, and its scan.

    Raises:
        HieError: INVALID for what is no base64, or no date.
    """
    if sent is None:
        return None, b""
    try:
        scan = base64.b64decode(sent["content"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid([at("#/body/document/content", "expected base64")]) from error
    if sent["issued"] and earliest([sent["issued"]]) is None:
        raise invalid([at("#/body/document/issued", "expected a date, `2026-03-01`")])
    return Paper(
        title=sent["title"],
        reference=sent["reference"],
        issued=sent["issued"],
        sha256=hashlib.sha256(scan).hexdigest() if scan else "",
        content_type=sent["content_type"],
    ), scan


def _change(
    change: Change, summary: str, text: str, *fields: Field, role: str = "officer"
) -> Route:
    return Route(
        method="POST",
        path=f"{_ONE}/{change.value}",
        name=f"{change.value}Proxy",
        summary=summary,
        text=text,
        handler=changes(change),
        area="privacy",
        role=role,
        answer="Relationship",
        section=_SECTION,
        needs=(Needs.KEY,) if change is Change.STOP else (Needs.VERSION, Needs.KEY),
        refusals=(404, 409) if change is Change.STOP else (404, 409, 412),
        body=fields,
    )


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/privacy/proxies",
        name="recordProxy",
        summary="Record who may see in whose place",
        text="A clerk checks the paper and both persons; ages and labels are the policy's. "
        "Served as a FHIR RelatedPerson of the same id. On record for both persons.",
        handler=recorded,
        area="privacy",
        role="clerk",
        answer="Relationship",
        section=_SECTION,
        needs=(Needs.KEY,),
        refusals=(404, 409),
        body=_RECORD,
    ),
    Route(
        method="GET",
        path="/privacy/persons/{id}/proxies",
        name="listProxies",
        summary="Who may see in a person's place, and in whose place the person may",
        handler=listed,
        area="privacy",
        role="read",
        answer="Relationships",
        section=_SECTION,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=_ONE,
        name="readProxy",
        summary="A relationship, what it opens now, and what was done to it",
        handler=shown,
        area="privacy",
        role="read",
        answer="RelationshipHistory",
        section=_SECTION,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=f"{_ONE}/document",
        name="readProxyDocument",
        summary="The scan of the newest paper of a relationship",
        handler=document,
        area="privacy",
        role="clerk",
        answer="ScannedPaper",
        section=_SECTION,
        refusals=(404,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}/preview",
        name="previewProxy",
        summary="How much of what a proxy would see now: types and counts",
        handler=previewed,
        area="privacy",
        role="clerk",
        answer="RelationshipPreview",
        section=_SECTION,
        refusals=(404,),
    ),
    _change(
        Change.STOP,
        "Stop a relationship at once",
        "A custody stop: every session ends, and none opens anything until it is restored. "
        "Asks for no version, for it must not wait.",
        _WHY,
    ),
    _change(Change.END, "End a relationship", "Every session ends at once.", _WHY),
    _change(
        Change.RESTORE,
        "Take a stop or an end back",
        "Of one that was stopped and ended, the end first.",
        _WHY,
    ),
    _change(
        Change.REVIEW,
        "Say that the two persons are still the two",
        "After a merge or a split of either a relationship opens nothing until then; taking the "
        "merge back restores it without.",
        _WHY,
    ),
    _change(
        Change.AMEND,
        "File a court order: custody, period",
        "Once the patient has outgrown it, as for restore and review, only what takes it away is "
        "taken (422, with what to record instead): custody `ended`, a `to` that has passed.",
        *_AMEND,
    ),
    Route(
        method="GET",
        path="/privacy/proxy-policy",
        name="readProxyPolicy",
        summary="Ages, kinds, scopes and what minors consent to alone",
        handler=policy,
        area="privacy",
        role="read",
        answer="ProxyPolicy",
        section=_SECTION,
        is_personal=False,
    ),
)
