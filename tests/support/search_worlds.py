"""Random charts of a few people in a database, to be searched; everything from one seed."""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from consent.confine import confined
from consent.evaluate import Judge
from consent.model import AccessRequest, ResourceFacts
from consent.repository import ConsentRepository
from consent.rules import rule_rows
from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.fhir import FhirJson, objects
from hie.kernel.ids import PersonId, SourceRecordId
from hie.keystore import KeyStore
from hie.store.index import load_index
from hie.store.writer import NewVersion, ResourceWriter
from tests.support.consent_worlds import (
    CODES,
    LABELS,
    ORGANIZATIONS,
    SOURCES,
    a_consent,
    a_reach,
    type_of,
)
from tests.support.consents import CONFIG, LOINC, NOW_US, REGIMES, label, law, read

INDEX = load_index(CONFIG / "fhir")
PEOPLE = 25
#: Clinical resources of a person: two of each type.
EACH = 8
CLINICAL = PEOPLE * EACH
#: Few times, so that many resources share one.
TIMES = tuple(NOW_US - 1_000_000 * back for back in (40, 30, 20, 10))
DAYS = ("2022-12-31", "2023", "2023-01-01T00:00:00Z", "2023-01", "2023-02-11T08:30:00Z", "2021-06")
STATUSES = ("final", "preliminary", "amended")
UNITS = ("mg/dL", "mmol/L")
BIRTHS = ("1980-05-05", "1980-06-01", "1951-04-12", "2001-12-31")
FAMILIES = ("Quill", "Quillfeather", "Abel")
TAGS = ("urgent", "study")
NAMES = ("Abel Clinic", "abendrot lab", "Zenith Hospital", "Zürich Praxis")


@dataclass
class Held:
    """A resource as it was stored, and what a naive reader may know of it.

    Attributes:
        pk: its place in the order of storing.
        persons: it is about, the first its own.
    """

    resource: FhirJson
    source_id: str
    pk: int
    label_mask: int = 0
    filed: tuple[tuple[str, str], ...] = ()
    updated_us: int = 0
    is_deleted: bool = False
    facts: ResourceFacts = field(init=False)

    def __post_init__(self) -> None:
        body = self.resource
        period = INDEX.clinical_period(body) or (None, None)
        record, person = self.filed[0] if self.filed else (None, None)
        self.facts = ResourceFacts(
            type=body["resourceType"],
            id=body["id"],
            source_id=self.source_id,
            person_id=person,
            source_record_id=record,
            label_mask=self.label_mask,
            clinical_lo_us=period[0],
            clinical_hi_us=period[1],
            references=frozenset(r for one in objects(body) if (r := one.get("reference"))),
            codes=frozenset(
                (one["system"], one["code"])
                for one in objects(body)
                if isinstance(one.get("system"), str) and isinstance(one.get("code"), str)
            ),
        )

    @property
    def type(self) -> str:
        return str(self.resource["resourceType"])

    @property
    def id(self) -> str:
        return str(self.resource["id"])

    @property
    def persons(self) -> tuple[str, ...]:
        return tuple(person for _, person in self.filed)

    @property
    def patients(self) -> tuple[str, ...]:
        """Whom `patient` means: a Provenance is all its targets', others are their subject's."""
        return self.persons if self.type == "Provenance" else self.persons[:1]


