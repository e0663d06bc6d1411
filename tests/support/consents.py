"""Consents, requests and facts written short, for the tests of `consent`."""

from functools import cache
from pathlib import Path
from typing import Any

from consent.evaluate import Law, decide
from consent.from_fhir.directive import ConsentReader
from consent.from_fhir.provision import LiteralDirectory
from consent.model import UNNAMED, AccessRequest, Decision, Directive, ResourceFacts
from consent.settings import load_consent_settings
from hie.kernel.fhir import FhirJson
from hie.store.dates import span

CONFIG = Path(__file__).resolve().parents[2] / "config"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
LOINC = "http://loinc.org"
REGIMES = ("massachusetts", "hipaa-treatment", "part2", "break-glass-only", "deny-all")

#: The organisations of the tests and their feeds.
FEEDS = {
    "Organization/clinic": frozenset({"clinic-adt"}),
    "Organization/lab": frozenset({"lab-oru"}),
    "Organization/hospital": frozenset({"hospital-adt", "hospital-fhir"}),
}
DIRECTORY = LiteralDirectory(
    identifiers={("urn:hie:test", "clinic"): "Organization/clinic"}, feeds=FEEDS
)


@cache
def law(regime: str = "massachusetts") -> Law:
    """The shipped settings of a regime."""
    return Law(load_consent_settings(CONFIG, regime))


def us(written: str) -> int:
    """The first microsecond of a date or time, in UTC."""
    found = span(written)
    assert found is not None
    return found[0]


NOW_US = us("2026-03-01T12:00:00Z")


def coded(system: str, *codes: str) -> list[dict[str, str]]:
    """Codings of one system."""
    return [{"system": system, "code": code} for code in codes]


def label(*codes: str) -> list[dict[str, str]]:
    """Security labels; single capitals are confidentialities."""
    return [
        {"system": CONFIDENTIALITY if len(code) == 1 else ACT_CODE, "code": code} for code in codes
    ]


def actor(reference: str, role: str = "IRCP") -> FhirJson:
    """A provision's actor."""
    return {"role": {"coding": [{"code": role}]}, "reference": {"reference": reference}}


def provision(kind: str | None, *nested: FhirJson, **elements: Any) -> FhirJson:
    """A provision; `actors`, `purposes` and `labels` are written short."""
    found: FhirJson = {} if kind is None else {"type": kind}
    if "actors" in elements:
        found["actor"] = [actor(f"Organization/{a}") for a in elements.pop("actors")]
    if "purposes" in elements:
        found["purpose"] = coded(ACT_REASON, *elements.pop("purposes"))
    if "labels" in elements:
        found["securityLabel"] = label(*elements.pop("labels"))
    found |= {name.rstrip("_"): value for name, value in elements.items()}
    if nested:
        found["provision"] = list(nested)
    return found


def consent(root: FhirJson | None = None, **elements: Any) -> FhirJson:
    """An active R4 privacy consent."""
    found: FhirJson = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "patient": {"reference": "Patient/p1"},
    }
    if root is not None:
        found["provision"] = root
    return found | {name.rstrip("_"): value for name, value in elements.items()}


def read(*consents: FhirJson, regime: str = "massachusetts") -> tuple[Directive, ...]:
    """Consents as directives c1, c2, ..."""
    reader = ConsentReader(law(regime).settings, law(regime).labels)
    return tuple(
        reader.directive(found, consent_id=f"c{number}", directory=DIRECTORY)
        for number, found in enumerate(consents, start=1)
    )


def request(*organizations: str, **elements: Any) -> AccessRequest:
    """A request for treatment by organisations (the first and what is above it)."""
    names = {f"Organization/{name}" for name in organizations}
    values: dict[str, Any] = {
        "now_us": NOW_US,
        "grantees": frozenset(names | {UNNAMED} if names else ()),
    }
    return AccessRequest(**values | elements)


def facts(type_name: str = "Observation", **elements: Any) -> ResourceFacts:
    """A resource of person p1 from the hospital; `labels` are codes, `on` is a date."""
    values: dict[str, Any] = {
        "type": type_name,
        "id": "r1",
        "source_id": "hospital-adt",
        "person_id": "p1",
        "label_mask": law().labels.mask_of(label(*elements.pop("labels", ()))),
    }
    period = span(elements.pop("on", ""))
    if period is not None:
        values |= {"clinical_lo_us": period[0], "clinical_hi_us": period[1]}
    return ResourceFacts(**values | elements)


def judged(
    asked: AccessRequest,
    about: ResourceFacts,
    *consents: FhirJson,
    regime: str = "massachusetts",
) -> Decision:
    """The decision on FHIR consents."""
    return decide(asked, about, read(*consents, regime=regime), law(regime))
