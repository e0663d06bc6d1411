"""Emergency accesses and their review."""

from typing import Any, Final

from hie.emergencies.model import Emergency, EmergencyState, Suspension, Verdict
from hie.flow.emergency_reviews import EmergencyReviews, EmergencyShown, Judgement
from hie.kernel.clock import instant
from hie.staff.cursor import next_link, position_of
from hie.staff.edge import COUNT, CURSOR, Edge, number_of
from hie.staff.model import FLAG, LIST, Answer, Call, Field, Needs, Route

Json = dict[str, Any]
ADDRESS: Final = "/staff/v1/privacy/emergencies"
_SECTION: Final = "Emergency accesses"
_ONE: Final = "/privacy/emergencies/{id}"
_SUSPENSIONS: Final = "/privacy/emergency-suspensions"
LONGEST_WHY: Final = 2_000
_WHY: Final = Field(
    name="reason", text="why, in your words; sealed", is_required=True, most=LONGEST_WHY
)
_FILTER: Final = (
    Field(
        name="state",
        text="`asked`: told that the person is known, never opened; the others unless said",
        kind=LIST,
        most=len(EmergencyState),
        choices=tuple(state.value for state in EmergencyState),
    ),
    Field(name="reviewed", text="with a verdict, or without one", kind=FLAG),
)
_VERDICT: Final = (
    Field(
        name="verdict",
        text="what you found",
        is_required=True,
        choices=(Verdict.JUSTIFIED.value, Verdict.NOT_JUSTIFIED.value),
    ),
    _WHY,
    Field(name="end", text="close the record to its user now", kind=FLAG, default=False),
    Field(name="revoke_token", text="and revoke the token", kind=FLAG, default=False),
    Field(
        name="suspend_user",
        text="the user may break no glass until it is lifted; ends all of that user's accesses",
        kind=FLAG,
        default=False,
    ),
)
_ALL: Final = Field(name="all", text="lifted ones, too", kind=FLAG, default=False)


async def listed(edge: Edge, call: Call) -> Answer:
    """A page of accesses, the newest first."""
    limit = call.args["count"]
    position = position_of(edge.sealer, call)
    reviews = edge.emergencies
    found = await reviews.listed(
        call.ctx,
        states=[EmergencyState(each) for each in call.args["state"] or ()],
        is_reviewed=call.args["reviewed"],
        before=position[0] if position else None,
        limit=limit + 1,
    )
    page = found[:limit]
    following = None
    if len(found) > limit:
        following = next_link(edge.sealer, call, ADDRESS, [page[-1].id])
    rows = [_row(one, reviews, call.ctx.now_us) for one in page]
    return Answer(content={"emergencies": rows, "next": following})


async def shown(edge: Edge, call: Call) -> Answer:
    """One access: who, when, why, what of what kind was seen."""
    found = await edge.emergencies.shown(call.ctx, number_of(call))
    return _answer(edge, call, found)


async def judged(edge: Edge, call: Call) -> Answer:
    """The access with its verdict."""
    args = call.args
    judgement = Judgement(
        verdict=Verdict(args["verdict"]),
        note=args["reason"],
        ends=args["end"],
        revokes=args["revoke_token"],
        suspends=args["suspend_user"],
    )
    found = await edge.emergencies.judge(call.ctx, number_of(call), judgement)
    return _answer(edge, call, found)


async def reopened(edge: Edge, call: Call) -> Answer:
    """The access without its verdict."""
    found = await edge.emergencies.reopen(call.ctx, number_of(call), call.args["reason"])
    return _answer(edge, call, found)


async def ended(edge: Edge, call: Call) -> Answer:
    """The access, closed to its user."""
    found = await edge.emergencies.end(call.ctx, number_of(call), call.args["reason"])
    return _answer(edge, call, found)


async def suspensions(edge: Edge, call: Call) -> Answer:
    """Who may break no glass."""
    found = await edge.emergencies.suspensions(call.ctx, is_all=call.args["all"])
    rows = [_suspension(one, edge.emergencies) for one in found]
    return Answer(content={"suspensions": rows})


async def lifted(edge: Edge, call: Call) -> Answer:
    """The suspension, lifted."""
    found = await edge.emergencies.lift(call.ctx, number_of(call), call.args["reason"])
    return Answer(content=_suspension(found, edge.emergencies))


