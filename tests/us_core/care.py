"""Problems, allergies, plans, medicines, immunizations, procedures, coverage and devices."""

from typing import Any

from tests.us_core.build import (
    CORE,
    HL7,
    RXNORM,
    SNOMED,
    Chart,
    Resource,
    concept,
    narrative,
    quantity,
)

CLINICAL = HL7 + "condition-clinical"


def add_care(chart: Chart) -> None:
    """One or more of each profile."""
    _allergy(chart)
    _conditions(chart)
    _plans(chart)
    _medicines(chart)
    _procedures(chart)
    _coverage(chart)
    _device(chart)


def _allergy(chart: Chart) -> None:
    chart.add(
        "allergy",
        "us-core-allergyintolerance",
        {
            "resourceType": "AllergyIntolerance",
            "clinicalStatus": concept(HL7 + "allergyintolerance-clinical", "active", "Active"),
            "verificationStatus": concept(
                HL7 + "allergyintolerance-verification", "confirmed", "Confirmed"
            ),
            "category": ["medication"],
            "criticality": "high",
            "code": concept(RXNORM, "7980", "penicillin G"),
            "patient": chart.ref("patient"),
            "recorder": chart.ref("practitioner"),
            "reaction": [
                {"manifestation": [concept(SNOMED, "247472004", "Hives")], "severity": "moderate"}
            ],
        },
    )


def _conditions(chart: Chart) -> None:
    confirmed = concept(HL7 + "condition-ver-status", "confirmed", "Confirmed")
    rows = (
        (
            "problem",
            "condition-problems-health-concerns",
            "problem-list-item",
            "38341003",
            "active",
        ),
        (
            "concern",
            "condition-problems-health-concerns",
            "health-concern",
            "161891005",
            "resolved",
        ),
        (
            "diagnosis",
            "condition-encounter-diagnosis",
            "encounter-diagnosis",
            "195662009",
            "resolved",
        ),
    )
    for days, (key, profile, category, code, status) in enumerate(rows, start=1):
        is_concern = category == "health-concern"
        system = (
            f"{CORE}/CodeSystem/condition-category" if is_concern else HL7 + "condition-category"
        )
        told: dict[str, Any] = {
            "resourceType": "Condition",
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/condition-assertedDate",
                    "valueDateTime": chart.day(500 + days),
                }
            ],
            "clinicalStatus": concept(CLINICAL, status),
            "verificationStatus": confirmed,
            "category": [concept(system, category)],
            "code": concept(SNOMED, code, "a made-up problem"),
            "subject": chart.ref("patient"),
            "encounter": chart.ref("visit"),
            "onsetDateTime": chart.day(600 + days),
            "recordedDate": chart.day(500 + days),
        }
        if status == "resolved":
            told["abatementDateTime"] = chart.day(100 + days)
        if category != "encounter-diagnosis":
            social = concept(f"{CORE}/CodeSystem/us-core-category", "sdoh", "SDOH")
            told["category"].append(social)
        chart.add(key, f"us-core-{profile}", told)


def _plans(chart: Chart) -> None:
    chart.add(
        "plan",
        "us-core-careplan",
        {
            "resourceType": "CarePlan",
            "text": narrative("Measure the blood pressure at home."),
            "status": "active",
            "intent": "plan",
            "category": [concept(f"{CORE}/CodeSystem/careplan-category", "assess-plan")],
            "subject": chart.ref("patient"),
            "period": {"start": chart.day(90)},
        },
    )
    provider = concept(SNOMED, "17561000", "Cardiologist")
    chart.add(
        "team",
        "us-core-careteam",
        {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": chart.ref("patient"),
            "participant": [
                {"role": [provider], "member": chart.ref(key)}
                for key in ("practitioner", "role", "sibling", "patient")
            ],
        },
    )
    chart.add(
        "goal",
        "us-core-goal",
        {
            "resourceType": "Goal",
            "lifecycleStatus": "active",
            "description": concept(SNOMED, "135840009", "Blood pressure under control"),
            "subject": chart.ref("patient"),
            "startDate": chart.day(90),
            "target": [{"dueDate": chart.day(-90)}],
        },
    )


def _dosage() -> Resource:
    return {
        "text": "one tablet each morning",
        "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
        "doseAndRate": [{"doseQuantity": quantity(1, "tablet", "{tbl}")}],
    }


