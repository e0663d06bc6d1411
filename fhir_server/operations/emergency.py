"""Breaking the glass over FHIR: known or not, then open for a time, then told to the patient.

    POST Patient/$match                      purpose BTG: an id where one person fits for certain
    POST Patient/<id>/$break-glass           opens that record to this token, for a time
    POST Patient/<id>/$end-break-glass       closes it before its time
    GET  Patient/<id>/$emergency-notices     the patient's own: who, when, why

See docs/howto/break-the-glass.md.
"""

from typing import Any, Final

import orjson

from fhir_server.emergencies import Emergencies
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.search import bundle
from hie.emergencies.model import Emergency, Stated
from hie.kernel.clock import instant
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

GRADE: Final = "http://hl7.org/fhir/StructureDefinition/match-grade"
_LONGEST_CODE: Final = 40


def desk_of(edge: Edge) -> Emergencies:
    """Who answers.

    Raises:
        HieError: UNSUPPORTED where nobody does.
    """
    if edge.emergencies is None:
        raise HieError(Category.UNSUPPORTED, "this server knows no emergency access")
    return edge.emergencies


def is_emergency(edge: Edge, call: Call) -> bool:
    """Whether a request is made for an emergency's purpose."""
    return edge.emergencies is not None and edge.emergencies.is_for(call.ctx.caller)


def refuse_for_emergencies(edge: Edge, call: Call) -> None:
    """Refuse what gives more than one person's record, or gives it later.

    Raises:
        HieError: FORBIDDEN.
    """
    if is_emergency(edge, call):
        text = "an emergency access reads one person's record now: it exports nothing"
        raise HieError(Category.FORBIDDEN, text)


async def known(
    edge: Edge, call: Call, patient: FhirJson, stated: Stated | None, address: str
) -> Answer:
    """A searchset with an id, or with nothing; the same whatever is hidden of the person."""
    person = await desk_of(edge).ask(call.ctx, patient, stated)
    base = edge.settings.base_url
    entries = []
    if person is not None:
        entry: FhirJson = {
            "fullUrl": f"{base}/Patient/{person}",
            "resource": {"resourceType": "Patient", "id": person},
            "search": {"extension": [{"url": GRADE, "valueCode": "certain"}], "mode": "match"},
        }
        entries.append(orjson.dumps(entry))
    found = bundle.scored(entries, total=len(entries), self_url=bundle.link(base, address))
    return Answer(body=found)


async def open_record(edge: Edge, call: Call) -> Answer:
    """The record is open until the time told."""
    return _told(await desk_of(edge).open(call.ctx, call.id))


async def end_access(edge: Edge, call: Call) -> Answer:
    """The record is closed again."""
    return _told(await desk_of(edge).end(call.ctx, call.id))


async def notices(edge: Edge, call: Call) -> Answer:
    """Communications to the patient, the newest first."""
    found = await desk_of(edge).notices(call.ctx, call.id)
    base = edge.settings.base_url
    entries = [orjson.dumps({"resource": one, "search": {"mode": "match"}}) for one in found]
    address = bundle.link(base, f"Patient/{call.id}/$emergency-notices")
    return Answer(body=bundle.scored(entries, total=len(entries), self_url=address))


def stated_of(parameter: Any, where: str, faults: list[Issue]) -> Stated | None:
    """The `reason` of a request: a coding, and the reason in words."""
    concept = parameter.get("valueCodeableConcept")
    codings = concept.get("coding") if isinstance(concept, dict) else None
    coding = codings[0] if isinstance(codings, list) and len(codings) == 1 else None
    code = coding.get("code") if isinstance(coding, dict) else None
    words = concept.get("text", "") if isinstance(concept, dict) else None
    if not isinstance(code, str) or not isinstance(words, str) or len(code) > _LONGEST_CODE:
        text = "`reason`: expected `valueCodeableConcept` with one `coding`, and `text`"
        place = f"{where}.valueCodeableConcept"
        faults.append(Issue(text=text, code="value", expression=(place,)))
        return None
    return Stated(code=code, words=words)


def _told(found: Emergency) -> Answer:
    parameters: list[FhirJson] = [
        {"name": "patient", "valueReference": {"reference": f"Patient/{found.person_id}"}},
        {"name": "opened", "valueInstant": instant(found.opened_us or 0)},
        {"name": "expires", "valueInstant": instant(found.expires_us or 0)},
    ]
    if found.ended_us is not None:
        parameters.append({"name": "ended", "valueInstant": instant(found.ended_us)})
    return Answer(body=orjson.dumps({"resourceType": "Parameters", "parameter": parameters}))
