"""Persons and records as stewards look them up; what was decided about them, who saw them."""

from typing import Any, Final

from hie.flow.decisions import Steward
from hie.staff import render
from hie.staff.cursor import next_link, position_of
from hie.staff.edge import LONGEST_ID, Edge, number_of
from hie.staff.model import LIST, TIME, Answer, Call, Field, number_in
from hie.staff.problem import at, invalid

SEARCH_BODY: Final = (
    Field(name="id", text="id of a person or a record", most=LONGEST_ID),
    Field(name="system", text="assigning authority of an identifier, as a URI", most=300),
    Field(name="value", text="the identifier itself"),
)
AS_OF: Final = Field(
    name="as_of", text="show the records it had then, with today's demographics", kind=TIME
)
TOLD: Final = Field(
    name="corrections",
    text="numbers of the corrections whose recipients were told",
    kind=LIST,
    is_required=True,
    most=1_000,
)
HISTORY: Final = (
    Field(name="person", text="about this person's records, past ones too", most=LONGEST_ID),
    Field(name="record", text="about this record", most=LONGEST_ID),
    Field(name="actor", text="by this steward"),
)


async def person(edge: Edge, call: Call) -> Answer:
    """A person: records, golden values with their origins, redirects."""
    as_of_us = call.args["as_of"]
    # Times are sent to the millisecond: a time so sent means all of it.
    until_us = None if as_of_us is None else as_of_us - as_of_us % 1000 + 999
    shown = await edge.casework.person(call.ctx, call.ids["id"], as_of_us=until_us)
    return Answer(content=render.person(shown))


async def record(edge: Edge, call: Call) -> Answer:
    """A record, and every person it ever belonged to."""
    shown, links = await edge.casework.record(call.ctx, call.ids["id"])
    history = [render.link(link) for link in links]
    return Answer(content=render.record(shown) | {"history": history})


async def search(edge: Edge, call: Call) -> Answer:
    """The persons with an id or an identifier; sent as a body, for addresses are logged."""
    asked = call.args
    if asked["id"]:
        found = [await edge.casework.person_of(call.ctx, asked["id"])]
    elif asked["system"] and asked["value"]:
        found = await edge.casework.with_identifier(call.ctx, asked["system"], asked["value"])
    else:
        raise invalid([at("#/body", "expected `id`, or `system` with `value`", "required")])
    return Answer(content={"persons": [render.person(each) for each in found]})


async def decisions(edge: Edge, call: Call) -> Answer:
    """What was decided about a person or record, else by stewards; the newest first."""
    limit = call.args["count"]
    position = position_of(edge.sealer, call)
    found = await edge.casework.decided(
        call.ctx,
        person_id=call.args["person"] or "",
        record_id=call.args["record"] or "",
        actor=f"steward:{call.args['actor']}" if call.args["actor"] else "",
        before=position[0] if position else None,
        limit=limit + 1,
    )
    page = found[:limit]
    following = None
    if len(found) > limit:
        following = next_link(edge.sealer, call, "/staff/v1/mpi/decisions", [page[-1].id])
    return Answer(
        content={"decisions": [render.past(row, edge.words) for row in page], "next": following}
    )


async def decision(edge: Edge, call: Call) -> Answer:
    """A decision: its explanation, the words of who decided, the links it changed."""
    shown = await edge.casework.decision(call.ctx, number_of(call))
    return Answer(content=render.decision(shown, edge.words))


async def disclosures(edge: Edge, call: Call) -> Answer:
    """Who saw or changed a person's record, the newest first."""
    limit, person_id = call.args["count"], call.ids["id"]
    position = position_of(edge.sealer, call)
    found: Any = await edge.casework.disclosures(
        call.ctx, person_id, before=position[0] if position else None, limit=limit + 1
    )
    page = found[:limit]
    following = None
    if len(found) > limit:
        path = f"/staff/v1/mpi/persons/{person_id}/disclosures"
        following = next_link(edge.sealer, call, path, [page[-1].pk])
    return Answer(content={"disclosures": [render.disclosure(r) for r in page], "next": following})


async def uncorrected(edge: Edge, _: Call) -> Answer:
    """Decisions of which not every recipient was told yet."""
    waiting = await edge.stewards.uncorrected()
    rows = [
        {"decision": str(number), "waiting": count} for number, count in sorted(waiting.items())
    ]
    return Answer(content={"decisions": rows})


async def unreviewed(edge: Edge, call: Call) -> Answer:
    """Decisions after which the strictest of all sides' consents hold, until they are reviewed."""
    limit = call.args["count"]
    position = position_of(edge.sealer, call)
    after = position[0] if position else 0
    found = await edge.stewards.unreviewed(after=after, limit=limit + 1)
    following = None
    if len(found) > limit:
        path = "/staff/v1/mpi/consent-reviews"
        following = next_link(edge.sealer, call, path, [found[limit - 1]])
    return Answer(content={"decisions": [str(n) for n in found[:limit]], "next": following})


async def corrections(edge: Edge, call: Call) -> Answer:
    """Every disclosure that showed as one what is two, by recipient."""
    found = await edge.stewards.corrections(Steward.of(call.ctx), number_of(call))
    return Answer(content={"corrections": [render.correction(one) for one in found]})


async def corrected(edge: Edge, call: Call) -> Answer:
    """Note that recipients were told."""
    numbers = [_number(each) for each in call.args["corrections"]]
    told = await edge.stewards.mark_corrected(Steward.of(call.ctx), number_of(call), numbers)
    return Answer(content={"told": told})


def _number(text: str) -> int:
    number = number_in(text)
    if number is None:
        raise invalid([at("#/body/corrections", "expected numbers of corrections")])
    return number
