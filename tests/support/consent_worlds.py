"""Random consents, resources and callers, small enough to meet one another often.

Everything comes from one `random.Random`: a seed is a world.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from consent.confine import Reach
from consent.grantees import names_of
from consent.model import AccessRequest, ResourceFacts
from hie.kernel.fhir import FhirJson
from tests.support.consents import (
    ACT_REASON,
    GROUPS,
    LOINC,
    NOW_US,
    ROLE_SYSTEM,
    ROLES,
    actor,
    coded,
    facts,
    label,
    law,
)

ORGANIZATIONS = ("clinic", "lab", "hospital", "network")
SOURCES = ("clinic-adt", "lab-oru", "hospital-adt", "hospital-fhir")
PURPOSES = ("TREAT", "COC", "HPAYMT", "HRESCH", "CLINTRCH", "ETREAT", "BTG", "PATRQT")
#: Labels kept from who asks in a patient's place.
WITHHELD = law().labels.bits(["HIV", "SUD"])
LABELS = ("R", "V", "HIV", "PSY", "SUD", "OPIOIDUD", "ETHUD", "SDV", "PSYTHPN", "42CFRPart2", "MH")
TYPES = ("Observation", "Condition", "Encounter", "DocumentReference")
#: Neighbours, so that ends often meet.
DATES = ("2021-06", "2022", "2022-12-31T23:59:59Z", "2023-01-01T00:00:00Z")
CODES = ("4548-4", "2345-7", "20447-9")
REFERENCES = ("Practitioner/d1", "Practitioner/d2", "Encounter/e1", "Encounter/e2")
#: Elements no hub understands.
GARBAGE: Sequence[tuple[str, Any]] = (
    ("actor", [actor("Group/everyone")]),
    ("actor", [actor("CareTeam/nobody-knows")]),
    ("actor", [{"role": {"coding": [{"code": "GOSSIP"}]}}]),
    ("extension", "x"),
    ("purpose", [{"display": "as needed"}]),
    ("action", [{"coding": [{"code": "sell"}]}]),
    ("class", [{"system": "urn:ietf:bcp:13", "code": "text/plain"}]),
    ("code", [{"text": "that thing"}]),
    ("data", [{"meaning": "guessed", "reference": {"reference": "Observation/x1"}}]),
    ("dataPeriod", {"start": "once"}),
    ("period", {"start": "2027", "end": "2021"}),
    ("securityLabel", label("GOSSIP")),
    ("expression", {"expression": "true"}),
    ("type", "perhaps"),
)


def some(rng: Random, values: Sequence[str], most: int = 2) -> list[str]:
    """One to `most` of the values."""
    return rng.sample(values, rng.randint(1, most))


def a_period(rng: Random, dates: Sequence[str] = DATES) -> FhirJson:
    """A Period with one end or two."""
    start, end = sorted(rng.choices(dates, k=2))
    return rng.choice([{"start": start}, {"end": end}, {"start": start, "end": end}])


def type_of(number: int) -> str:
    """The type of resource `x<number>`: an id is never of two types, as in the hub."""
    return TYPES[number % len(TYPES)]


def a_provision(rng: Random, depth: int = 3, numbers: Sequence[int] = range(1, 21)) -> FhirJson:
    """A provision with a few elements and what is nested in it.

    Args:
        depth: levels that may be nested in it.
        numbers: of the resources it may name.
    """
    found: FhirJson = {"type": rng.choice(["permit", "permit", "deny"])}
    makers = {
        "actor": lambda: [_an_actor(rng) for _ in range(rng.randint(1, 2))],
        "purpose": lambda: coded(ACT_REASON, *some(rng, PURPOSES, 3)),
        "securityLabel": lambda: label(*some(rng, ("N", *LABELS), 3)),
        "dataPeriod": lambda: a_period(rng),
        "class": lambda: [{"code": code} for code in some(rng, TYPES, 3)],
        "code": lambda: [{"coding": coded(LOINC, *some(rng, CODES))}],
        "data": lambda: [_data(rng, numbers) for _ in range(rng.randint(1, 2))],
        "period": lambda: a_period(rng, ("2020", "2025-01-01", "2026-02", "2026-06-30", "2030")),
        "action": lambda: [{"coding": [{"code": rng.choice(["access", "use", "collect"])}]}],
    }
    weights = (5, 4, 5, 2, 2, 2, 3, 1, 1)
    # Sorted: the order of a set of texts is another in every process.
    for name in sorted(set(rng.choices(list(makers), weights, k=rng.choice([0, 1, 1, 2, 3])))):
        found[name] = makers[name]()
    if rng.random() < 0.03:
        name, value = rng.choice(GARBAGE)
        found[name] = value
    if depth:
        nested = [a_provision(rng, depth - 1, numbers) for _ in range(rng.choice([0, 0, 1, 1, 2]))]
        found |= {"provision": nested} if nested else {}
    return found


def a_consent(rng: Random, numbers: Sequence[int] = range(1, 21)) -> FhirJson:
    """A Consent, now and then one that is not in effect or cannot be read."""
    found: FhirJson = {"status": "active", "provision": a_provision(rng, numbers=numbers)}
    oddity = rng.random()
    if oddity < 0.03:
        found["status"] = rng.choice(["inactive", "on-hold"])
    elif oddity < 0.05:
        found["modifierExtension"] = [{"url": "urn:x"}]
    elif oddity < 0.1:
        nested = found.pop("provision").get("provision", [])
        found |= {"decision": rng.choice(["permit", "deny"]), "provision": nested}
    return found


def a_reach(rng: Random, records: Sequence[str]) -> Reach:
    """How far a consent of a person reaches whose records were joined or parted."""
    binds = None if rng.random() < 0.6 else frozenset(rng.sample(records, len(records) - 1))
    return Reach(opens=frozenset(rng.sample(records, rng.choice([0, 1, 1, 2]))), binds=binds)


def a_resource(rng: Random, number: int, person: str | None) -> ResourceFacts:
    """A resource with id `x<number>`; some have no date."""
    codes = rng.sample(CODES, rng.choice([0, 1, 1, 2]))
    return replace(
        facts(
            type_of(number),
            labels=rng.sample(LABELS, rng.choice([0, 0, 0, 1, 1, 2])),
            on=rng.choice(["", *DATES]),
        ),
        id=f"x{number}",
        person_id=person,
        source_id=rng.choice(SOURCES),
        codes=frozenset((LOINC, code) for code in codes),
        references=frozenset(rng.sample(REFERENCES, rng.choice([0, 0, 1, 2]))),
    )


def a_request(rng: Random, persons: Sequence[str]) -> AccessRequest:
    """Mostly an organisation, now and then a patient, a steward or nobody."""
    kind = rng.random()
    if kind < 0.1:
        return AccessRequest(
            self_person=rng.choice(persons),
            withheld_mask=rng.choice([0, 0, WITHHELD]),
            now_us=NOW_US,
            purpose="PATRQT",
        )
    organization = rng.choice(ORGANIZATIONS)
    places = {f"Organization/{organization}"}
    if rng.random() < 0.3:
        places.add("Organization/network")
    person = rng.choice([None, "Practitioner/d1", "Practitioner/d2"])
    names = names_of(places, person, some(rng, ROLES) if rng.random() < 0.5 else ())
    own = [source for source in SOURCES if source.startswith(organization)]
    return AccessRequest(
        grantees=names if kind < 0.97 else frozenset(),
        purpose=rng.choices(PURPOSES, (8, 3, 3, 2, 2, 2, 2, 1))[0],
        action=rng.choices(["access", "collect"], (9, 1))[0],
        now_us=NOW_US,
        own_sources=frozenset(own) if rng.random() < 0.2 else frozenset(),
        is_steward=rng.random() < 0.05,
        break_glass=frozenset(persons[::2]) if rng.choice([False, True]) else frozenset(),
    )


def _an_actor(rng: Random) -> FhirJson:
    kind = rng.random()
    if kind < 0.5:
        return actor(f"Organization/{rng.choice(ORGANIZATIONS)}")
    if kind < 0.65:
        return actor(f"Practitioner/{rng.choice(['d1', 'd2'])}")
    if kind < 0.75:
        return actor(rng.choice(sorted(GROUPS)))
    if kind < 0.85:
        acting = {"role": {"coding": coded(ROLE_SYSTEM, rng.choice(ROLES))}}
        named = actor(rng.choice(["Organization/clinic", "Organization/lab", "Practitioner/d1"]))
        return rng.choice([acting, named | acting])
    if kind < 0.97:
        return actor(f"Organization/{rng.choice(ORGANIZATIONS[:3])}", "CST")
    return actor("Group/everyone")


def _data(rng: Random, numbers: Sequence[int]) -> FhirJson:
    named = rng.choice(numbers)
    meaning, reference = rng.choice(
        [
            ("instance", f"{type_of(named)}/x{named}"),
            ("instance", f"Observation/x{named}"),
            ("related", rng.choice(["Encounter/e1", "Encounter/e2"])),
            ("dependents", f"{type_of(named)}/x{named}"),
            ("authoredby", rng.choice(["Practitioner/d1", "Practitioner/d2", "Organization/lab"])),
        ]
    )
    return {"meaning": meaning, "reference": {"reference": reference}}
