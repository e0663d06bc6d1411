"""Who may see in whose place, over FHIR: what patients and their proxies do themselves.

    GET  Patient/<id>/$proxies                 who may see in my place
    GET  Patient/<id>/$acting-for              in whose place I may see
    POST RelatedPerson/$appoint                name, telecom, scope, start, end, label
    POST RelatedPerson/<id>/$accept            the word that the patient was given
    POST RelatedPerson/<id>/$end               from either side
    POST <type>/<id>/$hide-from-proxies        a visit, a result, a document

See docs/howto/proxies.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import orjson

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.operations import asked
from fhir_server.relationships import Relationships
from hie.flow.relationships import Standing, Wanted
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

_APPOINT: Final = ("name", "telecom", "scope", "start", "end", "label")
_LONGEST_NAME: Final = 200
_MOST: Final = 20


async def proxies(edge: Edge, call: Call) -> Answer:
    """Parameters with a `relationship` for each."""
    return _listed(edge, await _desk(edge).mine(call.ctx, call.id))


async def acting_for(edge: Edge, call: Call) -> Answer:
    """The same of those whom the caller may act for."""
    return _listed(edge, await _desk(edge).acting_for(call.ctx, call.id))


async def appoint(edge: Edge, call: Call) -> Answer:
    """The RelatedPerson, and the word by which whoever is appointed accepts.

    Raises:
        HieError: INVALID for what is missing or too long.
    """
    params = _posted(call, _APPOINT)
    name = _text(params, "name").strip()
    if not name or len(name) > _LONGEST_NAME:
        raise _expected("name", f"a name of at most {_LONGEST_NAME} characters")
    telecom, labels = asked.values(params, "telecom"), asked.values(params, "label")
    if max(len(telecom), len(labels)) > _MOST or any(len(v) > _LONGEST_NAME for v in telecom):
        raise _expected("telecom", f"at most {_MOST} of at most {_LONGEST_NAME} characters")
    start, end = asked.period(params, "start"), asked.period(params, "end")
    wanted = Wanted(
        person="",
        proxy=None,
        name=name,
        kind="",
        scope=_text(params, "scope") or "everything",
        telecom=tuple(telecom),
        labels=tuple(labels),
        from_us=start[0] if start else None,
        to_us=end[1] if end else None,
    )
    made = await _desk(edge).appoint(call.ctx, wanted)
    parts: list[FhirJson] = [
        {"name": "relatedPerson", "resource": _desk(edge).described(made.standing)},
        {"name": "word", "valueString": made.word},
    ]
    return _parameters(parts, status=201)


async def accept(edge: Edge, call: Call) -> Answer:
    """The relationship that holds from now on."""
    params = _posted(call, ("word",))
    return _one(edge, await _desk(edge).accept(call.ctx, call.id, _text(params, "word")))


async def end(edge: Edge, call: Call) -> Answer:
    """The relationship that is over."""
    return _one(edge, await _desk(edge).end(call.ctx, call.id))


async def hide(edge: Edge, call: Call) -> Answer:
    """How many resources are hidden by it."""
    count = await _desk(edge).hide(call.ctx, call.type, call.id)
    return _parameters([{"name": "hidden", "valueUnsignedInt": count}])


def _posted(call: Call, known: tuple[str, ...]) -> asked.Params:
    """The parameters of a body; an address is written down on the way, and takes none.

    Raises:
        HieError: INVALID for what came in the address, or is unknown.
    """
    if asked.params_of(replace(call, body=b"")):
        text = "expected a body of Parameters: addresses are written down, bodies are not"
        raise HieError(Category.INVALID, text)
    return asked.require_known(call, asked.params_of(call), known)


def _desk(edge: Edge) -> Relationships:
    """Who answers.

    Raises:
        HieError: UNSUPPORTED where nobody does.
    """
    if edge.relationships is None:
        raise HieError(Category.UNSUPPORTED, "this server keeps no relationships")
    return edge.relationships


def _listed(edge: Edge, found: Sequence[Standing]) -> Answer:
    return _parameters([_told(edge, one) for one in found])


def _one(edge: Edge, standing: Standing) -> Answer:
    return _parameters([_told(edge, standing)])


def _told(edge: Edge, standing: Standing) -> FhirJson:
    """A relationship and what it opens now; why not is a code without anybody's data."""
    rights, because = standing.verdict.rights, standing.verdict.because
    parts: list[FhirJson] = [
        {"name": "relatedPerson", "resource": _desk(edge).described(standing)},
        {"name": "opens", "valueBoolean": rights is not None},
    ]
    if rights is not None and rights.band:
        parts.append({"name": "band", "valueCode": rights.band})
    if because is not None:
        parts.append({"name": "why-not", "valueCode": because.value})
    return {"name": "relationship", "part": parts}


def _parameters(parts: list[FhirJson], status: int = 200) -> Answer:
    body: FhirJson = {"resourceType": "Parameters"}
    if parts:
        body["parameter"] = parts
    return Answer(status=status, body=orjson.dumps(body))


def _text(params: asked.Params, name: str) -> str:
    return next((value for key, value in params if key == name), "")


def _expected(name: str, what: str) -> HieError:
    return HieError(Category.INVALID, f"`{name}`: expected {what}")
