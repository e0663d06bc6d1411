"""Named cases of trouble with identity: what messages say of somebody, and what must come of it.

A case has a family of its own - surname, birth date, home, telephone - so that all cases can be
played on one hub. Records are numbered in the order in which they first appear.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count, product

from hie.kernel.envelope import SourceIdentifier
from hie.kernel.ids import PersonId, SourceId, SourceRecordId
from mpi.model import Task
from tests.support.feeding import Feeding

#: Sender, authority of its numbers, and how the hub knows both.
HOSPITALS = {
    "bayside": ("CLINWORKS|BAYSIDE", "BGH", "urn:oid:2.16.840.1.113883.19.100.1"),
    "aurelia": ("MEDIHOST|STAUR", "SAMC", "https://saint-aurelia.example/mrn"),
    "western": ("HILLCARE|WHMC", "WHMC", "urn:oid:2.16.840.1.113883.19.100.3"),
}
SOURCES = {
    "bayside": SourceId("bayside-general"),
    "aurelia": SourceId("saint-aurelia"),
    "western": SourceId("western-hills"),
}
_FIRST = ("Bra", "Cro", "Dre", "Fla", "Gro", "Kle", "Pra", "Sti", "Tru", "Vlo")
_LAST = ("mbeck", "ndale", "sworth", "tteridge", "vington", "xley", "zinski")


@dataclass(frozen=True, slots=True)
class Family:
    """What the people of one case have in common, and nobody else."""

    number: int

    @property
    def surname(self) -> str:
        """A name that no other case bears."""
        first, last = list(product(_FIRST, _LAST))[self.number % 70]
        return first + last

    @property
    def born(self) -> str:
        """A birth date of its own, `YYYYMMDD`, of an adult."""
        return f"19{45 + self.number % 35}{self.number % 9 + 1:02d}{self.number % 11 + 14}"

    @property
    def home(self) -> str:
        """Street, city, state and ZIP as components of PID-11."""
        return f"{self.number + 11} {self.surname} Road^^Concord^MA^{1001 + 37 * self.number:05d}"

    @property
    def phone(self) -> str:
        """A telephone number."""
        return f"^PRN^PH^^1^617^23{self.number:02d}{871 + self.number:03d}"

    @property
    def ssn(self) -> str:
        """A social security number."""
        return f"4{self.number:02d}55{7781 + self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message about one patient; what is not given is the family's.

    Attributes:
        number: the hospital's medical record number, short; made unlike those of other cases.
        event: ADT trigger; an ORU for `R01`.
        retired: for A40: the number that is merged away.
        type: CX-5 of the numbers; empty = the hospital does not say.
        more: further fields of PID by number.
    """

    number: str
    hospital: str = "bayside"
    event: str = "A08"
    given: str = "Nora"
    family: str | None = None
    middle: str = ""
    suffix: str = ""
    alias: str = ""
    born: str | None = None
    sex: str = "F"
    home: str | None = None
    phone: str | None = None
    ssn: str = ""
    retired: str = ""
    type: str = "MR"
    more: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A trouble, and how it must end.

    Attributes:
        said: the messages in order, made from the family.
        ends: persons apart by blanks, their records joined by `+`: `1+3 2`.
        asks: kinds of the tasks that are open in the end.
    """

    name: str
    said: Callable[[Family], Sequence[Said]]
    ends: str
    asks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a case did end.

    Attributes:
        persons: as in `Case.ends`.
        asks: kinds of open tasks about these persons.
        parked: messages that could not be worked off.
    """

    persons: str
    asks: tuple[str, ...]
    parked: int


async def play(fed: Feeding, cases: Sequence[Case]) -> dict[str, End]:
    """Every case played, one after the other."""
    return {case.name: await _play(fed, case, Family(n)) for n, case in enumerate(cases)}


_controls = count(1)


async def _play(fed: Feeding, case: Case, family: Family) -> End:
    records: dict[tuple[str, str], SourceRecordId] = {}
    parked = 0
    for said in case.said(family):
        message = (await fed.send(payload(family, said), source=SOURCES[said.hospital]))[0]
        parked += message.state.value != "processed"
        if (said.hospital, said.number) not in records:
            records[said.hospital, said.number] = await _record(fed, family, said)
    async with fed.services.db.reading() as conn:
        person_of = await fed.services.mpi.person_of(conn, records.values())
    persons = [person_of[record] for record in records.values()]
    asked = await _tasks(fed, set(persons))
    return End(
        persons=_partition(persons),
        asks=tuple(sorted({task.kind.value for task in asked})),
        parked=parked,
    )


def payload(family: Family, said: Said) -> bytes:
    """A message as its hospital sends it."""
    control = next(_controls)
    sender, _, _ = HOSPITALS[said.hospital]
    at = f"20250301{control // 3600 % 24:02d}{control // 60 % 60:02d}{control % 60:02d}"
    is_result = said.event == "R01"
    trigger = "ORU^R01" if is_result else f"ADT^{said.event}"
    lines = [
        f"MSH|^~\\&|{sender}|HIE|ST|{at}||{trigger}|T{control}|P|2.5.1||||||UNICODE UTF-8",
        *([] if is_result else [f"EVN||{at}"]),
        _pid(family, said),
    ]
    if said.retired:
        lines.append(f"MRG|{_number(family, said, said.retired)}")
    if is_result:
        lines.append(
            f"OBR|1|O{control}^CW|F{control}^LAB|718-7^Hemoglobin^LN|||{at}||||||||||||||||||F"
        )
        lines.append("OBX|1|NM|718-7^Hemoglobin^LN||13|g/dL|||||F")
    return "\r".join([*lines, ""]).encode()


def _number(family: Family, said: Said, number: str) -> str:
    kind = f"^{said.type}" if said.type else ""
    return f"{family.number}-{number}^^^{HOSPITALS[said.hospital][1]}{kind}"


def _pid(family: Family, said: Said) -> str:
    surname = family.surname if said.family is None else said.family
    names = [f"{surname}^{said.given}^{said.middle}^{said.suffix}^^^L"]
    if said.alias:
        names.append(f"{said.alias}^{said.given}^^^^^M")
    fields = {
        1: "1",
        3: _number(family, said, said.number),
        5: "~".join(names),
        7: family.born if said.born is None else said.born,
        8: said.sex,
        11: family.home if said.home is None else said.home,
        13: family.phone if said.phone is None else said.phone,
        19: said.ssn,
        **said.more,
    }
    return "PID|" + "|".join(fields.get(n, "") for n in range(1, max(fields) + 1))


async def _record(fed: Feeding, family: Family, said: Said) -> SourceRecordId:
    """The record that a number leads to when it first appears."""
    system = HOSPITALS[said.hospital][2]
    own = SourceIdentifier(system=system, value=f"{family.number}-{said.number}")
    async with fed.services.db.reading() as conn:
        record = await fed.services.mpi.find_record(conn, SOURCES[said.hospital], own)
    assert record is not None, (said.hospital, said.number)
    return record


def _partition(persons: Sequence[PersonId]) -> str:
    numbered: dict[str, list[str]] = {}
    for number, person in enumerate(persons, 1):
        numbered.setdefault(person, []).append(str(number))
    return " ".join("+".join(records) for records in numbered.values())


async def _tasks(fed: Feeding, persons: set[PersonId]) -> list[Task]:
    async with fed.services.db.reading() as conn:
        tasks = await fed.services.mpi.review.listed(conn, limit=500)
    return [
        task
        for task in tasks
        if persons & {task.person_id, *(c.person_id for c in task.candidates)}
    ]
