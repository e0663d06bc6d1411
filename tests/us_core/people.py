"""US Core patients: each with every profile of US Core 6.1.0 and every must-support element.

All of it is made up. `charts(count)` gives transactions a source may post as they are.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

from tests.us_core.build import HL7, PROFILE, Chart, Resource, coding, concept
from tests.us_core.care import add_care
from tests.us_core.directory import add_directory
from tests.us_core.observations import add_observations
from tests.us_core.papers import add_papers

TODAY = date(2026, 6, 30)
MRN = "urn:oid:2.16.840.1.113883.19.6.1"
#: Given, family, gender, birth date, code and text of race; the second one has died.
PEOPLE: tuple[tuple[str, str, str, str, str, str], ...] = (
    ("Thandeka", "Lindqvist", "female", "1985-03-14", "2054-5", "Black or African American"),
    ("Ruth", "Castellan", "female", "1931-08-23", "2028-9", "Asian"),
    ("Matteo", "Oyelaran", "male", "2024-11-02", "2106-3", "White"),
)
OMB = "urn:oid:2.16.840.1.113883.6.238"


def charts(count: int = len(PEOPLE)) -> Iterator[Chart]:
    """Charts of so many patients; after the named ones, others of made-up numbers."""
    for number in range(count):
        chart = Chart(name=f"us-core-{number}", today=TODAY)
        add_directory(chart)
        _patient(chart, number)
        _visit(chart)
        _related(chart)
        add_observations(chart)
        add_care(chart)
        add_papers(chart)
        yield chart


def identifier_of(number: int) -> Resource:
    """The medical record number of a patient."""
    return {"system": MRN, "value": f"QH{number:06d}"}


def _patient(chart: Chart, number: int) -> None:
    given, family, gender, born, race, race_text = PEOPLE[number % len(PEOPLE)]
    if number >= len(PEOPLE):
        family, born = f"{family}{_letters(number)}", f"19{number % 90 + 10}{born[4:]}"
    kind = concept(HL7 + "v2-0203", "MR", "Medical record number")
    resource: dict[str, Any] = {
        "resourceType": "Patient",
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">A made-up patient</div>',
        },
        "extension": [
            _nested("us-core-race", race, race_text),
            _nested("us-core-ethnicity", "2186-5", "Not Hispanic or Latino"),
            {
                "url": PROFILE + "us-core-tribal-affiliation",
                "extension": [
                    {
                        "url": "tribalAffiliation",
                        "valueCodeableConcept": concept(
                            HL7 + "v3-TribalEntityUS", "170", "Mashpee Wampanoag Tribe"
                        ),
                    },
                    {"url": "isEnrolled", "valueBoolean": False},
                ],
            },
            {
                "url": PROFILE + "us-core-sex",
                "valueCode": "248152002" if gender == "female" else "248153007",
            },
        ],
        "identifier": [{"use": "usual", "type": kind, **identifier_of(number)}],
        "active": True,
        "name": [
            {"use": "official", "family": family, "given": [given, "Io"], "suffix": ["PharmD"]},
            {
                "use": "old",
                "family": "Vestergaard",
                "given": [given],
                "period": {"start": born, "end": chart.day(120)},
            },
        ],
        "telecom": [
            {"system": "phone", "value": f"+1-617-555-{number % 9000 + 1000:04d}", "use": "mobile"},
            {"system": "email", "value": f"{given.lower()}.{number}@people.example"},
        ],
        "gender": gender,
        "birthDate": born,
        "address": [
            {
                "use": "home",
                "line": [f"{number % 900 + 7} Lantern Row"],
                "city": "Quillby",
                "state": "MA",
                "postalCode": "01902",
                "period": {"start": chart.day(100)},
            },
            {
                "use": "old",
                "line": ["3 Quarry Lane"],
                "city": "Quillby",
                "state": "MA",
                "postalCode": "01902",
                "period": {"start": born, "end": chart.day(101)},
            },
        ],
        "communication": [
            {"language": concept("urn:ietf:bcp:47", "en", "English"), "preferred": True}
        ],
    }
    if number % len(PEOPLE) == 1:
        resource["deceasedDateTime"] = chart.at(1)
    chart.add("patient", "us-core-patient", resource)


def _letters(number: int) -> str:
    text = ""
    while number:
        number, letter = divmod(number, 26)
        text += "abcdefghijklmnopqrstuvwxyz"[letter]
    return text


def _nested(profile: str, code: str, text: str) -> Resource:
    return {
        "url": PROFILE + profile,
        "extension": [
            {"url": "ombCategory", "valueCoding": coding(OMB, code, text)},
            {"url": "text", "valueString": text},
        ],
    }


def _related(chart: Chart) -> None:
    relationship = concept(HL7 + "v3-RoleCode", "SIB", "sibling")
    chart.add(
        "sibling",
        "us-core-relatedperson",
        {
            "resourceType": "RelatedPerson",
            "active": True,
            "patient": chart.ref("patient"),
            "relationship": [relationship],
            "name": [{"family": "Vestergaard", "given": ["Aksel"]}],
            "telecom": [{"system": "phone", "value": "+1-617-555-0177", "use": "home"}],
            "address": [{"line": ["9 Lantern Row"], "city": "Quillby", "state": "MA"}],
        },
    )


def _visit(chart: Chart) -> None:
    chart.add(
        "visit",
        "us-core-encounter",
        {
            "resourceType": "Encounter",
            "identifier": [{"system": MRN + ".2", "value": f"{chart.name}-v1"}],
            "status": "finished",
            "class": coding(HL7 + "v3-ActCode", "AMB", "ambulatory"),
            "type": [concept("http://snomed.info/sct", "185349003", "Encounter for check up")],
            "subject": chart.ref("patient"),
            "participant": [
                {
                    "type": [concept(HL7 + "v3-ParticipationType", "PPRF", "primary performer")],
                    "period": {"start": chart.at(2), "end": chart.at(2, 10)},
                    "individual": chart.ref("practitioner"),
                }
            ],
            "period": {"start": chart.at(2), "end": chart.at(2, 10)},
            "reasonCode": [concept("http://snomed.info/sct", "410620009", "Well visit")],
            "reasonReference": [chart.ref("problem")],
            "hospitalization": {
                "dischargeDisposition": concept(HL7 + "discharge-disposition", "home", "Home")
            },
            "location": [{"location": chart.ref("location")}],
            "serviceProvider": chart.ref("hospital"),
        },
    )
