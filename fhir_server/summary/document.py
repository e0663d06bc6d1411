"""A patient summary put together: a Bundle of type document around one Composition (pure).

What a reader may not see is as what is not there, so an empty section never says that there is
nothing: its reason is `unavailable`, for everybody and always. The same content makes the same
document under the same ids, whoever asks.
Spec: https://hl7.org/fhir/uv/ips/STU2/, https://hl7.org/fhir/R4/documents.html
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import orjson

from fhir_server.latest import latest
from fhir_server.summary.narrative import narrative, sentence
from fhir_server.summary.plan import Section, SummaryPlan, Take
from hie.kernel.clock import instant
from hie.kernel.fhir import FhirJson, objects, split_reference
from hie.store.index import SearchIndex
from hie.store.query import Served

_LOINC: Final = "http://loinc.org"
_EMPTY: Final = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/list-empty-reason",
            "code": "unavailable",
            "display": "Unavailable",
        }
    ]
}
_PROFILE: Final = "http://hl7.org/fhir/uv/ips/StructureDefinition/Composition-uv-ips"
_CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
#: From the mildest.
_LEVELS: Final = ("U", "L", "M", "N", "R", "V")
_NAMES: Final = uuid.UUID("5e3f6a0e-6d5c-5c57-9a40-0d6d2f2f6b11")

#: What a section's part takes: its rule, and the resources in order.
Part = tuple[Take, list[Served]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a summary shows.

    Attributes:
        patient: the golden Patient.
        chosen: what the sections show, once each.
        beside: what those refer to.
    """

    patient: Served
    chosen: Sequence[Served]
    beside: Sequence[Served]


def choose(plan: SummaryPlan, index: SearchIndex, found: Sequence[Served]) -> list[Served]:
    """What of a record the sections show, once each."""
    taken = {
        (one.type, one.id): one
        for _, parts in _sections(plan, index, found)
        for _, part in parts
        for one in part
    }
    return list(taken.values())


def wanted(plan: SummaryPlan, chosen: Sequence[Served]) -> Mapping[str, Sequence[str]]:
    """What of the types told beside them the chosen refer to: ids by type."""
    found: dict[str, dict[str, None]] = {}
    for one in chosen:
        for element in objects(orjson.loads(one.body)):
            reference = element.get("reference")
            target = split_reference(reference) if isinstance(reference, str) else None
            if target is not None and target[0] in plan.beside:
                found.setdefault(target[0], {})[target[1]] = None
    return {name: list(ids) for name, ids in found.items()}


def document(
    plan: SummaryPlan, index: SearchIndex, content: Content, base: str, now_us: int
) -> bytes:
    """The Bundle.

    Args:
        plan: what the sections take.
        index: says when a resource is of.
        content: what `choose` and `wanted` led to.
        base: of every fullUrl.
        now_us: when the document is put together.
    """
    everything = (content.patient, *content.chosen, *content.beside)
    state = "|".join(f"{one.type}/{one.id}/{one.version}" for one in everything)
    name = uuid.uuid5(_NAMES, f"{base}|{state}")
    author = uuid.uuid5(_NAMES, f"{base}|{plan.author}")
    parsed = {f"{o.type}/{o.id}": _parsed(o) for o in (*content.chosen, *content.beside)}
    composition = {
        "resourceType": "Composition",
        "id": str(name),
        "meta": {"profile": [_PROFILE]},
        "status": "final",
        "type": _loinc(plan.type, plan.title),
        "subject": {"reference": f"{base}/Patient/{content.patient.id}"},
        "date": instant(max(one.last_updated_us for one in everything)),
        "author": [{"reference": f"urn:uuid:{author}", "display": plan.author}],
        "title": plan.title,
        "confidentiality": _strictest(_parsed(one) for one in everything),
        "section": [
            _section(plan, section, parts, parsed, base)
            for section, parts in _sections(plan, index, content.chosen)
            if section.is_kept or any(part for _, part in parts)
        ],
    }
    organization = {"resourceType": "Organization", "id": str(author), "name": plan.author}
    entries = [
        _entry(f"urn:uuid:{name}", orjson.dumps(composition)),
        *(_entry(f"{base}/{one.type}/{one.id}", one.body) for one in everything),
        _entry(f"urn:uuid:{author}", orjson.dumps(organization)),
    ]
    identifier = orjson.dumps({"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{name}"})
    return b"".join(
        (
            b'{"resourceType":"Bundle","id":"%s","identifier":' % str(name).encode(),
            identifier,
            b',"type":"document","timestamp":"%s","entry":[' % instant(now_us).encode(),
            b",".join(entries),
            b"]}",
        )
    )


def _sections(
    plan: SummaryPlan, index: SearchIndex, found: Sequence[Served]
) -> list[tuple[Section, list[Part]]]:
    by_type: dict[str, list[tuple[Served, FhirJson]]] = {}
    for one in found:
        by_type.setdefault(one.type, []).append((one, orjson.loads(one.body)))
    return [
        (
            section,
            [(take, _taken(take, by_type.get(take.type, ()), index)) for take in section.takes],
        )
        for section in plan.sections
    ]


def _taken(
    take: Take, found: Iterable[tuple[Served, FhirJson]], index: SearchIndex
) -> list[Served]:
    taken = [served for served, resource in found if take.takes(resource)]
    return latest(taken, "code", take.newest or len(taken) or 1, index)


def _section(
    plan: SummaryPlan,
    section: Section,
    parts: Sequence[Part],
    parsed: Mapping[str, FhirJson],
    base: str,
) -> FhirJson:
    told: FhirJson = {"title": section.title, "code": _loinc(section.code, section.title)}
    entries = [one for _, part in parts for one in part]
    if not entries:
        return {**told, "text": sentence(plan.empty), "emptyReason": _EMPTY}
    rows = [(take, [parsed[f"{one.type}/{one.id}"] for one in part]) for take, part in parts]
    return {
        **told,
        "text": narrative(rows, parsed),
        "entry": [{"reference": f"{base}/{one.type}/{one.id}"} for one in entries],
    }


def _loinc(code: str, text: str) -> FhirJson:
    return {"coding": [{"system": _LOINC, "code": code}], "text": text}


def _strictest(resources: Iterable[FhirJson]) -> str:
    """The confidentiality of what is shown: that of its most confidential part."""
    found = [
        _LEVELS.index(label["code"])
        for resource in resources
        for label in resource.get("meta", {}).get("security", ())
        if label.get("system") == _CONFIDENTIALITY and label.get("code") in _LEVELS
    ]
    return _LEVELS[max(found, default=_LEVELS.index("N"))]


def _parsed(served: Served) -> FhirJson:
    """With numbers as they were written."""
    resource: Any = json.loads(served.body, parse_float=Decimal)
    return resource  # type: ignore[no-any-return]  # a resource is an object


def _entry(url: str, body: bytes) -> bytes:
    return b'{"fullUrl":"%s","resource":%s}' % (url.encode(), body)
