"""Words for building resources: references within one bundle, codings, times."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

Resource = dict[str, Any]

CORE = "http://hl7.org/fhir/us/core"
PROFILE = f"{CORE}/StructureDefinition/"
HL7 = "http://terminology.hl7.org/CodeSystem/"
LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
UCUM = "http://unitsofmeasure.org"
NPI = "http://hl7.org/fhir/sid/us-npi"
_NAMES = uuid.UUID("5c0e5a52-6e0d-4a83-9d5b-3d3b6f3f2b11")


def coding(system: str, code: str, display: str = "") -> Resource:
    """A Coding."""
    return {"system": system, "code": code} | ({"display": display} if display else {})


def concept(system: str, code: str, display: str = "") -> Resource:
    """A CodeableConcept of one coding, with its text."""
    told: Resource = {"coding": [coding(system, code, display)]}
    return told | ({"text": display} if display else {})


def quantity(value: float, unit: str, code: str = "") -> Resource:
    """A Quantity of UCUM."""
    return {"value": value, "unit": unit, "system": UCUM, "code": code or unit}


def narrative(text: str) -> Resource:
    """A generated narrative of plain text."""
    told = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>'
    return {"status": "generated", "div": told}


@dataclass(slots=True, kw_only=True)
class Chart:
    """Resources that refer to one another by the addresses they have in one bundle.

    Attributes:
        name: of the chart; no two charts share an address.
        today: nothing in the chart is later.
    """

    name: str
    today: date
    made: dict[str, Resource] = field(default_factory=dict)

    def add(self, key: str, profile: str, resource: Resource) -> None:
        """Take a resource in, stating its profile; "" for none of US Core's."""
        stated = {"meta": {"profile": [PROFILE + profile]}} if profile else {}
        self.made[key] = {"resourceType": resource["resourceType"], **stated, **resource}

    def url(self, key: str) -> str:
        """Where a resource stands in the bundle."""
        return f"urn:uuid:{uuid.uuid5(_NAMES, f'{self.name}/{key}')}"

    def ref(self, key: str, display: str = "") -> Resource:
        """A Reference to another resource of the chart."""
        return {"reference": self.url(key)} | ({"display": display} if display else {})

    def day(self, ago: int) -> str:
        """The date so many days ago."""
        return (self.today - timedelta(days=ago)).isoformat()

    def at(self, ago: int, hour: int = 9, minute: int = 30) -> str:
        """A time of that day."""
        moment = datetime(self.today.year, self.today.month, self.today.day, tzinfo=UTC)
        moment += timedelta(hours=hour, minutes=minute) - timedelta(days=ago)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def bundle(self) -> Resource:
        """Everything as a transaction."""
        return {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": self.url(key),
                    "resource": resource,
                    "request": {"method": "POST", "url": resource["resourceType"]},
                }
                for key, resource in self.made.items()
            ],
        }
