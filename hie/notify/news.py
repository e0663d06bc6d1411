"""What is new to a receiver: what it may know now, held against what it was told last. Pure.

A channel tells one kind of thing: the numbers a patient has elsewhere, the hub's id of a
patient, or both as one signed message. What a receiver may not see changes no digest, so it is
no news: neither its content nor its time can be told from silence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.domains import Domains
from adapters.hl7v2.pid import Numbers
from adapters.sources import Source
from hie.flow.standing import Standing
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId
from hie.notify.repository import Told

IDENTIFIERS: Final = "identifiers"
MERGES: Final = "merges"
WEBHOOK: Final = "webhook"

#: A keyed hash of texts.
Blind = Callable[..., str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a receiver may know of one of its own records.

    Attributes:
        own: its own numbers of that patient.
        others: the numbers that the patient has elsewhere.
        carriers: the source records that have these numbers.
    """

    person_id: PersonId
    own: tuple[FhirJson, ...]
    others: tuple[FhirJson, ...]
    carriers: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a receiver is to be told, beside what it knows.

    Attributes:
        before: what it knew until now.
        digest: of what it then knows.
    """

    sight: Sight
    before: Told
    digest: str

    @property
    def is_new(self) -> bool:
        """Whether the receiver can see any difference."""
        return self.before.digest != self.digest or self.before.maybe not in (None, self.digest)

    @property
    def was(self) -> PersonId:
        """The person it may believe its record to be of, if not the one it is of."""
        maybe = self.before.maybe_person_id
        return maybe if maybe and maybe != self.sight.person_id else self.before.person_id

    @property
    def is_moved(self) -> bool:
        """Whether its record is of another person than it may believe."""
        return self.was != self.sight.person_id


def sight_of(standing: Standing, record_id: str, source: Source, domains: Domains) -> Sight | None:
    """What a receiver may know; None where its own record stands for nobody any more."""
    if record_id not in standing.records:
        return None
    numbers = numbers_for(source, domains)
    own: list[FhirJson] = []
    others: list[FhirJson] = []
    carriers = {record_id}
    for one, carrier in zip(standing.identifiers, standing.carriers, strict=True):
        if one["system"] == source.own_authority:
            own.append(one)
        elif numbers.takes(one["system"]):
            others.append(one)
        else:
            continue
        carriers.add(carrier)
    return Sight(
        person_id=standing.person_id,
        own=tuple(own),
        others=tuple(others),
        carriers=frozenset(carriers),
    )


def numbers_for(source: Source, domains: Domains) -> Numbers:
    """The identifiers told to a receiver: of the domains its file asks for, else of patients."""
    wanted = source.notify.adt.domains if source.notify.adt else frozenset()

    def takes(system: str) -> bool:
        if wanted:
            return system in wanted or system == source.own_authority
        return domains.is_of_patients(source, system)

    return Numbers(takes=takes, authority=lambda system: domains.authority(source, system))


def news_of(
    channel: str, sight: Sight, told: Told | None, came_from: PersonId | None, blind: Blind
) -> News:
    """What a receiver is to be told, if it is news to it.

    Args:
        channel: the way it is told by.
        sight: what it may know now.
        told: what it was told last; None = nothing yet, so it knows its own number alone.
        came_from: the person its record was of before; None = no other.
        blind: makes the digests.
    """
    first = came_from or sight.person_id
    before = told or Told(person_id=first, digest=_digest(channel, first, (), blind))
    digest = _digest(channel, sight.person_id, sight.others, blind)
    return News(sight=sight, before=before, digest=digest)


def _digest(channel: str, person: PersonId, others: Sequence[FhirJson], blind: Blind) -> str:
    pairs = sorted(f"{one['system']}|{one['value']}" for one in others)
    if channel == MERGES:
        return blind("told", person)
    if channel == IDENTIFIERS:
        return blind("told", *pairs) if pairs else ""
    return blind("told", person, *pairs)
