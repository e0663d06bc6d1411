"""What a recipient would see of a person's record, before and after a proposed change."""

from collections.abc import Sequence
from typing import Any, Final

from consent.preview import Line, Question, Side, by_type
from hie.kernel.clock import instant
from hie.staff.edge import Edge
from hie.staff.model import LIST, OBJECT, Answer, Call, Field, Route
from hie.staff.shapes import MAYBE_TIME, TEXT, WHOLE, Schema, many, mapped, maybe, of, ref

_BODY: Final = (
    Field(
        name="organization",
        text="the recipient: `system|value`, identifier or id",
        is_required=True,
        most=300,
    ),
    Field(name="purpose", text="a code of v3-ActReason", default="TREAT", most=40),
    Field(name="person", text="who there asks, `Practitioner/<id>`", default=""),
    Field(name="roles", text="codes of the roles they act in", kind=LIST, most=20, default=[]),
    Field(name="consent", text="a FHIR Consent that is not recorded", kind=OBJECT),
    Field(
        name="withdraw",
        text="ids of Consents that would hold no more",
        kind=LIST,
        most=50,
        default=[],
    ),
)


async def previewed(edge: Edge, call: Call) -> Answer:
    """What is released and withheld today, and would be; the difference."""
    asked = call.args
    found = await edge.previews.of(
        call.ctx,
        Question(
            person_id=call.ids["id"],
            organization=asked["organization"],
            purpose=asked["purpose"],
            user=asked["person"],
            roles=tuple(asked["roles"]),
            proposed=asked["consent"],
            withdrawn=tuple(asked["withdraw"]),
        ),
    )
    return Answer(
        content={
            "before": _side(found.before),
            "after": None if found.after is None else _side(found.after),
            "opened": _lines(found.opened),
            "closed": _lines(found.closed),
        }
    )


def _side(side: Side) -> dict[str, Any]:
    return {
        "released": _lines(side.released),
        "withheld": _lines(side.withheld),
        "released_by_type": by_type(side.released),
        "withheld_by_type": by_type(side.withheld),
    }


def _lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [
        {
            "type": line.type,
            "labels": [*line.labels],
            "count": line.count,
            "first": None if line.first_us is None else instant(line.first_us),
            "last": None if line.last_us is None else instant(line.last_us - 1),
            "reasons": [*line.staff],
            "patient": [*line.patient],
        }
        for line in lines
    ]


SCHEMAS: Final[dict[str, Schema]] = {
    "PreviewLine": of(
        "Resources alike in type, labels and reason; nothing of what they say.",
        type=TEXT,
        labels=many(TEXT),
        count=WHOLE,
        first=MAYBE_TIME,
        last=MAYBE_TIME,
        reasons=many(TEXT),
        patient=many(TEXT),
    ),
    "PreviewSide": of(
        released=many(ref("PreviewLine")),
        withheld=many(ref("PreviewLine")),
        released_by_type=mapped(WHOLE),
        withheld_by_type=mapped(WHOLE),
    ),
    "ConsentPreview": of(
        "What a recipient sees, and would see.",
        before=ref("PreviewSide"),
        after=maybe("PreviewSide"),
        opened=many(ref("PreviewLine")),
        closed=many(ref("PreviewLine")),
    ),
}

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/privacy/persons/{id}/consents/preview",
        name="previewConsent",
        summary="What a recipient would see, before and after a proposed consent",
        text="By the same decision as every read, over the record as it is: types, counts, dates, "
        "labels and reasons. Nothing is recorded but that it was looked at.",
        handler=previewed,
        role="officer",
        answer="ConsentPreview",
        section="Consents",
        area="privacy",
        body=_BODY,
        refusals=(404,),
    ),
)