def _medicines(chart: Chart) -> None:
    lisinopril = concept(RXNORM, "314076", "lisinopril 10 MG Oral Tablet")
    chart.add("drug", "us-core-medication", {"resourceType": "Medication", "code": lisinopril})
    category = concept(HL7 + "medicationrequest-category", "community", "Community")
    for key, reported in (
        ("order", {"reportedBoolean": False}),
        ("told-order", {"reportedReference": chart.ref("practitioner")}),
    ):
        is_coded = key == "told-order"
        drug: Resource = (
            {"medicationCodeableConcept": lisinopril}
            if is_coded
            else {"medicationReference": chart.ref("drug")}
        )
        chart.add(
            key,
            "us-core-medicationrequest",
            {
                "resourceType": "MedicationRequest",
                "status": "stopped" if is_coded else "active",
                "intent": "plan" if is_coded else "order",
                "category": [category],
                **reported,
                **drug,
                "subject": chart.ref("patient"),
                "encounter": chart.ref("visit"),
                "authoredOn": chart.at(40 if is_coded else 2),
                "requester": chart.ref("practitioner"),
                "reasonCode": [concept(SNOMED, "38341003", "Hypertension")],
                "reasonReference": [chart.ref("problem")],
                "dosageInstruction": [_dosage()],
                "dispenseRequest": {
                    "numberOfRepeatsAllowed": 2,
                    "quantity": quantity(30, "tablet", "{tbl}"),
                },
            },
        )
    kinds = (("dispense", "completed", "FF"), ("refill", "in-progress", "RF"))
    for key, status, kind in kinds:
        chart.add(
            key,
            "us-core-medicationdispense",
            {
                "resourceType": "MedicationDispense",
                "status": status,
                "medicationReference": chart.ref("drug"),
                "subject": chart.ref("patient"),
                "context": chart.ref("visit"),
                "performer": [{"actor": chart.ref("hospital")}],
                "authorizingPrescription": [chart.ref("order")],
                "type": concept(HL7 + "v3-ActCode", kind),
                "quantity": quantity(30, "tablet", "{tbl}"),
                "whenHandedOver": chart.at(1),
                "dosageInstruction": [_dosage()],
            },
        )


def _procedures(chart: Chart) -> None:
    cvx = "http://hl7.org/fhir/sid/cvx"
    for key, status in (("shot", "completed"), ("refused", "not-done")):
        reason = concept(HL7 + "v3-ActReason", "PATOBJ", "patient objection")
        chart.add(
            key,
            "us-core-immunization",
            {
                "resourceType": "Immunization",
                "status": status,
                **({"statusReason": reason} if status == "not-done" else {}),
                "vaccineCode": concept(cvx, "197", "influenza, high-dose"),
                "patient": chart.ref("patient"),
                "occurrenceDateTime": chart.day(120),
                "primarySource": True,
            },
        )
    chart.add(
        "referral",
        "us-core-servicerequest",
        {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "order",
            "category": [concept(SNOMED, "387713003", "Surgical procedure")],
            "code": concept(SNOMED, "73761001", "Colonoscopy"),
            "subject": chart.ref("patient"),
            "occurrencePeriod": {"start": chart.day(30), "end": chart.day(20)},
            "authoredOn": chart.at(40),
            "requester": chart.ref("practitioner"),
            "reasonCode": [concept(SNOMED, "171214008", "Screening")],
            "reasonReference": [chart.ref("problem")],
        },
    )
    chart.add(
        "procedure",
        "us-core-procedure",
        {
            "resourceType": "Procedure",
            "basedOn": [chart.ref("referral")],
            "status": "completed",
            "code": concept(SNOMED, "73761001", "Colonoscopy"),
            "subject": chart.ref("patient"),
            "performedDateTime": chart.at(25),
        },
    )


def _coverage(chart: Chart) -> None:
    kind = HL7 + "coverage-class"
    member = concept(HL7 + "v2-0203", "MB", "Member number")
    chart.add(
        "coverage",
        "us-core-coverage",
        {
            "resourceType": "Coverage",
            "identifier": [
                {"type": member, "system": "urn:oid:2.16.840.1.113883.19.6.9", "value": chart.name}
            ],
            "status": "active",
            "type": concept("https://nahdo.org/sopt", "512", "Commercial managed care"),
            "subscriberId": f"S-{chart.name}",
            "beneficiary": chart.ref("patient"),
            "relationship": concept(HL7 + "subscriber-relationship", "self", "Self"),
            "period": {"start": chart.day(400)},
            "payor": [chart.ref("insurer")],
            "class": [
                {"type": concept(kind, "group", "Group"), "value": "G-77"},
                {"type": concept(kind, "plan", "Plan"), "value": "P-12", "name": "Harbor 500"},
            ],
        },
    )


def _device(chart: Chart) -> None:
    number = "(01)00844588003288(17)270630(10)7654321D(21)10987654d321"
    chart.add(
        "device",
        "us-core-implantable-device",
        {
            "resourceType": "Device",
            "udiCarrier": [{"deviceIdentifier": "00844588003288", "carrierHRF": number}],
            "status": "active",
            "distinctIdentifier": "A9999XYZ100T0474",
            "manufactureDate": chart.day(1200),
            "expirationDate": chart.day(-1200),
            "lotNumber": "7654321D",
            "serialNumber": "10987654d321",
            "type": concept(SNOMED, "468063009", "Coated femoral stem prosthesis"),
            "patient": chart.ref("patient"),
        },
    )
