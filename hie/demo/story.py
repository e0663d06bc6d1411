"""What happens to the demo's people: visits, tests, medicines, notes - drawn from the seed."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from hie.demo import events as e
from hie.demo.lists import Clinician, Condition, Lists, Medicine, Panel, Reason, Sender
from hie.demo.results import measure
from hie.demo.world import Case, Person, Registration, World

_WARDS: Mapping[str, tuple[str, ...]] = {
    "I": ("3WEST", "4EAST", "ICU"),
    "E": ("ED",),
    "O": ("CLINIC", "FAMMED"),
}
_ADULT = 18


def tell(world: World, lists: Lists) -> dict[str, tuple[e.Event, ...]]:
    """Every source's events in the order it sends them."""
    by_source: dict[str, list[e.Event]] = defaultdict(list)
    for person in world.people:
        for event in _Life(world, lists, person).live():
            by_source[event.source].append(event)
    return {
        source: tuple(sorted(told, key=lambda event: (event.at, event.person)))
        for source, told in sorted(by_source.items())
    }


class _Life:
    """One person's events, drawn from the person's own stream of chance."""

    def __init__(self, world: World, lists: Lists, person: Person) -> None:
        self._world = world
        self._lists = lists
        self._clinical = lists.clinical
        self._person = person
        self._rng = random.Random(f"{lists.plan.seed}:story:{person.number}")
        self._events: list[e.Event] = []
        self._count = 0
        self._taking: set[str] = set()
        self._doctor = self._rng.choice(lists.names.clinicians)
        self._age = person.age_at(world.as_of.date())
        self._conditions = tuple(
            c for c in self._clinical.conditions if c.code in person.conditions
        )
        self._allergies = (
            (self._rng.choice(self._clinical.allergies),) if self._chance("allergy") else ()
        )

    def live(self) -> list[e.Event]:
        """All events of the person, in no particular order."""
        for place, record in enumerate(self._person.registrations):
            if self._sender(record.source).kind == "hospital":
                self._hospital(record, place)
        for record in self._person.registrations:
            sent = any(event.source == record.source for event in self._events)
            if not sent and self._sender(record.source).kind == "laboratory":
                self._report(record, self._clinical.panels["cbc"], record.at, self._doctor)
            elif not sent:
                self._at_the_counter(record)
        return self._events

    # -- hospitals ----------------------------------------------------------------------

    def _hospital(self, record: Registration, place: int) -> None:
        self._send(record, record.at, e.Registered(kin=self._kin()))
        if record.corrected_at:
            self._send(record, record.corrected_at, e.Corrected())
        if record.merged_into:
            self._merge(record)
            return
        for _ in range(self._visits(place)):
            self._visit(record, is_first=place == 0)

    def _merge(self, record: Registration) -> None:
        """The doubled record sees one visit, then goes into the first."""
        visit = self._draw_visit(record.at + timedelta(minutes=25))
        self._send(record, visit.start, e.VisitStep(visit=visit, step=e.Step.ARRIVE))
        survivor = next(r for r in self._person.registrations if r.value == record.merged_into)
        at = record.at + timedelta(days=self._rng.randint(5, 30))
        self._send(survivor, at, e.Merged(retired=record.value))

    def _visits(self, place: int) -> int:
        if self._person.case in (Case.FIVE_SOURCES, Case.NEWBORN):
            return 2 - min(place, 1)
        odds = (15, 60, 25) if place == 0 else (45, 45, 10)
        return self._rng.choices((0, 1, 2), odds)[0]

    def _visit(self, record: Registration, *, is_first: bool) -> None:
        start = record.at + timedelta(minutes=20)
        is_birth = self._person.case is Case.NEWBORN and is_first and not self._count
        if not is_birth:
            start = self._some_day(record.at)
        visit = self._draw_visit(start, is_birth=is_birth)
        begin = e.VisitStep(visit=visit, step=e.Step.ARRIVE, allergies=self._allergies)
        self._send(record, visit.start, begin)
        if self._chance("cancelled") and not is_birth:
            at = visit.start + timedelta(minutes=30)
            self._send(record, at, e.VisitStep(visit=visit, step=e.Step.CANCEL))
            return
        if self._chance("updated"):
            at = visit.start + timedelta(minutes=35)
            update = e.VisitStep(visit=visit, step=e.Step.UPDATE, allergies=self._allergies)
            self._send(record, at, update)
        self._send(record, visit.end, e.VisitStep(visit=visit, step=e.Step.LEAVE))
        self._care(record, visit, self._conditions if is_first else self._conditions[:1])

    def _draw_visit(self, start: datetime, *, is_birth: bool = False) -> e.Visit:
        reason = self._reason(is_birth=is_birth)
        hours = {"I": self._rng.randint(40, 110), "E": self._rng.randint(2, 6), "O": 1}
        self._count += 1
        return e.Visit(
            number=f"{self._person.number:04d}{self._count:02d}",
            setting=reason.setting,
            start=start,
            end=start + timedelta(hours=hours[reason.setting]),
            reason=reason,
            doctor=self._rng.choice((self._doctor, self._rng.choice(self._doctors))),
            ward=self._rng.choice(_WARDS[reason.setting]),
            room=str(self._rng.randint(100, 480)),
            bed=self._rng.choice("AB"),
            conditions=self._conditions,
        )

    def _care(
        self, record: Registration, visit: e.Visit, conditions: tuple[Condition, ...]
    ) -> None:
        """What follows from a visit: tests, medicines, vaccines, a note, vital signs."""
        reason = visit.reason
        panels = [*reason.panels, *(name for c in conditions for name in c.panels)]
        for name in dict.fromkeys(panels):
            self._order(record, self._clinical.panels[name], visit)
        medicines = [(m, reason.code) for m in reason.medicines]
        medicines += [(m, c.code) for c in conditions for m in c.medicines]
        for name, code in dict(medicines).items():
            if name in self._taking:
                continue
            self._taking.add(name)
            self._prescribe(record, self._clinical.medicines[name], visit, code)
        if self._chance("vaccine"):
            self._vaccinate(record, visit.start + timedelta(minutes=12), reason.vaccines)
        if self._chance("note"):
            self._write_note(record, visit)
        if self._sender(record.source).sends_fhir:
            self._measure(record, visit)

    def _order(self, record: Registration, panel: Panel, visit: e.Visit) -> None:
        """Ask the independent laboratory, or the hospital's own where the person is unknown."""
        laboratory = self._at("laboratory")
        if laboratory and not self._chance("own_laboratory"):
            self._report(laboratory, panel, visit.start, visit.doctor)
        elif laboratory or self._chance("own_laboratory"):
            self._report(record, panel, visit.start, visit.doctor)

    def _report(
        self, record: Registration, panel: Panel, ordered: datetime, doctor: Clinician
    ) -> None:
        self._count += 1
        collected = max(ordered, record.at) + timedelta(minutes=self._rng.randint(15, 90))
        reported = collected + timedelta(hours=self._rng.randint(2, 30))
        number = f"{self._person.number:04d}{self._count:03d}"
        report = e.LabReport(
            panel=panel,
            placer=f"ORD{number}",
            filler=f"{record.source[0].upper()}R{number}",
            collected=collected,
            reported=reported,
            results=tuple(measure(test, self._rng) for test in panel.tests),
            doctor=doctor,
        )
        self._send(record, reported + timedelta(minutes=3), report)

    def _prescribe(
        self, record: Registration, medicine: Medicine, visit: e.Visit, reason: str
    ) -> None:
        written = visit.end - timedelta(minutes=10)
        prescription = self._draw_prescription(medicine, written, visit.doctor, reason)
        if self._sender(record.source).sends_prescriptions:
            self._send(record, written, e.Prescribed(prescription=prescription))
        pharmacy = self._at("pharmacy")
        if pharmacy:
            fills = 1 + min(medicine.refills, int(self._rng.random() < 0.3))
            self._dispense(pharmacy, prescription, written, fills)

    def _write_note(self, record: Registration, visit: e.Visit) -> None:
        form = next(n for n in self._clinical.notes if n.setting == visit.setting)
        known = record.known_at(visit.start)
        words = {
            "given": known.given,
            "family": known.family,
            "age": str(self._person.age_at(visit.start.date())),
            "reason": visit.reason.text,
            "day": f"{visit.start:%Y-%m-%d}",
            "doctor": f"{visit.doctor.given} {visit.doctor.family}",
        }
        signed_at = visit.end + timedelta(hours=2)
        note = e.Documented(
            number=f"DOC{visit.number}",
            form=form,
            lines=tuple(line.format(**words) for line in form.body),
            visit=visit,
            signed_at=signed_at,
        )
        self._send(record, signed_at, note)

    def _measure(self, record: Registration, visit: e.Visit) -> None:
        is_grown = self._age >= _ADULT
        measured = e.Measured(
            visit=visit,
            systolic=self._rng.randint(104, 158) if is_grown else self._rng.randint(88, 112),
            diastolic=self._rng.randint(62, 95) if is_grown else self._rng.randint(50, 72),
            pulse=self._rng.randint(54, 98) if is_grown else self._rng.randint(75, 130),
            weight_kg=f"{self._rng.uniform(48, 110) if is_grown else 3.4 + 3 * self._age:.1f}",
            height_cm=self._rng.randint(150, 193) if is_grown else 52 + 7 * self._age,
            smoker=is_grown and self._rng.random() < 0.15,
        )
        self._send(record, visit.end + timedelta(minutes=20), measured)

    # -- pharmacy and vaccines ----------------------------------------------------------

    def _at_the_counter(self, record: Registration) -> None:
        """A pharmacy's customer whom no hospital sent: a vaccine, or something simple."""
        if self._age >= 1 and self._rng.random() < 0.55:
            self._vaccinate(record, record.at, ("influenza",))
            return
        name = "ibuprofen" if self._age >= _ADULT else "amoxicillin"
        medicine = self._clinical.medicines[name]
        written = record.at - timedelta(minutes=50)
        reason = "R52" if self._age >= _ADULT else "H66.90"
        prescription = self._draw_prescription(medicine, written, self._doctor, reason)
        self._dispense(record, prescription, record.at, 1)

    def _dispense(
        self,
        record: Registration,
        prescription: e.Prescription,
        written: datetime,
        fills: int,
    ) -> None:
        at = max(written, record.at) + timedelta(hours=self._rng.randint(1, 30))
        for fill in range(1, fills + 1):
            handed_over = e.Dispensed(prescription=prescription, fill=fill, handed_over=at)
            self._send(record, at + timedelta(minutes=4), handed_over)
            at += timedelta(days=28)

    def _vaccinate(self, record: Registration, at: datetime, wanted: Iterable[str]) -> None:
        fit = [name for name, v in self._clinical.vaccines.items() if v.from_age <= self._age]
        name = next((name for name in wanted if name in fit), None)
        if name is None or self._rng.random() < 0.4:
            name = self._rng.choice(fit)
        vaccine = self._clinical.vaccines[name]
        self._count += 1
        given = e.Vaccinated(
            vaccine=vaccine,
            filler=f"VX{self._person.number:04d}{self._count:03d}",
            lot=f"{vaccine.lot}{self._rng.randint(1000, 9999)}",
            expires=(at + timedelta(days=self._rng.randint(90, 400))).date(),
            given_at=at,
            doctor=self._doctor,
        )
        self._send(record, at + timedelta(minutes=5), given)

    def _draw_prescription(
        self, medicine: Medicine, written: datetime, doctor: Clinician, reason: str
    ) -> e.Prescription:
        self._count += 1
        number = f"{self._person.number:04d}{self._count:03d}"
        return e.Prescription(
            number=f"RX{number}",
            placer=f"MED{number}",
            medicine=medicine,
            written_at=written,
            doctor=doctor,
            reason=reason,
        )

    # -- facts --------------------------------------------------------------------------

    def _send(self, record: Registration, at: datetime, detail: e.Detail) -> None:
        """Keep an event, unless it would come after the story's last day."""
        if at >= self._world.as_of + timedelta(days=1):
            return
        self._events.append(
            e.Event(
                at=at,
                source=record.source,
                person=self._person.number,
                value=record.value,
                known=record.known_at(at),
                detail=detail,
            )
        )

    def _some_day(self, after: datetime) -> datetime:
        last = self._world.as_of - timedelta(days=6)
        days = self._rng.randint(1, max((last - after).days, 1))
        day = after + timedelta(days=days)
        return day.replace(hour=self._rng.randint(8, 17), minute=self._rng.randint(0, 59))

    def _reason(self, *, is_birth: bool) -> Reason:
        reasons = self._clinical.reasons
        if is_birth:
            return next(r for r in reasons if r.code == "Z38.00")
        fit = [r for r in reasons if r.weight and r.from_age <= self._age <= r.to_age]
        return self._rng.choices(fit, [r.weight for r in fit])[0]

    def _kin(self) -> e.Kin | None:
        """The mother of a newborn; None for others."""
        if self._person.mother:
            mother = self._world.person(self._person.mother).truth
            return e.Kin(
                family=mother.family, given=mother.given, relation="MTH", phone=mother.phone
            )
        return None

    def _at(self, kind: str) -> Registration | None:
        """The person's record at the laboratory or pharmacy."""
        return next(
            (r for r in self._person.registrations if self._sender(r.source).kind == kind), None
        )

    def _sender(self, source: str) -> Sender:
        return self._lists.senders[source]

    @property
    def _doctors(self) -> tuple[Clinician, ...]:
        return self._lists.names.clinicians

    def _chance(self, name: str) -> bool:
        return self._rng.random() * 100 < self._lists.plan.chances[name]
