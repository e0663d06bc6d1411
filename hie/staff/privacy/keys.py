"""Keys: what seals what; and the erasure of a person, which destroys some for good."""

from typing import Any, Final

from hie.flow.erasure import Outlook
from hie.kernel.clock import instant
from hie.key_care import KeyReport
from hie.staff.edge import LONGEST_ID, Edge
from hie.staff.model import FLAG, Answer, Call, Field, Needs, Route

_SECTION: Final = "Keys and erasure"
_PERSON: Final = Field(
    name="person", text="id of the golden Patient", is_required=True, most=LONGEST_ID
)


async def reported(edge: Edge, call: Call) -> Answer:
    """Which wrapping key wraps how much."""
    del call
    return Answer(content=_report(await edge.key_care.report()))


async def previewed(edge: Edge, call: Call) -> Answer:
    """What an erasure would take out."""
    return Answer(content=_outlook(await edge.erasure.outlook(call.ctx, call.args["person"])))


async def erased(edge: Edge, call: Call) -> Answer:
    """An erasure, done."""
    args = call.args
    found = await edge.erasure.erase(
        call.ctx, args["person"], reason=args["reason"], keeps_trail=bool(args["keep_trail"])
    )
    return Answer(content=_outlook(found))


def _report(report: KeyReport) -> dict[str, Any]:
    return {
        "provider": report.provider,
        "current": report.current,
        "keys": [
            {
                "key": key_id,
                "since": instant(since_us) if since_us else None,
                "wraps": {name: rows.get(key_id, 0) for name, rows in report.counts.items()},
            }
            for key_id, since_us in report.since.items()
        ],
        "data_keys": dict(report.kinds),
        "destroyed": report.destroyed,
        "waiting": report.waiting,
        "is_whole": report.is_whole,
        "advice": report.advice(),
    }


def _outlook(found: Outlook) -> dict[str, Any]:
    return {
        "person": found.person,
        "records": list(found.records),
        "resources": dict(found.resources),
    }


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/privacy/keys",
        name="reportKeys",
        summary="Which wrapping key wraps how much, and what is left to do",
        text="Rotation and retirement are commands: `hie keys rotate`, `hie keys retire`.",
        handler=reported,
        area="privacy",
        role="read",
        answer="KeyReport",
        section=_SECTION,
        is_personal=False,
    ),
    Route(
        method="POST",
        path="/privacy/erasures/preview",
        name="previewErasure",
        summary="What an erasure of a person would take out",
        handler=previewed,
        area="privacy",
        role="officer",
        answer="Erasure",
        section=_SECTION,
        refusals=(404, 422),
        body=(_PERSON,),
    ),
    Route(
        method="POST",
        path="/privacy/erasures",
        name="erasePerson",
        summary="Erase a person for good, by law",
        text="Keys are destroyed and rows taken out; the audit trail keeps its chain. Nothing "
        "takes it back. Answers after some seconds: every process lets go of the keys first.",
        handler=erased,
        area="privacy",
        role="officer",
        answer="Erasure",
        section=_SECTION,
        needs=(Needs.KEY,),
        refusals=(404, 409, 412, 422),
        body=(
            _PERSON,
            Field(name="reason", text="on what ground", is_required=True, most=2_000),
            Field(
                name="keep_trail",
                text="keep readable who saw the record, while accountings are owed",
                kind=FLAG,
                default=False,
            ),
        ),
    ),
)
