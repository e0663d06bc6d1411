"""Who saw what: the audit trail, accountings of disclosures."""

import base64
from typing import Any, Final

from hie.accounting import Medium, Wanted, written
from hie.audit.account import Account
from hie.audit.repository import event_id
from hie.audit.search import Asked
from hie.kernel.clock import SECOND_US, instant
from hie.staff.cursor import next_link, position_of
from hie.staff.edge import COUNT, CURSOR, LONGEST_ID, Edge
from hie.staff.model import FLAG, TIME, Answer, Call, Field, Route
from hie.trail import Told

_SECTION: Final = "The audit trail and accountings"
_EVENTS: Final = "/privacy/events"
_ACCOUNT: Final = "/privacy/persons/{id}/accounting"
_DAY_US: Final = 86_400 * SECOND_US
_FILTER: Final = (
    Field(name="person", text="about this person", most=LONGEST_ID),
    Field(name="organization", text="by this organisation, its id", most=LONGEST_ID),
    Field(name="user", text="by this user, as the client named them"),
    Field(name="action", text="`C`, `R`, `U`, `D` or `E`", choices=("C", "R", "U", "D", "E")),
    Field(name="subtype", text="what was done: `read`, `search-type`, `AuthZ-Consent`", most=40),
    Field(name="outcome", text="`0` done; else refused or failed", choices=("0", "4", "8", "12")),
    Field(name="from", text="recorded then or later", kind=TIME),
    Field(name="until", text="recorded before", kind=TIME),
)
_WANTED: Final = (
    Field(name="form", text="of config/audit/forms.toml", most=40, default="patient"),
    Field(name="from", text="disclosed then or later", kind=TIME),
    Field(name="until", text="disclosed before", kind=TIME),
    Field(
        name="all",
        text="list what the form leaves out, too: treatment, payment, operations, own reads",
        kind=FLAG,
        default=False,
    ),
)
_MEDIA: Final = {"pdf": Medium.PDF, "csv": Medium.CSV}
_MEDIUM: Final = Field(name="medium", text="what file", choices=tuple(_MEDIA), default="pdf")


async def events(edge: Edge, call: Call) -> Answer:
    """Events of the trail, the newest first."""
    position, args = position_of(edge.sealer, call), call.args
    asked = Asked(
        persons=_one(args["person"]),
        organizations=_one(args["organization"]),
        users=_one(args["user"]),
        actions=_one(args["action"]),
        subtypes=_one(args["subtype"]),
        outcomes=_one(args["outcome"]),
        since_us=args["from"] or 0,
        until_us=args["until"],
        after=position[0] if position else None,
    )
    page = await edge.trail.search(call.ctx, asked, args["count"])
    following = None
    if page.next_after is not None:
        following = next_link(edge.sealer, call, f"/staff/v1{_EVENTS}", [page.next_after])
    return Answer(content={"events": [_event(edge, e) for e in page.events], "next": following})


async def accounting(edge: Edge, call: Call) -> Answer:
    """An accounting of the disclosures of a person."""
    return Answer(content=_account(await edge.accountings.make(call.ctx, _wanted(call))))


async def accounting_file(edge: Edge, call: Call) -> Answer:
    """The same as a file to hand out."""
    account = await edge.accountings.make(call.ctx, _wanted(call))
    name = call.args["medium"]
    content = await written(account, _MEDIA[name])
    told = {
        "name": f"accounting-{account.form.name}.{name}",
        "media_type": _MEDIA[name].value,
        "content": base64.b64encode(content).decode(),
    }
    return Answer(content=told)


def _one(value: str | None) -> frozenset[str] | None:
    return frozenset({value}) if value else None


def _wanted(call: Call) -> Wanted:
    args = call.args
    return Wanted(
        person_id=call.ids["id"],
        form=args["form"],
        since_us=args["from"],
        until_us=args["until"],
        is_whole=args["all"],
    )


def _event(edge: Edge, told: Told) -> dict[str, Any]:
    record = told.row.record
    named = (record.resource_type, record.resource_id)
    return {
        "id": event_id(told.row.pk),
        "at": instant(record.recorded_us),
        "action": record.action,
        "what": record.subtype,
        "outcome": record.outcome,
        "person": record.person_id,
        "organization": record.organization,
        "user": record.user,
        "purpose": record.purpose or None,
        "resource": "/".join(part for part in named if part) or None,
        "reason": record.detail.get("reason"),
        "consents": list(record.detail.get("consents", ())),
        "sentence": edge.trail.sentence(record),
        "erased": told.row.is_erased,
    }


def _account(account: Account) -> dict[str, Any]:
    form = account.form
    return {
        "form": form.name,
        "title": form.title,
        "law": form.law,
        "person": account.person_id,
        "made": instant(account.made_us),
        "since": instant(account.since_us),
        "until": instant(account.until_us),
        "due": instant(account.made_us + form.days * _DAY_US),
        "lines": [
            {
                "first": instant(line.at_us),
                "last": instant(line.until_us),
                "number": line.number,
                "recipient": line.recipient,
                "address": line.address,
                "person": line.person,
                "purpose": line.purpose,
                "kinds": list(line.kinds),
                "relied_on": line.relied_on,
                "emergency": line.is_emergency,
            }
            for line in account.lines
        ],
    }


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path=_EVENTS,
        name="searchEvents",
        summary="Events of the audit trail, the newest first",
        text="What was done and what was refused. The search is on record for each person told of.",
        handler=events,
        role="read",
        area="privacy",
        answer="EventPage",
        section=_SECTION,
        query=(*_FILTER, COUNT, CURSOR),
    ),
    Route(
        method="GET",
        path=_ACCOUNT,
        name="makeAccounting",
        summary="Who was given what of a person's record, in the form a law asks for",
        handler=accounting,
        role="clerk",
        area="privacy",
        answer="Accounting",
        section=_SECTION,
        query=_WANTED,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path=f"{_ACCOUNT}/file",
        name="printAccounting",
        summary="The same as PDF or CSV, to hand out",
        handler=accounting_file,
        role="clerk",
        area="privacy",
        answer="AccountingFile",
        section=_SECTION,
        query=(*_WANTED, _MEDIUM),
        refusals=(404, 422),
    ),
)
