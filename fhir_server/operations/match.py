"""Patient/$match: the persons whom a description may mean, best first (IHE ITI-119).

Each entry is one person, as the caller sees that person: `search.score` is the probability
that it is the one described, `match-grade` what to make of it. With `explain` the entry says
which comparisons led there: levels and bits, never values. For an emergency's purpose only the
id of a person who fits for certain is told (`fhir_server.operations.emergency`).
Spec: https://hl7.org/fhir/R4/patient-operation-match.html,
https://profiles.ihe.net/ITI/PDQm/ITI-119.html
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from adapters.fhir.body import Limits, parse_body
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.negotiate import require_json_content
from fhir_server.operations.emergency import GRADE, is_emergency, known, stated_of
from fhir_server.search import bundle
from fhir_server.validate import validate
from hie.emergencies.model import Stated
from hie.identities import Candidate
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

EXPLANATION: Final = "urn:hie:match-explanation"
ADDRESS: Final = "Patient/$match"
#: Persons told of where the caller names no number, and at most.
DEFAULT_COUNT: Final = 10
MOST: Final = 50
_LIMITS: Final = Limits(body_bytes=256 * 1024, depth=40)
#: Parameters beside `resource`, and the member that holds their value.
_OPTIONS: Final = {
    "onlyCertainMatches": "valueBoolean",
    "count": "valueInteger",
    "explain": "valueBoolean",
}
#: What is stated in an emergency, instead.
_REASON: Final = "reason"
#: Elements that could turn the meaning of others round; the profile does without them.
_MEANING: Final = ("implicitRules", "modifierExtension")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked: a description, and how to answer; in an emergency, for what reason."""

    patient: FhirJson
    count: int = DEFAULT_COUNT
    only_certain: bool = False
    explain: bool = False
    stated: Stated | None = None


async def match(edge: Edge, call: Call) -> Answer:
    """The candidates as a searchset.

    Raises:
        HieError: INVALID for a body that is no such request, BUSINESS_RULE for a Patient that
            is none, or that holds nothing to search by.
    """
    require_json_content(call.headers.get("Content-Type"))
    urgent = is_emergency(edge, call)
    asked = read_request(parse_body(call.body, _LIMITS), is_emergency=urgent)
    if urgent:
        return await known(edge, call, asked.patient, asked.stated, ADDRESS)
    candidates = await edge.identities.identify_candidates(
        call.ctx, asked.patient, count=asked.count, only_certain=asked.only_certain
    )
    base = edge.settings.base_url
    entries = [_entry(base, found, explain=asked.explain) for found in candidates.found]
    body = bundle.scored(entries, total=candidates.total, self_url=bundle.link(base, ADDRESS))
    return Answer(body=body)


def read_request(body: FhirJson, *, is_emergency: bool = False) -> Asked:
    """A Parameters resource, or a bare Patient, as a request.

    Args:
        body: what was sent.
        is_emergency: `reason` is taken, and of the options none: the answer is the same.

    Raises:
        HieError: INVALID with the place of every fault.
    """
    if body["resourceType"] == "Patient":
        return Asked(patient=_described(body, "Patient"))
    parameters = body.get("parameter")
    if body["resourceType"] != "Parameters" or not isinstance(parameters, list):
        text = "expected Parameters with a `resource`, or a Patient"
        issue = Issue(text=text, code="structure", expression=("$this",))
        raise HieError(Category.INVALID, text, [issue])
    asked: Asked | None = None
    options: dict[str, Any] = {}
    faults: list[Issue] = []
    offered = (_REASON,) if is_emergency else tuple(_OPTIONS)
    for place, parameter in enumerate(parameters):
        where = f"Parameters.parameter[{place}]"
        name = parameter.get("name") if isinstance(parameter, dict) else None
        if name == "resource" and asked is None:
            asked = Asked(patient=_described(parameter.get("resource"), f"{where}.resource"))
        elif name in offered and name not in options:
            options[name] = _value(parameter, name, where, faults)
        else:
            faults.append(_unexpected(where, offered))
    if asked is None:
        text = "`resource`: expected one Patient with what is known"
        faults.append(Issue(text=text, code="required", expression=("Parameters.parameter",)))
    if faults or asked is None:
        raise HieError(Category.INVALID, "the request cannot be understood", faults)
    return replace(
        asked,
        count=min(options.get("count", DEFAULT_COUNT), MOST),
        only_certain=options.get("onlyCertainMatches", False),
        explain=options.get("explain", False),
        stated=options.get(_REASON),
    )


def _described(patient: Any, where: str) -> FhirJson:
    """The Patient of a request, valid.

    Raises:
        HieError: BUSINESS_RULE with one issue per fault.
    """
    if not isinstance(patient, dict) or patient.get("resourceType") != "Patient":
        text = "expected a Patient"
        raise HieError(
            Category.INVALID, text, [Issue(text=text, code="structure", expression=(where,))]
        )
    faults = [
        Issue(text=f"`{name}` is not taken here", code="not-supported", expression=(where,))
        for name in _MEANING
        if name in patient
    ]
    faults += [_placed(i, where) for i in validate(patient) if i.severity in ("error", "fatal")]
    if faults:
        raise HieError(Category.BUSINESS_RULE, "the Patient is not valid", faults)
    return patient


def _placed(issue: Issue, where: str) -> Issue:
    return replace(
        issue,
        expression=tuple(
            where + told.removeprefix("Patient") for told in issue.expression or ("Patient",)
        ),
    )


def _value(parameter: FhirJson, name: str, where: str, faults: list[Issue]) -> Any:
    if name == _REASON:
        return stated_of(parameter, where, faults)
    member = _OPTIONS[name]
    value = parameter.get(member)
    if member == "valueBoolean" and isinstance(value, bool):
        return value
    if member == "valueInteger" and type(value) is int and value > 0:
        return value
    expected = "true or false" if member == "valueBoolean" else "a whole number above 0"
    text = f"`{name}`: expected `{member}`, {expected}"
    faults.append(Issue(text=text, code="value", expression=(f"{where}.{member}",)))
    return None


def _unexpected(where: str, options: Iterable[str]) -> Issue:
    text = f"expected `resource`, {', '.join(f'`{name}`' for name in options)}, each once"
    return Issue(text=text, code="not-supported", expression=(f"{where}.name",))


def _entry(base: str, found: Candidate, *, explain: bool) -> bytes:
    extensions: list[FhirJson] = [{"url": GRADE, "valueCode": found.fit.grade.value}]
    if explain:
        extensions.append(_explanation(found))
    search = {"extension": extensions, "mode": "match", "score": found.fit.score}
    return bundle.entry(base, found.patient, orjson.dumps(search))


def _explanation(found: Candidate) -> FhirJson:
    fit, best = found.fit, found.fit.best
    prior = best.score.bits - sum(one.bits + one.term_bits for one in best.score.evidence)
    told: list[FhirJson] = [
        {"url": "bits", "valueDecimal": round(best.strength, 2)},
        {"url": "prior", "valueDecimal": round(prior, 2)},
    ]
    if fit.reason:
        told.append({"url": "reason", "valueCode": fit.reason})
    if best.hit is not None:
        told.append({"url": "rule", "valueCode": best.hit.id})
    told += [
        {
            "url": "evidence",
            "extension": [
                {"url": "comparison", "valueCode": one.comparison},
                {"url": "level", "valueCode": one.level},
                {"url": "bits", "valueDecimal": round(one.bits + one.term_bits, 2)},
            ],
        }
        for one in best.score.evidence
    ]
    return {"url": EXPLANATION, "extension": told}
