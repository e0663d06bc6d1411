"""What the demo's people wish: whom they let see their record, written as FHIR Consents."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from adapters.sources import Source
from hie.demo.dialect import ZONE
from hie.demo.fhir import as_json
from hie.demo.lists import Lists
from hie.demo.world import Case, Person, World
from hie.kernel.fhir import FhirJson

_SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
_ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_ROLE: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_PURPOSES: Final = ("TREAT", "HPAYMT", "HOPERAT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One person's wish.

    Attributes:
        source: the source that recorded it and sends it.
        denied: the source whose organisation may not see the record; empty for none.
        payloads: the Consent resources as sent: one, or a second one that only denies.
    """

    person: int
    source: str
    denied: str
    payloads: tuple[bytes, ...]


def wishes(world: World, lists: Lists, sources: Mapping[str, Source]) -> tuple[Wish, ...]:
    """Everybody's wishes: most share, some deny one organisation, some never said.

    Args:
        world: the people.
        lists: the chances.
        sources: the registered sources, by id: a Consent names their organisations.
    """
    found = []
    for person in world.people:
        rng = random.Random(f"{lists.plan.seed}:wish:{person.number}")
        denied = _denied(person, lists, rng)
        if denied is not None:
            found.append(_written(person, denied, sources, is_apart=rng.random() < 0.5))
    return tuple(found)


def _denied(person: Person, lists: Lists, rng: random.Random) -> str | None:
    """Whom the person denies, "" for nobody, None for somebody who was never asked."""
    if person.case is Case.FIVE_SOURCES:
        return lists.plan.heroine.denied
    roll, chances = rng.random() * 100, lists.plan.chances
    if roll < chances["consent_permit"]:
        return ""
    if roll < chances["consent_permit"] + chances["consent_deny"]:
        return rng.choice(sorted(lists.senders))
    return None


def _written(person: Person, denied: str, sources: Mapping[str, Source], *, is_apart: bool) -> Wish:
    """The wish as one Consent with an exception in it, or as two Consents."""
    home = person.registrations[0]
    signed_at = home.at + timedelta(minutes=10)
    patient = {"identifier": {"system": sources[home.source].own_authority, "value": home.value}}
    organization = _organization(sources[home.source])
    permit: FhirJson = {
        "type": "permit",
        "purpose": [{"system": _ACT_REASON, "code": code} for code in _PURPOSES],
    }
    deny: FhirJson = {"type": "deny", "actor": [_recipient(sources[denied])]} if denied else {}
    provisions = [permit]
    if denied and is_apart:
        provisions.append(deny)
    elif denied:
        permit["provision"] = [deny]
    return Wish(
        person=person.number,
        source=home.source,
        denied=denied,
        payloads=tuple(
            as_json(_consent(patient, organization, signed_at, provision))
            for provision in provisions
        ),
    )


def _consent(
    patient: FhirJson, organization: FhirJson, signed_at: datetime, provision: FhirJson
) -> FhirJson:
    day = signed_at.replace(tzinfo=ZONE).isoformat(timespec="seconds")
    rule = "OPTIN" if provision["type"] == "permit" else "OPTOUT"
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": _SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": patient,
        "dateTime": day,
        "organization": [organization],
        "policyRule": {"coding": [{"system": _ACT_CODE, "code": rule}]},
        "verification": [{"verified": True, "verifiedWith": patient, "verificationDate": day}],
        "provision": provision,
    }


def _recipient(source: Source) -> FhirJson:
    role = {"coding": [{"system": _ROLE, "code": "IRCP"}]}
    return {"role": role, "reference": _organization(source)}


def _organization(source: Source) -> FhirJson:
    """A reference by identifier, which is what a consent form knows."""
    organization = source.organization
    identifier = {"system": organization.system, "value": organization.value}
    return {"type": "Organization", "identifier": identifier, "display": organization.name}
