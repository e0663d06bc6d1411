"""Events of the story as HL7 v2 messages, each source in its own dialect."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hie.demo import events as e
from hie.demo.dialect import Dialect, Raw
from hie.demo.hl7_clinical import dispense, document, immunization, prescription, report
from hie.demo.lists import Lists
from hie.demo.world import Demographics

_STRUCTURE: Final[Mapping[str, str]] = {
    "ADT^A01": "ADT_A01",
    "ADT^A03": "ADT_A03",
    "ADT^A04": "ADT_A01",
    "ADT^A08": "ADT_A01",
    "ADT^A11": "ADT_A09",
    "ADT^A28": "ADT_A05",
    "ADT^A31": "ADT_A05",
    "ADT^A40": "ADT_A39",
    "ORU^R01": "ORU_R01",
    "VXU^V04": "VXU_V04",
    "RDE^O11": "RDE_O11",
    "RDS^O13": "RDS_O13",
    "MDM^T02": "MDM_T02",
    "SIU^S12": "SIU_S12",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A message on paper, so to say: what it is called, its control id, its bytes."""

    trigger: str
    control_id: str
    payload: bytes


class Hl7Writer:
    """Writes one source's events; control ids count up from 1."""

    def __init__(self, lists: Lists, source: str) -> None:
        self.dialect = Dialect(lists.senders[source])
        self._places = lists.places
        self._placeholders = frozenset(lists.plan.placeholder_ssns)
        self._count = 0

    def write(self, event: e.Event) -> Written:
        """The message of an event.

        Raises:
            KeyError: the event has no HL7 v2 form (`Measured` goes out as FHIR).
        """
        trigger = _trigger(event.detail)
        bodies: Mapping[type, Callable[[e.Event, Any], list[Raw]]] = {
            e.Registered: self._registered,
            e.Corrected: self._corrected,
            e.Merged: self._merged,
            e.VisitStep: self._visit_step,
            e.LabReport: self._order(report),
            e.Vaccinated: self._order(immunization),
            e.Prescribed: self._order(prescription),
            e.Dispensed: self._order(dispense),
            e.Documented: self._documented,
        }
        body = bodies[type(event.detail)](event, event.detail)
        header = self.header(trigger, event)
        return Written(
            trigger=trigger,
            control_id=self.control_id,
            payload=self.dialect.message([header, *body]),
        )

    @property
    def control_id(self) -> str:
        """The control id given last."""
        return f"{self.dialect.sender.facility}{self._count:06d}"

    def header(self, trigger: str, event: e.Event) -> Raw:
        """MSH with the next control id."""
        d, sender = self.dialect, self.dialect.sender
        self._count += 1
        code, name = trigger.split("^")
        structure = _STRUCTURE.get(trigger, "") if sender.has_structure else ""
        return d.header(
            {
                3: sender.application,
                4: sender.facility,
                5: "HUB",
                6: "STATEHIE",
                7: d.time(event.at),
                9: d.parts(code, name, structure),
                10: self.control_id,
                11: "P",
                12: sender.version,
                18: sender.charset,
            }
        )

    # -- bodies -------------------------------------------------------------------------

    def _registered(self, event: e.Event, detail: e.Registered) -> list[Raw]:
        kin = [self._next_of_kin(detail.kin)] if detail.kin else []
        no_visit = self.dialect.segment("PV1", {1: "1", 2: "N"})
        return [self._event(event, "A28"), self.patient(event), *kin, no_visit, *self._extra(event)]

    def _corrected(self, event: e.Event, _: e.Corrected) -> list[Raw]:
        no_visit = self.dialect.segment("PV1", {1: "1", 2: "N"})
        return [self._event(event, "A31"), self.patient(event), no_visit]

    def _merged(self, event: e.Event, detail: e.Merged) -> list[Raw]:
        d = self.dialect
        retired = d.segment("MRG", {1: d.number(detail.retired)})
        return [self._event(event, "A40"), self.patient(event), retired]

    def _visit_step(self, event: e.Event, detail: e.VisitStep) -> list[Raw]:
        name = _trigger(detail).split("^")[1]
        body = [self._event(event, name), self.patient(event)]
        body.append(self.visit(detail.visit, has_ended=detail.step is e.Step.LEAVE))
        if detail.step is e.Step.CANCEL:
            return body
        if detail.step is not e.Step.LEAVE:
            body += [self._allergy(n, a) for n, a in enumerate(detail.allergies, start=1)]
        return [*body, *self._diagnoses(detail), *self._extra(event)]

    def _documented(self, event: e.Event, detail: e.Documented) -> list[Raw]:
        head = [self._event(event, "T02"), self.patient(event), self.visit(detail.visit)]
        return head + document(self.dialect, detail)

    def _order(self, write: Callable[[Dialect, Any], list[Raw]]) -> Callable[..., list[Raw]]:
        def body(event: e.Event, detail: e.Detail) -> list[Raw]:
            return [self.patient(event), *write(self.dialect, detail), *self._extra(event)]

        return body

    # -- segments -----------------------------------------------------------------------

    def patient(self, event: e.Event) -> Raw:
        """PID."""
        d, known = self.dialect, event.known
        maiden = d.parts(known.former_family, known.given, "", "", "", "", "M")
        fields = {
            1: "1",
            3: d.repeat(d.number(event.value), *self._national(known)),
            5: d.repeat(self._name(known), maiden if known.former_family and not d.is_old else ""),
            7: d.day(known.birth_date),
            8: known.sex[0].upper(),
            11: self._address(known),
            13: self._telecom(known),
        }
        if d.is_old:
            number = known.tax_number
            fields[9] = d.parts(known.former_family, known.given) if known.former_family else ""
            fields[19] = f"{number[:3]}-{number[3:5]}-{number[5:]}" if number else ""
        if known.birth_order:
            fields |= {24: "Y", 25: str(known.birth_order)}
        return d.segment("PID", fields)

    def visit(self, visit: e.Visit, *, has_ended: bool = False) -> Raw:
        """PV1."""
        d = self.dialect
        fields = {
            1: "1",
            2: visit.setting,
            3: d.parts(visit.ward, visit.room, visit.bed, d.sender.facility),
            7: d.doctor(visit.doctor),
            19: d.number(f"V{visit.number}", "VN"),
            44: d.time(visit.start),
        }
        if has_ended:
            fields |= {36: "01", 45: d.time(visit.end)}
        return d.segment("PV1", fields)

    def _event(self, event: e.Event, name: str) -> Raw:
        code = name if self.dialect.is_old else ""
        return self.dialect.segment("EVN", {1: code, 2: self.dialect.time(event.at)})

    def _next_of_kin(self, kin: e.Kin) -> Raw:
        d = self.dialect
        relation = d.parts(kin.relation, "Mother", "HL70063")
        name = d.parts(kin.family, kin.given)
        return d.segment("NK1", {1: "1", 2: name, 3: relation, 5: self._phone(kin.phone)})

    def _allergy(self, position: int, allergy: Any) -> Raw:
        d = self.dialect
        return d.segment(
            "AL1",
            {
                1: str(position),
                2: allergy.kind,
                3: d.code(allergy.code, allergy.text, "RXNORM"),
                4: allergy.severity,
                5: allergy.reaction,
            },
        )

    def _diagnoses(self, detail: e.VisitStep) -> list[Raw]:
        """DG1: why the person came; at the end the lasting conditions too."""
        d, visit = self.dialect, detail.visit
        has_ended = detail.step is e.Step.LEAVE
        kind = "F" if has_ended else "A" if visit.setting == "I" else "W"
        system = d.sender.diagnosis_system
        rows = [(visit.reason.code, visit.reason.text)]
        if has_ended:
            rows += [(c.code, c.text) for c in visit.conditions]
        return [
            d.segment(
                "DG1",
                {
                    1: str(n),
                    2: system if d.is_old else "",
                    3: d.code(code, text, system),
                    4: text if d.is_old else "",
                    5: d.time(visit.start),
                    6: kind,
                },
            )
            for n, (code, text) in enumerate(rows, start=1)
        ]

    def _extra(self, event: e.Event) -> list[Raw]:
        """The sender's own Z-segment, which no standard describes."""
        d = self.dialect
        if not d.sender.z_segment:
            return []
        return [d.segment(d.sender.z_segment, {1: "1", 2: f"DESK{event.person % 7}", 3: "N"})]

    # -- parts of PID -------------------------------------------------------------------

    def _national(self, known: Demographics) -> tuple[Raw, ...]:
        """The taxpayer number, or the placeholder somebody typed as an SSN."""
        d, number = self.dialect, known.tax_number
        if not number or d.is_old:
            return ()
        if number in self._placeholders:
            return (d.parts(number, "", "", ("SSA", "2.16.840.1.113883.4.1", "ISO"), "SS"),)
        return (d.parts(number, "", "", ("IRS", "2.16.840.1.113883.4.2", "ISO"), "TAX"),)

    def _name(self, known: Demographics) -> Raw:
        d = self.dialect
        kind = "" if d.is_old else "L"
        return d.parts(known.family, known.given, known.middle, known.suffix, "", "", kind)

    def _address(self, known: Demographics) -> Raw:
        home, places = known.address, self._places
        return self.dialect.parts(
            home.street, home.unit, home.town, places.state, home.zip_code, places.country, "H"
        )

    def _telecom(self, known: Demographics) -> Raw:
        d = self.dialect
        email = d.parts("", "NET", "Internet", known.email)
        return d.repeat(self._phone(known.phone), email if known.email and not d.is_old else "")

    def _phone(self, digits: str) -> str:
        d = self.dialect
        if not digits:
            return ""
        area, exchange, line = digits[:3], digits[3:6], digits[6:]
        if d.is_old:
            return f"({area}){exchange}-{line}"
        if d.sender.is_capitals:
            return d.parts(digits, "PRN", "PH")
        return d.parts("", "PRN", "PH", "", "1", area, exchange + line)


def _trigger(detail: e.Detail) -> str:
    if isinstance(detail, e.VisitStep):
        arrive = "ADT^A01" if detail.visit.setting == "I" else "ADT^A04"
        steps = {e.Step.UPDATE: "ADT^A08", e.Step.LEAVE: "ADT^A03", e.Step.CANCEL: "ADT^A11"}
        return steps.get(detail.step, arrive)
    triggers: Mapping[type, str] = {
        e.Registered: "ADT^A28",
        e.Corrected: "ADT^A31",
        e.Merged: "ADT^A40",
        e.LabReport: "ORU^R01",
        e.Vaccinated: "VXU^V04",
        e.Prescribed: "RDE^O11",
        e.Dispensed: "RDS^O13",
        e.Documented: "MDM^T02",
    }
    return triggers[type(detail)]