class World:
    """People, their records at sources, charts and consents."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)
        self.law = law(rng.choice(REGIMES))
        self.persons = [f"person{number}" for number in range(PEOPLE)]
        self.records = {f"{person}-{n}": person for person in self.persons for n in range(2)}
        self.held: list[Held] = []
        self.directives = {}
        for name in ("d1", "d2"):
            self._keep("Practitioner", name, active=rng.random() < 0.5)
        for number, name in enumerate(rng.sample(NAMES, 3)):
            above = {"reference": f"Organization/o{number - 1}"}
            part: dict[str, Any] = {"partOf": above} if number else {}
            self._keep("Organization", f"o{number}", name=name, active=rng.random() < 0.5, **part)
        for record, person in self.records.items():
            self._keep("Patient", record, filed=[record], **self._described(record, person))
        for number in range(1, CLINICAL + 1):
            self._clinical(number)
        for number in range(CLINICAL // 12):
            self._provenance(number)
        for at, person in enumerate(self.persons):
            named = numbers_of(at)
            consents = [a_consent(rng, named) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
            mine = [record for record, of in self.records.items() if of == person]
            self.directives[person] = tuple(
                confined(directive, a_reach(rng, mine)) if rng.random() < 0.3 else directive
                for directive in read(*consents)
            )

    def _described(self, record: str, person: str) -> FhirJson:
        """A person as every source knows them, but for each one's number."""
        number = int(person.removeprefix("person"))
        return {
            "gender": ("female", "male")[number % 2],
            "birthDate": BIRTHS[number % 4],
            "name": [{"family": FAMILIES[number % 3]}],
            "identifier": [{"system": "urn:mrn", "value": record}],
        }

    def _keep(self, kind: str, key: str, /, *, filed: list[str] | None = None, **body: Any) -> None:
        rng = self.rng
        is_clinical = bool(filed)
        codes = rng.sample(LABELS, rng.choice([0, 0, 0, 1])) if is_clinical else []
        if is_clinical and kind != "Patient" and rng.random() < 0.4:
            tag = {"system": "urn:tags", "code": rng.choice(TAGS)}
            body["meta"] = {"tag": [tag], "source": rng.choice(["urn:a", "urn:a/b"])}
        self.held.append(
            Held(
                resource={"resourceType": kind, "id": key, **body},
                source_id=rng.choice(SOURCES),
                pk=len(self.held),
                label_mask=self.law.labels.mask_of(label(*codes)),
                filed=tuple((record, self.records[record]) for record in filed or ()),
                updated_us=rng.choice(TIMES),
                is_deleted=is_clinical and kind != "Patient" and rng.random() < 0.05,
            )
        )

    def _clinical(self, number: int) -> None:
        rng, kind = self.rng, type_of(number)
        at = (number - 1) // EACH
        filed = [f"person{at}-{rng.randint(0, 1)}"]
        if rng.random() < 0.08:
            filed.append(rng.choice(list(self.records)))
        if rng.random() < 0.04:
            filed = []
        body: FhirJson = {}
        if filed:
            body["subject"] = {"reference": f"Patient/{filed[0]}"}
        if kind in ("Observation", "Condition") and rng.random() < 0.7:
            body["encounter"] = {"reference": f"Encounter/x{self._near(at, 'Encounter')}"}
        if kind == "Observation":
            self._observed(body, at)
        elif kind == "Encounter":
            self._visited(body)
        elif kind == "Condition":
            body |= {"code": self._code(), "onsetDateTime": rng.choice(DAYS)}
        else:
            body |= {"status": "current", "type": self._code()}
        self._keep(kind, f"x{number}", filed=_once(filed, self.records), **body)

    def _near(self, at: int, kind: str) -> int:
        """A resource's number: of the same person, now and then of anybody."""
        whose = at if self.rng.random() < 0.7 else self.rng.randrange(PEOPLE)
        return self.rng.choice([n for n in numbers_of(whose) if type_of(n) == kind])

    def _visited(self, body: FhirJson) -> None:
        rng = self.rng
        body["status"] = rng.choice(STATUSES)
        if rng.random() < 0.8:
            start, end = sorted(rng.sample(DAYS, 2))
            body["period"] = {"start": start, "end": end}
        if rng.random() < 0.5:
            body["serviceProvider"] = {"reference": f"Organization/o{rng.randint(0, 3)}"}

    def _code(self) -> FhirJson:
        found = self.rng.sample(CODES, self.rng.choice([1, 1, 2]))
        return {"coding": [{"system": LOINC, "code": code} for code in found]}

    def _observed(self, body: FhirJson, at: int) -> None:
        rng = self.rng
        body |= {"code": self._code(), "status": rng.choice(STATUSES)}
        if rng.random() < 0.8:
            body["effectiveDateTime"] = rng.choice(DAYS)
        if rng.random() < 0.6:
            value, unit = rng.choice([1, 5, 5.5, 7]), rng.choice(UNITS)
            system = "http://unitsofmeasure.org"
            body["valueQuantity"] = {"value": value, "system": system, "code": unit}
        if rng.random() < 0.5:
            body["performer"] = [{"reference": f"Practitioner/{rng.choice(['d1', 'd2'])}"}]
        if rng.random() < 0.4:
            # Also forward and in circles.
            members = {self._near(at, "Observation") for _ in range(2)}
            body["hasMember"] = [{"reference": f"Observation/x{n}"} for n in sorted(members)]

    def _provenance(self, number: int) -> None:
        rng = self.rng
        of = rng.sample([held for held in self.held if held.filed], 2)
        targets = [{"reference": f"{held.type}/{held.id}"} for held in of]
        filed = [held.id for held in of if held.type == "Patient"]
        agents = [{"who": {"reference": f"Practitioner/{rng.choice(['d1', 'd2'])}"}}]
        moment = rng.choice(["2023-01-01T00:00:00Z", "2023-02-11T08:30:00Z"])
        if not filed:
            # Filed with the record of what it is about, as the hub does.
            filed = [of[0].filed[0][0]]
            targets.append({"reference": f"Patient/{filed[0]}"})
        body = {"target": targets, "agent": agents, "recorded": moment}
        self._keep("Provenance", f"y{number}", filed=list(dict.fromkeys(filed)), **body)

    def shown(self, asked: AccessRequest) -> list[Held]:
        """What the definition shows a caller, each resource judged alone."""
        judge = Judge(asked, self.law)
        by_itself = {
            (held.type, held.id): held for held in self.held if self._is_shown(judge, held)
        }
        return [
            held for held in by_itself.values() if self._is_witness_shown(asked, held, by_itself)
        ]

    def _is_shown(self, judge: Judge, held: Held) -> bool:
        return all(
            judge.decide(
                replace(held.facts, person_id=person, source_record_id=record),
                self.directives.get(person or "", ()),
            ).is_permitted
            for record, person in held.filed or ((None, None),)
        )

    def _is_witness_shown(
        self, asked: AccessRequest, held: Held, by_itself: dict[tuple[str, str], Held]
    ) -> bool:
        """A Provenance that is of more than Patients is seen with something it is of."""
        if held.type != "Provenance" or held.source_id in asked.own_sources:
            return True
        names = [str(target["reference"]).split("/") for target in held.resource["target"]]
        of = [(kind, key) for kind, key in names if kind != "Patient"]
        seen = [found for name in of if (found := by_itself.get(name))]
        return not of or any(
            len(one.filed) < 2 or one.source_id in asked.own_sources
            for one in seen
            if one.type != "Provenance"
        )


