"""Synthetic HL7 v2 messages and FHIR bundles of the sizes the targets name. Nobody is real."""

import random
from typing import Any

Json = dict[str, Any]

SENDER = "BENCH"
FACILITY = "BENCHLAB"
FAMILY = ("Abara", "Brandt", "Costa", "Dahl", "Egede", "Farrow", "Galvan", "Hsu", "Ito", "Jansen")
GIVEN = ("Ada", "Boris", "Clara", "Deniz", "Emil", "Fay", "Gus", "Hana", "Ivo", "June")
#: LOINC code, name, unit, and the middle of its range.
ANALYTES = (
    ("2345-7", "Glucose", "mg/dL", 95),
    ("2160-0", "Creatinine", "mg/dL", 1),
    ("3094-0", "Urea nitrogen", "mg/dL", 14),
    ("2951-2", "Sodium", "mmol/L", 140),
    ("2823-3", "Potassium", "mmol/L", 4),
    ("2075-0", "Chloride", "mmol/L", 102),
    ("2028-9", "Carbon dioxide", "mmol/L", 25),
    ("17861-6", "Calcium", "mg/dL", 9),
    ("2885-2", "Protein", "g/dL", 7),
    ("1751-7", "Albumin", "g/dL", 4),
    ("1975-2", "Bilirubin", "mg/dL", 1),
    ("6768-6", "Alkaline phosphatase", "U/L", 70),
    ("1742-6", "Alanine aminotransferase", "U/L", 25),
    ("1920-8", "Aspartate aminotransferase", "U/L", 24),
    ("718-7", "Hemoglobin", "g/dL", 14),
    ("4544-3", "Hematocrit", "%", 42),
    ("6690-2", "Leukocytes", "10*3/uL", 7),
    ("777-3", "Platelets", "10*3/uL", 250),
    ("2093-3", "Cholesterol", "mg/dL", 180),
    ("2571-8", "Triglyceride", "mg/dL", 120),
)


def oru(number: int, *, people: int = 400) -> bytes:
    """A laboratory report of 20 results, about 2 kB; one of `people` patients."""
    who = number % people
    control_id = f"R{number:09d}"
    values = random.Random(number)
    lines = [
        f"MSH|^~\\&|{SENDER}|{FACILITY}|HUB|STATE|20260131093000||ORU^R01^ORU_R01|{control_id}|P|2.5.1",
        _pid(who),
        f"PV1|1|O|||||||||||||||||V{number}",
        f"ORC|RE|P{number}|F{number}",
        f"OBR|1|P{number}|F{number}|24323-8^Comprehensive metabolic panel^LN|||20260131090000"
        "|||||||||1234567^Ordway^Ona|||||||20260131092500||LAB|F",
    ]
    for position, (code, name, unit, middle) in enumerate(ANALYTES, start=1):
        value = f"{middle * values.uniform(0.8, 1.2):.1f}"
        usual = f"{middle * 0.7:.1f}-{middle * 1.3:.1f}"
        lines.append(
            f"OBX|{position}|NM|{code}^{name}^LN||{value}|{unit}|{usual}|N|||F|||20260131090000"
        )
    return "\r".join(lines).encode() + b"\r"


def adt(number: int, *, people: int = 400) -> bytes:
    """An admission, about 500 bytes."""
    lines = (
        f"MSH|^~\\&|{SENDER}|{FACILITY}|HUB|STATE|20260131093000||ADT^A01^ADT_A01|A{number:09d}|P|2.5.1",
        "EVN|A01|20260131093000",
        _pid(number % people),
        f"PV1|1|I|3W^301^1||||1234567^Ordway^Ona|||MED|||||||||V{number}|||||||||||||||||||||||||"
        "20260131090000",
    )
    return "\r".join(lines).encode() + b"\r"


