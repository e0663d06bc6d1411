"""Orders, results, vaccines, medicines and notes as HL7 v2 segments after PID."""

import base64
from typing import Final

from hie.demo import events as e
from hie.demo.dialect import Dialect, Raw
from hie.demo.lists import LabTest, Medicine, Panel

_ROUTES: Final = {"PO": "Oral", "SL": "Sublingual"}
_FORMS: Final = {"TAB": "Tablet", "CAP": "Capsule"}


def report(d: Dialect, detail: e.LabReport) -> list[Raw]:
    """ORC, OBR, OBX and, where the version has it, SPM of a laboratory report."""
    placer, filler = d.entity(detail.placer), d.entity(detail.filler)
    common = d.segment("ORC", {1: "RE", 2: placer, 3: filler, 12: d.doctor(detail.doctor)})
    request = d.segment(
        "OBR",
        {
            1: "1",
            2: placer,
            3: filler,
            4: _ordered(d, detail.panel),
            7: d.time(detail.collected),
            16: d.doctor(detail.doctor),
            22: d.time(detail.reported),
            24: "LAB",
            25: "F",
        },
    )
    results = [_result(d, n, r, detail) for n, r in enumerate(detail.results, start=1)]
    if d.is_old:
        return [common, request, *results]
    code, text = detail.panel.specimen
    kind = d.code(code, text, "HL70487")
    specimen = d.segment("SPM", {1: "1", 4: kind, 17: d.time(detail.collected)})
    return [common, request, *results, specimen]


def immunization(d: Dialect, detail: e.Vaccinated) -> list[Raw]:
    """ORC, RXA, RXR and the eligibility OBX of a vaccine."""
    vaccine, given = detail.vaccine, d.time(detail.given_at)
    eligibility = {
        1: "1",
        2: "CE" if d.sender.version < "2.6" else "CWE",
        3: d.code("64994-7", "Vaccine funding program eligibility category", "LN"),
        4: "1",
        5: d.code("V01", "Not VFC eligible", "HL70064"),
        11: "F",
        14: given,
    }
    return [
        d.segment("ORC", {1: "RE", 3: d.entity(detail.filler), 12: d.doctor(detail.doctor)}),
        d.segment(
            "RXA",
            {
                1: "0",
                2: "1",
                3: given,
                4: given,
                5: d.code(vaccine.cvx, vaccine.text, "CVX"),
                6: "0.5",
                7: d.code("mL", "milliliter", "UCUM"),
                9: d.code("00", "New immunization record", "NIP001"),
                10: d.doctor(detail.doctor),
                15: detail.lot,
                16: d.day(detail.expires),
                17: d.code(vaccine.mvx, vaccine.maker, "MVX"),
                20: "CP",
                21: "A",
            },
        ),
        d.segment(
            "RXR",
            {
                1: d.code("IM", "Intramuscular", "HL70162"),
                2: d.code("LA", "Left Arm", "HL70163"),
            },
        ),
        d.segment("OBX", eligibility),
    ]


def prescription(d: Dialect, detail: e.Prescribed) -> list[Raw]:
    """ORC, RXE, TQ1 and RXR of a prescription."""
    written = detail.prescription
    medicine, start = written.medicine, d.time(written.written_at)
    form = d.code(medicine.form, _FORMS[medicine.form], d.sender.local_system)
    return [
        d.segment(
            "ORC",
            {
                1: "NW",
                2: d.entity(written.placer),
                9: start,
                12: d.doctor(written.doctor),
            },
        ),
        d.segment(
            "RXE",
            {
                # Quantity/timing left the segment with version 2.8; TQ1 says it there.
                1: d.parts("", "", "", start) if d.sender.version < "2.8" else "",
                2: d.code(medicine.code, medicine.text, "RXNORM"),
                3: str(medicine.dose),
                5: form,
                6: form,
                7: d.parts("", medicine.sig),
                10: str(medicine.quantity),
                11: form,
                12: str(medicine.refills),
                13: d.doctor(written.doctor),
                15: written.number,
                27: d.code(written.reason, "", d.sender.diagnosis_system),
            },
        ),
        d.segment("TQ1", {1: "1", 7: start}),
        _route(d, medicine),
    ]