def numbers_of(at: int) -> range:
    """The numbers of a person's clinical resources."""
    return range(at * EACH + 1, at * EACH + EACH + 1)


def _once(filed: list[str], records: dict[str, str]) -> list[str]:
    """A resource is filed under one record of each person."""
    return list({records[record]: record for record in reversed(filed)}.values())[::-1]


async def store(database: Database, world: World, ring: KeyRing) -> None:
    """Write a world through the hub's own writer."""
    keys = KeyStore(database, ring)
    labels = world.law.labels
    writer = ResourceWriter(database, keys, ring, INDEX, lambda coding: labels.knows([coding]))
    consents = ConsentRepository(database, INDEX.type_id, INDEX.type_name)
    async with database.transaction() as conn:
        for held in world.held:
            new = NewVersion(
                type=held.type,
                id=held.id,
                resource=held.resource,
                source_id=held.source_id,
                message_id=1,
                label_mask=held.label_mask,
                patients=tuple((SourceRecordId(r), PersonId(p)) for r, p in held.filed),
                key_owner=held.filed[0][0] if held.filed else "",
                is_deleted=held.is_deleted,
            )
            await writer.write(conn, [new], held.updated_us)
        for person, directives in world.directives.items():
            await consents.replace(conn, person, [r for one in directives for r in rule_rows(one)])


__all__ = ["INDEX", "ORGANIZATIONS", "Held", "World", "store"]
