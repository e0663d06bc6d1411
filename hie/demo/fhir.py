"""Events of the story as FHIR R4 transactions: vital signs, sent by the hospital that can."""

import json
import random
import uuid
from datetime import datetime
from typing import Any, Final

from hie.demo import events as e
from hie.demo.dialect import ZONE
from hie.demo.lists import Clinician, Lists
from hie.demo.world import Demographics
from hie.kernel.fhir import FhirJson

LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
US_SSN: Final = "http://hl7.org/fhir/sid/us-ssn"
US_ITIN: Final = "urn:oid:2.16.840.1.113883.4.2"
US_NPI: Final = "http://hl7.org/fhir/sid/us-npi"
_IDENTIFIER_TYPE: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"


class FhirWriter:
    """Writes one source's measurements as transaction Bundles."""

    def __init__(self, lists: Lists, source: str) -> None:
        self._sender = lists.senders[source]
        self._places = lists.places
        self._placeholders = frozenset(lists.plan.placeholder_ssns)
        self._rng = random.Random(f"{lists.plan.seed}:fhir:{source}")

    def write(self, event: e.Event, detail: e.Measured) -> bytes:
        """A transaction: the patient, the practitioner, and what was measured."""
        patient, doctor = self._urn(), self._urn()
        at = _instant(detail.visit.end)
        found = [
            _put_patient(patient, self._patient(event)),
            _post(doctor, practitioner(detail.visit.doctor), _who(detail.visit.doctor)),
        ]
        for body in _observations(detail):
            observation = {
                "resourceType": "Observation",
                "status": "final",
                **body,
                "subject": {"reference": patient},
                "encounter": {"identifier": self._identifier(f"V{detail.visit.number}", "VN")},
                "effectiveDateTime": at,
                "performer": [{"reference": doctor}],
            }
            found.append(_post(self._urn(), observation))
        return as_json({"resourceType": "Bundle", "type": "transaction", "entry": found})

    def _patient(self, event: e.Event) -> FhirJson:
        known = event.known
        patient: FhirJson = {
            "resourceType": "Patient",
            "identifier": [self._identifier(event.value, "MR"), *self._national(known)],
            "name": _names(known),
            "gender": known.sex,
            "birthDate": known.birth_date.isoformat(),
            "address": [self._address(known)],
        }
        if telecom := _telecom(known):
            patient["telecom"] = telecom
        if known.birth_order:
            patient["multipleBirthInteger"] = known.birth_order
        return patient

    def _national(self, known: Demographics) -> list[FhirJson]:
        """The taxpayer number, or the placeholder somebody typed as an SSN."""
        number = known.tax_number
        if not number:
            return []
        is_placeholder = number in self._placeholders
        system, kind = (US_SSN, "SS") if is_placeholder else (US_ITIN, "TAX")
        coding = [{"system": _IDENTIFIER_TYPE, "code": kind}]
        return [{"type": {"coding": coding}, "system": system, "value": number}]

    def _identifier(self, value: str, kind: str) -> FhirJson:
        coding = [{"system": _IDENTIFIER_TYPE, "code": kind}]
        return {"type": {"coding": coding}, "system": self._sender.system, "value": value}

    def _address(self, known: Demographics) -> FhirJson:
        home = known.address
        return {
            "use": "home",
            "line": [home.street, home.unit] if home.unit else [home.street],
            "city": home.town,
            "state": self._places.state,
            "postalCode": home.zip_code,
            "country": self._places.country,
        }

    def _urn(self) -> str:
        return f"urn:uuid:{uuid.UUID(int=self._rng.getrandbits(128), version=4)}"


def as_json(resource: FhirJson) -> bytes:
    """FHIR JSON as it goes over the wire."""
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode()


def practitioner(doctor: Clinician) -> FhirJson:
    """A Practitioner, the same from whoever sends it."""
    return {
        "resourceType": "Practitioner",
        "identifier": [{"system": US_NPI, "value": doctor.number}],
        "name": [{"family": doctor.family, "given": [doctor.given], "prefix": ["Dr"]}],
    }


def _put_patient(full_url: str, patient: FhirJson) -> FhirJson:
    own = patient["identifier"][0]
    query = f"Patient?identifier={own['system']}|{own['value']}"
    request = {"method": "PUT", "url": query}
    return {"fullUrl": full_url, "resource": patient, "request": request}


def _post(full_url: str, resource: FhirJson, if_none_exist: str = "") -> FhirJson:
    request = {"method": "POST", "url": resource["resourceType"]}
    if if_none_exist:
        request["ifNoneExist"] = if_none_exist
    return {"fullUrl": full_url, "resource": resource, "request": request}


def _who(doctor: Clinician) -> str:
    return f"identifier={US_NPI}|{doctor.number}"


def _names(known: Demographics) -> list[FhirJson]:
    given = [part for part in (known.given, known.middle) if part]
    name: FhirJson = {"use": "official", "family": known.family, "given": given}
    if known.suffix:
        name["suffix"] = [known.suffix]
    if not known.former_family:
        return [name]
    return [name, {"use": "maiden", "family": known.former_family, "given": [known.given]}]


def _telecom(known: Demographics) -> list[FhirJson]:
    found: list[FhirJson] = []
    if known.phone:
        found.append({"system": "phone", "value": f"+1{known.phone}", "use": "home"})
    if known.email:
        found.append({"system": "email", "value": known.email})
    return found


def _instant(at: datetime) -> str:
    return at.replace(tzinfo=ZONE).isoformat(timespec="seconds")


def _observations(measured: e.Measured) -> list[FhirJson]:
    """Blood pressure, pulse, weight, height and, of grown-ups, smoking."""
    pressure = _vital("85354-9", "Blood pressure panel with all children optional")
    pressure["component"] = [
        _measure("8480-6", "Systolic blood pressure", measured.systolic, "mm[Hg]"),
        _measure("8462-4", "Diastolic blood pressure", measured.diastolic, "mm[Hg]"),
    ]
    found = [
        pressure,
        _vital("8867-4", "Heart rate") | _quantity(measured.pulse, "/min"),
        _vital("29463-7", "Body weight") | _quantity(float(measured.weight_kg), "kg"),
        _vital("8302-2", "Body height") | _quantity(measured.height_cm, "cm"),
    ]
    if measured.smoker:
        smoking = _coded("social-history", "72166-2", "Tobacco smoking status")
        answer = {"system": LOINC, "code": "LA18976-3", "display": "Current every day smoker"}
        found.append(smoking | {"valueCodeableConcept": {"coding": [answer]}})
    return found


def _vital(code: str, display: str) -> dict[str, Any]:
    return _coded("vital-signs", code, display)


def _coded(category: str, code: str, display: str) -> dict[str, Any]:
    return {
        "category": [{"coding": [{"system": _CATEGORY, "code": category}]}],
        "code": {"coding": [{"system": LOINC, "code": code, "display": display}]},
    }


def _measure(code: str, display: str, value: float, unit: str) -> dict[str, Any]:
    what = {"coding": [{"system": LOINC, "code": code, "display": display}]}
    return {"code": what} | _quantity(value, unit)


def _quantity(value: float, unit: str) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit}}