def _pid(who: int) -> str:
    family = FAMILY[who % 10] + FAMILY[who // 10 % 10].lower()
    given = GIVEN[who // 3 % 10]
    birth = f"{1930 + who % 80}{who % 12 + 1:02d}{who % 28 + 1:02d}"
    return (
        f"PID|1||B{who:06d}^^^{FACILITY}^MR||{family}^{given}^Q||{birth}|{'FM'[who % 2]}|||"
        f"{who + 1} Sample Street^^Springfield^MA^0110{who % 10}||413555{who:04d}"
    )


def chart(observations: int = 300, encounters: int = 30) -> Json:
    """A transaction of one patient, as it stands 361 resources, about 370 kB as served."""
    entries = [_entry("patient", _patient())]
    for n in range(encounters):
        entries.append(_entry(f"enc{n}", _encounter(n)))
    for n in range(encounters * 2 // 3):
        entries.append(_entry(f"cond{n}", _condition(n)))
    for n in range(encounters // 3):
        entries.append(_entry(f"rx{n}", _medication_request(n)))
    for n in range(observations):
        entries.append(_entry(f"obs{n}", _observation(n, encounters)))
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _entry(name: str, resource: Json) -> Json:
    return {
        "fullUrl": _urn(name),
        "resource": resource,
        "request": {"method": "POST", "url": resource["resourceType"]},
    }


def _urn(name: str) -> str:
    number = int.from_bytes(name.encode().ljust(16, b"\0")[:16], "big")
    text = f"{number:032x}"
    return f"urn:uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _subject() -> Json:
    return {"reference": _urn("patient")}


def _coded(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def _patient() -> Json:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:oid:2.16.840.1.113883.19.99", "value": "CHART-1"}],
        "name": [{"use": "official", "family": "Chartwell", "given": ["Maren", "Ida"]}],
        "gender": "female",
        "birthDate": "1958-04-23",
        "address": [{"line": ["7 Sample Street"], "city": "Springfield", "state": "MA"}],
    }


def _encounter(n: int) -> Json:
    return {
        "resourceType": "Encounter",
        "identifier": [{"system": "urn:oid:2.16.840.1.113883.19.98", "value": f"VISIT-{n}"}],
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "type": [_coded("http://snomed.info/sct", "185345009", "Encounter for symptom")],
        "subject": _subject(),
        "period": {"start": _time(n * 10), "end": _time(n * 10 + 1)},
    }


def _condition(n: int) -> Json:
    clinical = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    return {
        "resourceType": "Condition",
        "clinicalStatus": {"coding": [{"system": clinical, "code": "active"}]},
        "code": _coded("http://snomed.info/sct", f"38341{n:03d}", f"Finding number {n}"),
        "subject": _subject(),
        "encounter": {"reference": _urn(f"enc{n}")},
        "onsetDateTime": _time(n * 10),
    }


def _medication_request(n: int) -> Json:
    rxnorm = "http://www.nlm.nih.gov/research/umls/rxnorm"
    return {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": _coded(rxnorm, f"3140{n:02d}", f"Medicine {n} 10 MG tablet"),
        "subject": _subject(),
        "encounter": {"reference": _urn(f"enc{n}")},
        "authoredOn": _time(n * 10),
        "dosageInstruction": [{"text": "one tablet by mouth every morning"}],
    }


def _observation(n: int, encounters: int) -> Json:
    code, name, unit, middle = ANALYTES[n % len(ANALYTES)]
    category = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": category, "code": "laboratory"}]}],
        "code": _coded("http://loinc.org", code, name),
        "subject": _subject(),
        "encounter": {"reference": _urn(f"enc{n % encounters}")},
        "effectiveDateTime": _time(n),
        "issued": _time(n),
        "valueQuantity": {
            "value": middle + n % 7,
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": unit,
        },
        "referenceRange": [{"text": f"{middle * 0.7:.1f}-{middle * 1.3:.1f} {unit}"}],
        "note": [{"text": "Specimen received in good order; result verified by the analyser."}],
    }


def _time(day: int) -> str:
    return f"20{10 + day // 336:02d}-{day // 28 % 12 + 1:02d}-{day % 28 + 1:02d}T08:30:00Z"
