"""Reports, documents, questionnaires, specimens, and where all of it came from."""

import base64

from tests.us_core.build import CORE, HL7, LOINC, SNOMED, Chart, Resource, coding, concept

#: LOINC parts that say which kind of report with a note it is.
NOTE_KINDS = (("LP29684-5", "Radiology"), ("LP29708-2", "Cardiology"), ("LP7839-6", "Pathology"))


def add_papers(chart: Chart) -> None:
    """One or more of each profile; last, the Provenance of everything before."""
    _specimen(chart)
    _reports(chart)
    _document(chart)
    _answers(chart)
    _provenance(chart)


def _specimen(chart: Chart) -> None:
    chart.add(
        "specimen",
        "us-core-specimen",
        {
            "resourceType": "Specimen",
            "identifier": [{"system": "urn:oid:2.16.840.1.113883.19.6.4", "value": chart.name}],
            "type": concept(SNOMED, "119297000", "Blood specimen"),
            "subject": chart.ref("patient"),
        },
    )


def _attachment(text: str) -> Resource:
    return {
        "contentType": "text/plain",
        "data": base64.b64encode(text.encode()).decode(),
        "title": "a note",
    }


def _reports(chart: Chart) -> None:
    common = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "subject": chart.ref("patient"),
        "encounter": chart.ref("visit"),
        "performer": [chart.ref("practitioner"), chart.ref("hospital")],
    }
    chart.add(
        "panel",
        "us-core-diagnosticreport-lab",
        common
        | {
            "category": [concept(HL7 + "v2-0074", "LAB", "Laboratory")],
            "code": concept(LOINC, "24323-8", "Comprehensive metabolic panel"),
            "effectiveDateTime": chart.at(6),
            "issued": chart.at(5),
            "result": [chart.ref("glucose"), chart.ref("blood-type"), chart.ref("smear")],
        },
    )
    for days, (code, name) in enumerate(NOTE_KINDS, start=9):
        chart.add(
            f"report-{code}",
            "us-core-diagnosticreport-note",
            common
            | {
                "category": [concept(LOINC, code, name)],
                "code": concept(LOINC, "34117-2", "History and physical note"),
                "effectiveDateTime": chart.at(days),
                "issued": chart.at(days - 1),
                "result": [chart.ref("lump")],
                "presentedForm": [_attachment(f"{name}: nothing of note.")],
            },
        )


def _document(chart: Chart) -> None:
    category = concept(f"{CORE}/CodeSystem/us-core-documentreference-category", "clinical-note")
    form = coding(
        "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
        "urn:ihe:iti:xds:2017:mimeTypeSufficient",
    )
    chart.add(
        "scan",
        "",
        {
            "resourceType": "Binary",
            "contentType": "text/plain",
            "securityContext": chart.ref("patient"),
            "data": base64.b64encode(b"A scanned note.").decode(),
        },
    )
    elsewhere = {"contentType": "text/plain", "url": chart.url("scan")}
    for key, attachment in (("note", _attachment("Feels well.")), ("scanned-note", elsewhere)):
        chart.add(
            key,
            "us-core-documentreference",
            {
                "resourceType": "DocumentReference",
                "identifier": [
                    {"system": "urn:oid:2.16.840.1.113883.19.6.5", "value": f"{chart.name}-{key}"}
                ],
                "status": "current",
                "type": concept(LOINC, "11506-3", "Progress note"),
                "category": [category],
                "subject": chart.ref("patient"),
                "date": chart.at(2, 11),
                "author": [chart.ref("practitioner")],
                "content": [{"attachment": attachment, "format": form}],
                "context": {
                    "encounter": [chart.ref("visit")],
                    "period": {"start": chart.at(2), "end": chart.at(2, 10)},
                },
            },
        )


def _answers(chart: Chart) -> None:
    base = "http://hl7.org/fhir/StructureDefinition/"
    chart.add(
        "answers",
        "us-core-questionnaireresponse",
        {
            "resourceType": "QuestionnaireResponse",
            "identifier": {"system": "urn:oid:2.16.840.1.113883.19.6.7", "value": chart.name},
            "questionnaire": "http://quillby.example/Questionnaire/hunger",
            "_questionnaire": {
                "extension": [
                    {"url": base + "display", "valueString": "Hunger vital sign"},
                    {
                        "url": f"{CORE}/StructureDefinition/us-core-extension-questionnaire-uri",
                        "valueUri": "http://quillby.example/forms/hunger",
                    },
                ]
            },
            "status": "completed",
            "subject": chart.ref("patient"),
            "authored": chart.at(12),
            "author": chart.ref("practitioner"),
            "item": [
                {
                    "linkId": "1",
                    "text": "Within the past year we worried about food.",
                    "answer": [
                        {
                            "valueCoding": coding(LOINC, "LA28398-8", "Never true"),
                            "item": [_item("1.1", "Since when?", {"valueString": "always"})],
                        }
                    ],
                },
                _item("2", "How many meals a day?", {"valueDecimal": 2.5}),
                _item("3", "Anything else?", {"valueString": "no"}),
                {
                    "linkId": "4",
                    "text": "More",
                    "item": [_item("4.1", "In your own words?", {"valueString": "no"})],
                },
            ],
        },
    )


def _item(number: str, text: str, answer: Resource) -> Resource:
    return {"linkId": number, "text": text, "answer": [answer]}


def _provenance(chart: Chart) -> None:
    kinds = f"{CORE}/CodeSystem/us-core-provenance-participant-type"
    targets = [key for key in chart.made if chart.made[key]["resourceType"] not in _DIRECTORY]
    chart.add(
        "provenance",
        "us-core-provenance",
        {
            "resourceType": "Provenance",
            "target": [chart.ref(key) for key in targets],
            "recorded": chart.at(0),
            "agent": [
                {
                    "type": concept(HL7 + "provenance-participant-type", "author", "Author"),
                    "who": chart.ref("practitioner"),
                    "onBehalfOf": chart.ref("hospital"),
                },
                {
                    "type": concept(kinds, "transmitter", "Transmitter"),
                    "who": chart.ref("hospital"),
                },
            ],
        },
    )


_DIRECTORY = frozenset(
    {
        "Binary",
        "Endpoint",
        "Location",
        "Medication",
        "Organization",
        "Practitioner",
        "PractitionerRole",
    }
)
