"""Privacy Consent on FHIR as a table: each kind of consent the profile shows, asked as it would be.

The rows follow the use cases of volume 1 and the example consents of the profile's basic,
intermediate and advanced options, in our own words and on our own resources. Where the text is
silent or its examples disagree, `why` says how we read it (docs/adr/0040).

Spec: https://profiles.ihe.net/ITI/PCF
"""

from dataclasses import dataclass, field
from typing import Any

import pytest

from consent.casefile import Files, filed, read_request
from consent.dry_run import DryRun
from hie.store.index import load_index
from tests.support.consents import (
    ACT_REASON,
    CONFIG,
    LOINC,
    NOW_US,
    actor,
    coded,
    consent,
    label,
    law,
    provision,
)

INDEX = load_index(CONFIG / "fhir")
TPO = ["TREAT", "HPAYMT", "HOPERAT"]
PATIENT, VISIT = {"reference": "Patient/p1"}, {"reference": "Encounter/visit"}


def observation(name: str, on: str, *labels: str, **elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "meta": {"security": label(*labels)},
        "subject": PATIENT,
        "code": {"coding": coded(LOINC, "8716-3")},
        "effectiveDateTime": on,
        **elements,
    }


#: A small record: three plain observations, one of alcohol use, one of psychiatry, the visit.
RECORD = (
    observation("sugar", "2020-12-04", "N", performer=[{"reference": "Practitioner/d2"}]),
    observation("pressure", "2004-12-25", encounter=VISIT),
    observation("weight", "2022-03-28", performer=[{"reference": "Practitioner/d1"}]),
    observation("alcohol", "2022-06-13", "R", "ETHUD", encounter=VISIT),
    observation("mood", "2023-02-01", "R", "PSY"),
    {
        "resourceType": "Encounter",
        "id": "visit",
        "status": "finished",
        "class": {"code": "HH"},
        "subject": PATIENT,
    },
)
PLAIN = {"sugar", "pressure", "weight", "visit"}
ALL = PLAIN | {"alcohol", "mood"}
NOTHING: set[str] = set()


@dataclass(frozen=True)
class Case:
    """One consent, asked once.

    Attributes:
        said: the consent; None = none was recorded.
        shown: ids of what is released.
        reason: how the first reason begins; its Consent and provision are the trace.
        residual: `forbid` or `permit` of each clause that no law makes, in order.
    """

    name: str
    said: Any
    decision: str
    shown: set[str]
    reason: str
    residual: tuple[str, ...] = ()
    asked: dict[str, Any] = field(default_factory=dict)
    regime: str = "massachusetts"
    why: str = ""


def tpo(kind: str, *nested: Any, **elements: Any) -> dict[str, Any]:
    return consent(provision(kind, *nested, purposes=TPO, **elements))


def data(meaning: str, reference: str) -> list[dict[str, Any]]:
    return [{"meaning": meaning, "reference": {"reference": reference}}]


def policy(name: str) -> dict[str, Any]:
    return consent(policy=[{"uri": f"https://profiles.ihe.net/ITI/PCF/Policy-{name}"}])


YEAR = {"start": "2022-01", "end": "2022-12"}
EMERGENCY = {"purpose": "BTG", "breakGlass": {"reason": "unconscious"}}
BASE, FIRST = "Permitted by Consent/0 version 1, provision /.", "provision /1/."
NO_CONSENT = "No consent speaks"

