"""Consents, requests and facts written short, for the tests of `consent`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any, Literal

from consent.evaluate import Law, decide
from consent.from_fhir.directive import ConsentReader
from consent.from_fhir.members import Collectives
from consent.from_fhir.provision import Directory, LiteralDirectory
from consent.grantees import names_of
from consent.model import AccessRequest, Decision, Directive, ResourceFacts
from consent.regime import RegimeRule
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
ROLES = ("nurse", "doctor")
ROLE_SYSTEM = "http://snomed.info/sct"
#: Groups that consents name, with members for good, for a time, and once.
GROUPS: Mapping[str, FhirJson] = {
    "Group/staff": {
        "actual": True,
        "member": [
            {"entity": {"reference": "Practitioner/d1"}},
            {"entity": {"reference": "Organization/lab"}, "period": {"start": "2026-03"}},
            {"entity": {"reference": "Practitioner/d2"}, "inactive": True},
        ],
    },
    "CareTeam/team": {
        "status": "active",
        "participant": [
            {
                "member": {"reference": "Practitioner/d2"},
                "onBehalfOf": {"reference": "Organization/clinic"},
            },
            {"member": {"reference": "Group/staff"}, "period": {"end": "2026-06"}},
        ],
    },
    "PractitionerRole/nurses": {
        "organization": {"reference": "Organization/hospital"},
        "code": [{"coding": [{"system": ROLE_SYSTEM, "code": "nurse"}]}],
    },
    "PractitionerRole/gone": {"practitioner": {"reference": "Practitioner/d1"}, "active": False},
}
_LITERAL = LiteralDirectory(identifiers={("urn:hie:test", "clinic"): "Organization/clinic"})
_COLLECTIVES = Collectives(GROUPS, _LITERAL.grantee, UTC)
DIRECTORY = replace(
    _LITERAL, feeds=FEEDS, groups={name: _COLLECTIVES.members(name) for name in GROUPS}
)


#: A regime that nobody ships: every kind of category, two borders, dated rules.
PATCHWORK = "patchwork"
#: What the oracle chooses from.
LAWS = (*REGIMES, PATCHWORK)


@cache
def law(regime: str = "massachusetts") -> Law:
    """The shipped settings of a regime, or the patchwork's."""
    if regime != PATCHWORK:
        return Law(load_consent_settings(CONFIG, regime))
    settings = load_consent_settings(CONFIG, "massachusetts")
    rules = (
        _rule("permit", purposes=frozenset({"TREAT"}), types=frozenset({"Observation"})),
        _rule("permit", sources=frozenset({"lab-oru", "clinic-adt"}), labels=("R",)),
        _rule("deny", sources=frozenset({"hospital-fhir"}), types=frozenset({"Condition"})),
        _rule("deny", labels=("PSY",), types=frozenset({"Condition", "Encounter"})),
        _rule("permit", purposes=frozenset({"HRESCH"}), labels=(), to_us=0),
        _rule("deny", purposes=frozenset({"HPAYMT"}), from_us=NOW_US + 1),
    )
    # The HIV rule was repealed before now; that of psychotherapy notes begins later.
    dated: dict[str, dict[str, Any]] = {
        "HIV": {"to_us": NOW_US - 1},
        "psychotherapy-notes": {"from_us": NOW_US + 1},
    }
    hard = tuple(replace(rule, **dated.get(rule.name, {})) for rule in settings.hard_rules)
    regime_of = replace(settings.regime, name=PATCHWORK, rules=rules, hard=frozenset({"SUD"}))
    return Law(replace(settings, regime=regime_of, hard_rules=hard))


def _rule(effect: Literal["permit", "deny"], **elements: Any) -> RegimeRule:
    anything: dict[str, Any] = dict.fromkeys(
        ("purposes", "labels", "types", "sources", "from_us", "to_us")
    )
    return RegimeRule(effect=effect, **anything | elements)


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


def read(
    *consents: FhirJson, regime: str = "massachusetts", directory: Directory = DIRECTORY
) -> tuple[Directive, ...]:
    """Consents as directives c1, c2, ..."""
    reader = ConsentReader(law(regime).settings, law(regime).labels)
    return tuple(
        reader.directive(found, consent_id=f"c{number}", directory=directory)
        for number, found in enumerate(consents, start=1)
    )


def request(*organizations: str, **elements: Any) -> AccessRequest:
    """A request for treatment by organisations (the first and what is above it)."""
    names = names_of(f"Organization/{name}" for name in organizations)
    values: dict[str, Any] = {"now_us": NOW_US, "grantees": names}
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
    directives: Sequence[Directive] = (),
) -> Decision:
    """The decision on FHIR consents, and on those that were read before."""
    found = (*directives, *read(*consents, regime=regime))
    return decide(asked, about, found, law(regime))