def dispense(d: Dialect, detail: e.Dispensed) -> list[Raw]:
    """ORC, RXD and RXR of a medicine handed over."""
    written = detail.prescription
    medicine = written.medicine
    form = d.code(medicine.form, _FORMS[medicine.form], d.sender.local_system)
    number = f"{written.number}-{detail.fill}"
    return [
        d.segment(
            "ORC",
            {
                1: "RE",
                2: d.entity(written.placer),
                3: d.entity(number),
                9: d.time(detail.handed_over),
                12: d.doctor(written.doctor),
            },
        ),
        d.segment(
            "RXD",
            {
                1: str(detail.fill),
                2: d.code(medicine.code, medicine.text, "RXNORM"),
                3: d.time(detail.handed_over),
                4: str(medicine.quantity),
                5: form,
                6: form,
                7: written.number,
                8: str(max(medicine.refills - detail.fill + 1, 0)),
                9: medicine.sig,
            },
        ),
        _route(d, medicine),
    ]


def document(d: Dialect, detail: e.Documented) -> list[Raw]:
    """TXA and the text as OBX: base64 in one piece, or line by line."""
    signed = d.time(detail.signed_at)
    doctor = d.doctor(detail.visit.doctor)
    header = d.segment(
        "TXA",
        {
            1: "1",
            2: detail.form.kind,
            3: "TX",
            4: d.time(detail.visit.end),
            5: doctor,
            6: signed,
            9: doctor,
            12: d.entity(detail.number),
            17: "AU",
            19: "AV",
        },
    )
    what = d.code(detail.form.code, detail.form.text, "LN")
    if d.sender.document == "ED":
        whole = base64.b64encode("\n".join(detail.lines).encode()).decode()
        value = d.parts("", "TEXT", "plain", "Base64", d.exact(whole))
        return [header, d.segment("OBX", {1: "1", 2: "ED", 3: what, 5: value, 11: "F"})]
    return [
        header,
        *(
            d.segment("OBX", {1: str(n), 2: "TX", 3: what, 4: str(n), 5: line, 11: "F"})
            for n, line in enumerate(detail.lines, start=1)
        ),
    ]


def _route(d: Dialect, medicine: Medicine) -> Raw:
    return d.segment("RXR", {1: d.code(medicine.route, _ROUTES[medicine.route], "HL70162")})


def _ordered(d: Dialect, panel: Panel | LabTest) -> Raw:
    """What was ordered or measured: LOINC with the local code beside it, or local alone."""
    local = d.sender.local_system
    if not d.sender.has_loinc or not panel.code:
        return d.parts(panel.local, panel.text, local)
    return d.parts(panel.code, panel.text, "LN", panel.local, panel.local, local)


def _result(d: Dialect, position: int, result: e.Result, detail: e.LabReport) -> Raw:
    kind, value = _value(d, result)
    unit = result.test.unit
    return d.segment(
        "OBX",
        {
            1: str(position),
            2: kind,
            3: _ordered(d, result.test),
            5: value,
            6: d.parts(unit, "", "UCUM") if unit and d.sender.has_loinc else unit,
            7: _range(result.test),
            8: result.flag,
            11: "F",
            14: d.time(detail.collected),
        },
    )


def _value(d: Dialect, result: e.Result) -> tuple[str, str]:
    """OBX-2 and OBX-5."""
    if result.is_below_limit:
        return "SN", d.parts("<", result.value)
    if not result.test.answers:
        return "NM", result.value
    if d.is_old:
        return "ST", result.value
    return "CWE", d.parts(result.value.upper()[:3], result.value, d.sender.local_system)


def _range(test: LabTest) -> str:
    if test.answers:
        return test.normal
    if test.low is None:
        return f"<{test.high:g}"
    return f"{test.low:g}-{test.high:g}"
