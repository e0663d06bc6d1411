"""A relationship as the FHIR RelatedPerson that patient and proxy are served (pure).

Spec: https://hl7.org/fhir/R4/relatedperson.html
"""

from datetime import timedelta
from typing import Any

from hie.flow.placement import Placement
from hie.flow.relationships import Standing
from hie.kernel.clock import EPOCH
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import SourceRecordId
from hie.proxies.model import Because
from hie.proxies.policy import Policy

_ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
SCOPE = "urn:hie:proxy-scope"
KIND = "urn:hie:proxy-kind"
_OVER = frozenset(
    {Because.ENDED, Because.STOPPED, Because.NO_CUSTODY, Because.OVER, Because.OF_AGE}
)


def placement_of(standing: Standing, policy: Policy, record: SourceRecordId) -> Placement:
    """The RelatedPerson, filed under one of the patient's records."""
    resource = related_person(standing, policy) | {"patient": {"reference": f"Patient/{record}"}}
    relationship = standing.shown.plain.id
    return Placement(type="RelatedPerson", id=relationship, resource=resource, owner=record)


def related_person(standing: Standing, policy: Policy) -> FhirJson:
    """The RelatedPerson; not active once it was ended or stopped, or age has ended it."""
    shown = standing.shown
    found = shown.plain
    kind = policy.kinds.get(found.kind)
    codings = [{"system": KIND, "code": found.kind, "display": _title(policy, found.kind)}]
    if kind is not None:
        codings.insert(0, {"system": _ROLE_CODE, "code": kind.code})
    related: FhirJson = {
        "resourceType": "RelatedPerson",
        "id": found.id,
        "identifier": [{"system": "urn:hie:relationship", "value": found.id}],
        "active": standing.verdict.because not in _OVER,
        "patient": {"reference": f"Patient/{found.person}"},
        "relationship": [
            {"coding": codings},
            {"coding": [{"system": SCOPE, "code": found.scope}]},
        ],
        "name": [{"text": shown.detail.name}],
    }
    if shown.detail.telecom:
        related["telecom"] = [{"value": value} for value in shown.detail.telecom]
    if period := _period(found.from_us, found.to_us):
        related["period"] = period
    return related


def _title(policy: Policy, name: str) -> str:
    return policy.titles.get(name, name)


def _period(from_us: int | None, to_us: int | None) -> dict[str, Any]:
    said = {"start": from_us, "end": to_us}
    return {name: _day(at_us) for name, at_us in said.items() if at_us is not None}


def _day(at_us: int) -> str:
    return (EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="seconds")