def _answer(edge: Edge, call: Call, found: EmergencyShown) -> Answer:
    access, seen = found.access, found.seen
    content = _row(access, edge.emergencies, call.ctx.now_us) | {
        "words": access.words,
        "seen": {
            "requests": seen.requests,
            "resources": dict(seen.resources),
            "is_cut": seen.is_cut,
        },
        "history": [
            {
                "at": instant(event.at_us),
                "action": event.action,
                "actor": event.actor,
                "note": event.note or None,
            }
            for event in found.events
        ],
        "suspension": _suspension(found.suspended, edge.emergencies) if found.suspended else None,
    }
    return Answer(content=content)


def _row(found: Emergency, reviews: EmergencyReviews, now_us: int) -> Json:
    return {
        "id": str(found.id),
        "state": found.state_at(now_us).value,
        "person": found.person_id,
        "organization": found.organization,
        "organization_name": reviews.name_of(found.organization) or None,
        "user": found.user,
        "token": found.token_id,
        "factors": list(found.factors),
        "code": found.code,
        "reason": reviews.reason_of(found),
        "asked_at": instant(found.asked_us),
        "opened_at": _time(found.opened_us),
        "expires_at": _time(found.expires_us),
        "ended_at": _time(found.ended_us),
        "ended_by": found.ended_by or None,
        "notice_at": _time(found.notice_us),
        "task": str(found.task_id) if found.task_id else None,
        "verdict": found.verdict.value or None,
        "reviewed_at": _time(found.reviewed_us),
        "reviewed_by": found.reviewed_by or None,
    }


def _suspension(found: Suspension, reviews: EmergencyReviews) -> Json:
    return {
        "id": str(found.id),
        "organization": found.organization,
        "organization_name": reviews.name_of(found.organization) or None,
        "user": found.user,
        "since": instant(found.since_us),
        "by": found.by,
        "emergency": str(found.emergency_id),
        "lifted_at": _time(found.lifted_us),
        "lifted_by": found.lifted_by or None,
    }


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else instant(at_us)


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/privacy/emergencies",
        name="listEmergencies",
        summary="Emergency accesses, the newest first",
        text="With `reviewed=false` the review queue. A disclosure of every person listed.",
        handler=listed,
        area="privacy",
        role="read",
        answer="EmergencyPage",
        section=_SECTION,
        query=(*_FILTER, COUNT, CURSOR),
    ),
    Route(
        method="GET",
        path=_ONE,
        name="readEmergency",
        summary="An emergency access: who, when, why, what of what kind was seen",
        text="Types and numbers by the audit trail, never content.",
        handler=shown,
        area="privacy",
        role="read",
        answer="Emergency",
        section=_SECTION,
        refusals=(404,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}/review",
        name="reviewEmergency",
        summary="Say whether it was justified, and what follows",
        text="Closes the task that alerted you. An end and a revoked token stay.",
        handler=judged,
        area="privacy",
        role="officer",
        answer="Emergency",
        section=_SECTION,
        needs=(Needs.KEY,),
        refusals=(404, 409),
        body=_VERDICT,
    ),
    Route(
        method="POST",
        path=f"{_ONE}/reopen",
        name="reopenEmergency",
        summary="Take a verdict back",
        text="Also lifts the suspension that it led to.",
        handler=reopened,
        area="privacy",
        role="officer",
        answer="Emergency",
        section=_SECTION,
        needs=(Needs.KEY,),
        refusals=(404, 409),
        body=(_WHY,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}/end",
        name="endEmergency",
        summary="Close the record to its user now",
        handler=ended,
        area="privacy",
        role="officer",
        answer="Emergency",
        section=_SECTION,
        needs=(Needs.KEY,),
        refusals=(404, 409),
        body=(_WHY,),
    ),
    Route(
        method="GET",
        path=_SUSPENSIONS,
        name="listSuspensions",
        summary="Users who may break no glass",
        handler=suspensions,
        area="privacy",
        role="read",
        answer="EmergencySuspensions",
        section=_SECTION,
        is_personal=False,
        query=(_ALL,),
    ),
    Route(
        method="POST",
        path=f"{_SUSPENSIONS}/{{id}}/lift",
        name="liftSuspension",
        summary="Let a user break the glass again",
        handler=lifted,
        area="privacy",
        role="officer",
        answer="EmergencySuspension",
        section=_SECTION,
        needs=(Needs.KEY,),
        refusals=(404,),
        body=(_WHY,),
    ),
)