IMPLICIT = (
    Case("nobody agreed, opt-in", None, "deny", NOTHING, NO_CONSENT),
    Case("nobody objected, opt-out", None, "permit", ALL, NO_CONSENT, regime="hipaa-treatment"),
    Case("opt-out is for treatment", None, "deny", NOTHING, NO_CONSENT,
         asked={"purpose": "HPAYMT"}, regime="hipaa-treatment"),
    Case("break-glass only, no emergency", None, "deny", NOTHING, NO_CONSENT,
         regime="break-glass-only"),
    Case("break-glass only, emergency", None, "permit", ALL, "An emergency access",
         asked=EMERGENCY, regime="break-glass-only"),
    Case("break-glass only, no reason", None, "deny", NOTHING, "This purpose needs",
         asked={"purpose": "BTG"}, regime="break-glass-only"),
    Case("deny", None, "deny", NOTHING, NO_CONSENT, regime="deny-all"),
    Case("deny, emergency", None, "deny", NOTHING, NO_CONSENT, asked=EMERGENCY, regime="deny-all"),
    Case("a recorded consent overrides the implicit policy", tpo("permit"), "permit", ALL, BASE,
         regime="deny-all"),
    Case("the policy basic-normal by name", policy("basic-normal"), "permit", PLAIN, BASE,
         ("forbid", "permit")),
    Case("basic-normal is for treatment, payment, operations", policy("basic-normal"), "deny",
         NOTHING, NO_CONSENT, asked={"purpose": "HRESCH"}),
    Case("the policy all-normal by name", policy("all-normal"), "permit", PLAIN, BASE,
         ("forbid", "permit"), asked={"purpose": "HRESCH"}),
    Case("the policy break-glass-only by name", policy("break-glass-only"), "deny", NOTHING,
         NO_CONSENT),
    Case("the policy deny by name", policy("deny"), "deny", NOTHING, "Denied by Consent/0",
         regime="hipaa-treatment"),
)  # fmt: skip
BASIC = (
    Case("permit treatment, payment, operations", tpo("permit"), "permit", ALL, BASE),
    Case("payment", tpo("permit"), "permit", ALL, BASE, asked={"purpose": "HPAYMT"}),
    Case("coordination of care is treatment", tpo("permit"), "permit", ALL, BASE,
         asked={"purpose": "COC"}),
    Case("research was not agreed to", tpo("permit"), "deny", NOTHING, NO_CONSENT,
         asked={"purpose": "HRESCH"}),
    Case("an emergency's treatment is another purpose", tpo("permit"), "deny", NOTHING,
         NO_CONSENT, asked={"purpose": "ETREAT"}, why="v3-ActReason puts it below TREAT"),
    Case("rejected", tpo("deny"), "deny", NOTHING, "Denied by Consent/0"),
    Case("rejected, where silence would permit", tpo("deny"), "deny", NOTHING,
         "Denied by Consent/0", regime="hipaa-treatment"),
    Case("expired", tpo("permit", period={"end": "2022-12-31"}), "deny", NOTHING, NO_CONSENT,
         why="the implicit policy holds again, as volume 1 says; the example says: error"),
    Case("expired, where silence permits", tpo("permit", period={"end": "2022-12-31"}), "permit",
         ALL, NO_CONSENT, regime="hipaa-treatment"),
    Case("for one organisation", tpo("permit", actors=["clinic"]), "permit", ALL, BASE),
    Case("for another organisation", tpo("permit", actors=["lab"]), "deny", NOTHING, NO_CONSENT),
    Case("revoked", tpo("permit") | {"status": "inactive"}, "deny", NOTHING, NO_CONSENT),
)  # fmt: skip
INTERMEDIATE = (
    Case("only what was written in a year", tpo("permit", dataPeriod=YEAR), "permit",
         {"weight", "alcohol"}, BASE, ("forbid", "permit"),
         why="the visit has no date: a permit does not match what is not known"),
    Case("all but a year", tpo("permit", provision("deny", dataPeriod=YEAR)), "permit",
         {"sugar", "pressure", "mood"}, BASE, ("forbid",),
         why="the visit has no date: a denial matches what is not known"),
    Case("only what somebody wrote", tpo("permit", data=data("authoredby", "Practitioner/d1")),
         "permit", {"weight"}, BASE, ("forbid", "permit")),
    Case("all but what somebody wrote",
         tpo("permit", provision("deny", data=data("authoredby", "Practitioner/d1"))),
         "permit", ALL - {"weight"}, BASE, ("forbid",),
         why="the example's notes say permit, its provision says deny: we read what it says"),
    Case("only a visit", tpo("permit", data=data("related", "Encounter/visit")), "permit",
         {"visit", "pressure", "alcohol"}, BASE, ("forbid", "permit"),
         why="`related` to an Encounter is read as in the course of it"),
    Case("all but a visit",
         tpo("permit", provision("deny", data=data("related", "Encounter/visit"))), "permit",
         ALL - {"visit", "pressure", "alcohol"}, BASE, ("forbid",)),
    Case("only named resources",
         tpo("permit", data=data("instance", "Observation/sugar")
             + data("instance", "Encounter/visit")),
         "permit", {"sugar", "visit"}, BASE, ("forbid", "permit")),
    Case("all but a named resource",
         tpo("permit", provision("deny", data=data("instance", "Observation/alcohol"))), "permit",
         ALL - {"alcohol"}, BASE, ("forbid",)),
    Case("a research project by its own code",
         consent(provision("permit", actors=["clinic"],
                           purpose=coded("http://example.org/purposes", "FooBar"))),
         "permit", ALL, BASE, asked={"purpose": "http://example.org/purposes|FooBar"}),
    Case("that project, for treatment",
         consent(provision("permit", actors=["clinic"],
                           purpose=coded("http://example.org/purposes", "FooBar"))),
         "deny", NOTHING, NO_CONSENT),
    Case("research includes clinical trials", consent(provision("permit", purposes=["HRESCH"])),
         "permit", ALL, BASE, asked={"purpose": "CLINTRCH"}),
    Case("dissent but in an emergency",
         tpo("deny", provision("permit", purpose=coded(ACT_REASON, "BTG"))), "deny", NOTHING,
         "Denied by Consent/0", regime="break-glass-only"),
    Case("dissent but in an emergency, in one",
         tpo("deny", provision("permit", purpose=coded(ACT_REASON, "BTG"))), "permit", ALL,
         "Permitted by Consent/0 version 1, " + FIRST, asked=EMERGENCY,
         regime="break-glass-only"),
)  # fmt: skip
ADVANCED = (
    Case("normal data", tpo("permit", labels=["N"]), "permit", PLAIN, BASE, ("forbid", "permit")),
    Case("normal and restricted data", tpo("permit", labels=["N", "R"]), "permit", ALL, BASE,
         ("forbid", "permit")),
    Case("normal and not restricted data",
         tpo("permit", provision("deny", labels=["R"]), labels=["N"]), "permit", PLAIN, BASE,
         ("forbid", "permit", "forbid")),
    Case("restricted data for one organisation, asked by it",
         tpo("permit", provision("permit", labels=["R"], actors=["clinic"]), labels=["N"]),
         "permit", ALL, BASE, ("forbid", "permit", "permit")),
    Case("restricted data for one organisation, asked by another",
         tpo("permit", provision("permit", labels=["R"], actors=["lab"]), labels=["N"]),
         "permit", PLAIN, BASE, ("forbid", "permit")),
    Case("psychiatry for one person, asked by them",
         tpo("permit", provision("permit", labels=["PSY"],
                                 actor=[actor("Practitioner/d1")]), labels=["N"]),
         "permit", PLAIN | {"mood"}, BASE, ("forbid", "permit", "permit")),
    Case("psychiatry for one person, asked by another",
         tpo("permit", provision("permit", labels=["PSY"],
                                 actor=[actor("Practitioner/d2")]), labels=["N"]),
         "permit", PLAIN, BASE, ("forbid", "permit")),
    Case("psychiatry or violence",
         tpo("permit", provision("permit", labels=["PSY", "SDV"]), labels=["N"]),
         "permit", PLAIN | {"mood"}, BASE, ("forbid", "permit", "permit"),
         why="a resource with a further label needs that one permitted, too"),
    Case("all but psychiatry", tpo("permit", provision("deny", labels=["PSY"])), "permit",
         ALL - {"mood"}, BASE, ("forbid",)),
    Case("all but alcohol, by its parent", tpo("permit", provision("deny", labels=["ETH"])),
         "permit", ALL - {"alcohol"}, BASE, ("forbid",),
         why="ETH is no parent of ETHUD in the code system; PCF treats it as one, and so do we"),
    Case("a label nobody knows, denied", tpo("permit", provision("deny", labels=["GOSSIP"])),
         "deny", NOTHING, "Denied by Consent/0 version 1, " + FIRST,
         why="what is not understood widens a denial"),
    Case("a label nobody knows, permitted", tpo("permit", labels=["GOSSIP"]), "deny", NOTHING,
         NO_CONSENT, why="what is not understood voids a permit"),
)  # fmt: skip
CASES = {
    f"{level}: {case.name}": case
    for level, cases in (
        ("implicit", IMPLICIT),
        ("basic", BASIC),
        ("intermediate", INTERMEDIATE),
        ("advanced", ADVANCED),
    )
    for case in cases
}


@pytest.mark.parametrize("name", CASES)
def test_pcf(name):
    case = CASES[name]
    by = law(case.regime)
    consents = filed([("0.json", case.said)] if case.said else [])
    record = filed((f"{one['id']}.json", one) for one in RECORD)
    files = Files.of([*consents, *record], by.settings)
    request = {
        "patient": "Patient/p1",
        "actors": [{"reference": "Practitioner/d1"}],
        "organization": "Organization/clinic",
        "purpose": "TREAT",
        "at": "2026-03-01T12:00:00Z",
        **case.asked,
    }
    asked = read_request(request, "request.json", files, by.settings, NOW_US)
    found = DryRun(by, INDEX, files).decided(asked, record)
    assert found["decision"] == case.decision, case.why
    assert {ref.partition("/")[2] for ref in found["released"]} == case.shown, case.why
    assert found["reasons"][0].startswith(case.reason), found["reasons"]
    own = tuple(one["type"] for one in found["residual"] if "law" not in one)
    assert own == case.residual
    assert len(found["released"]) + len(found["withheld"]) == len(RECORD)


def test_no_two_cases_have_one_name():
    assert len(CASES) == len(IMPLICIT) + len(BASIC) + len(INTERMEDIATE) + len(ADVANCED)
