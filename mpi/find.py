"""Who could this be: from a record's keys to the persons it is scored against.

At most three reads: the records under the keys, under the wider keys of those that are full,
and the records of the persons found. A record that is known already is also compared with the
others of its own person, whatever its keys lead to.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey, KeyRing
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceId, SourceRecordId
from hie.keystore import KeyStore
from mpi.blocking import BlockingKey, blocking_keys, overflow_key
from mpi.decide import Matcher, PersonScore, judge_person
from mpi.demographics import Demographics
from mpi.model import Member, Record
from mpi.normalize import retired, unpack
from mpi.repository import candidates, links, records
from mpi.repository.learning import Sealed
from mpi.repository.records import Entry
from mpi.settings import MpiSettings
from mpi.shared import without

#: Domain of the keyed hashes that blocking keys are.
KEY_DOMAIN = "mpi"


_Under = defaultdict[int, list[Entry]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A record of a person, with its demographics."""

    member: Member
    demographics: Demographics


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """The records of a person to compare with, the ids of all known, and how many there are."""

    opened: list[Opened] = field(default_factory=list)
    ids: frozenset[SourceRecordId] = frozenset()
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The keys that a record is stored under, and those that are full, with their kind.

    Attributes:
        made_as: which kinds of key they were made as.
    """

    keys: tuple[int, ...]
    made_as: str
    refused: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The persons a record was scored against, and where the record itself is to be found.

    Attributes:
        persons: in no particular order; not the record's own.
        own: the record against the others of its person; None for a new or lonely one.
        room: where the record is to be stored.
        found_by: per person, the kinds of key that led to it.
    """

    persons: tuple[PersonScore, ...]
    room: Room
    own: PersonScore | None = None
    found_by: Mapping[PersonId, tuple[str, ...]] = field(default_factory=dict)


class Finder:
    """Finds and scores candidates."""

    def __init__(
        self, settings: MpiSettings, ring: KeyRing, keys: KeyStore, matcher: Matcher
    ) -> None:
        self._settings = settings
        self._thresholds = settings.model.thresholds
        self._ring = ring
        self._keys = keys
        self._matcher = matcher
        specs = "\n".join(map(repr, settings.model.keys))
        #: One text per set of kinds of key: what a record's keys were made as.
        self.keys_as = ring.blind("keys", f"{specs}\n{settings.model.keys_per_record}")

    def keys(self, demographics: Demographics) -> tuple[BlockingKey, ...]:
        """The blocking keys of a record."""
        model = self._settings.model
        return blocking_keys(demographics, model.keys, self._blind, model.keys_per_record)

    async def find(
        self,
        conn: AsyncConnection,
        demographics: Demographics,
        keys: Sequence[BlockingKey],
        *,
        known: Record | None = None,
    ) -> Found:
        """The persons that a record may be.

        Args:
            conn: open transaction.
            demographics: of the record.
            keys: its blocking keys.
            known: the record itself, where it is stored already: not compared with itself, and
                what stewards hold apart from its person is no candidate.
        """
        record_id, own = (known.record_id, known.person_id) if known else (None, None)
        under = await self._under(conn, [key.value for key in keys], record_id)
        wider = self._wider(keys, under)
        under |= await self._under(conn, [key for key in wider.values() if key], record_id)
        shared = self._shared(keys, under)
        seen = without(demographics, shared)
        unshared = self.keys(seen) if shared else keys
        votes = _votes(telling(keys, unshared, shared), wider, under)
        persons = self._most_promising(votes, own)
        led_to = {entry.record_id for entries in under.values() for entry in entries}
        wanted = [own, *persons] if own else persons
        groups = await self._grouped(conn, wanted, led_to, record_id)
        mates = groups.pop(own, _Group()) if own else _Group()
        apart = await self._apart(conn, known, mates)
        judged = (self._judge(person, seen, group, apart) for person, group in groups.items())
        room = self._room(keys, wider, under)
        return Found(
            persons=tuple(score for score in judged if score is not None),
            own=self._judge(own, seen, mates) if own else None,
            room=room,
            found_by={person: tuple(sorted(votes[person])) for person in persons},
        )

    async def telling(self, conn: AsyncConnection, demographics: Demographics) -> Demographics:
        """Demographics without the values that more persons hold than one person's could be."""
        keys = self.keys(demographics)
        under = await self._under(conn, [key.value for key in keys], None)
        return without(demographics, self._shared(keys, under))

    async def open(self, conn: AsyncConnection, members: Iterable[Member]) -> list[Opened]:
        """The demographics of records; those whose key was destroyed are left out."""
        sealed = [m for m in members if m.sealed and m.key_id is not None]
        keys = await self.data_keys(conn, {m.key_id for m in sealed if m.key_id is not None})
        return [
            Opened(member=m, demographics=_unseal(m, keys[m.key_id]))
            for m in sealed
            if m.key_id in keys
        ]

    async def unseal(self, conn: AsyncConnection, page: Iterable[Sealed]) -> list[Demographics]:
        """The demographics of a page of records, without persons."""
        members = [
            Member(
                record_id=SourceRecordId(sealed.record_id),
                person_id=PersonId(""),
                source_id=SourceId(""),
                is_active=True,
                key_id=sealed.key_id,
                sealed=sealed.norm,
            )
            for sealed in page
        ]
        return [opened.demographics for opened in await self.open(conn, members)]

    async def data_keys(self, conn: AsyncConnection, ids: set[int]) -> dict[int, DataKey]:
        """The data keys with these ids; those that were destroyed are left out."""
        try:
            return await self._keys.by_ids(conn, ids)
        except HieError as error:
            if error.category is not Category.GONE:
                raise
            if len(ids) == 1:
                return {}
        # Somebody's record was erased: the others must still be compared.
        half = set(sorted(ids)[: len(ids) // 2])
        return await self.data_keys(conn, half) | await self.data_keys(conn, ids - half)

    async def _under(
        self, conn: AsyncConnection, keys: Sequence[int], known_as: str | None
    ) -> defaultdict[int, list[Entry]]:
        under: defaultdict[int, list[Entry]] = defaultdict(list)
        if keys:
            for entry in await records.entries(conn, keys):
                if entry.record_id != known_as:
                    under[entry.key].append(entry)
        return under

    def _shared(self, keys: Iterable[BlockingKey], under: _Under) -> dict[str, set[str]]:
        """Values that more persons hold than one person's could be."""
        limits = self._settings.defaults.shared
        shared: dict[str, set[str]] = defaultdict(set)
        for key in keys:
            persons = {entry.person_id for entry in under[key.value]}
            if key.shared and len(persons) > limits[key.shared]:
                shared[key.shared].add(key.part)
        return shared

    async def room(
        self, conn: AsyncConnection, keys: Sequence[BlockingKey], record_id: SourceRecordId
    ) -> Room:
        """Where a record that is stored is to be found by these keys."""
        under = await self._under(conn, [key.value for key in keys], record_id)
        wider = self._wider(keys, under)
        under |= await self._under(conn, [key for key in wider.values() if key], record_id)
        return self._room(keys, wider, under)

    def _wider(self, keys: Iterable[BlockingKey], under: _Under) -> dict[int, int | None]:
        """For each full key the one that takes what finds no room, if there is one."""
        cap = self._settings.model.key_cap
        full = (key for key in keys if len(under[key.value]) >= cap)
        return {key.value: overflow_key(key, self._blind) for key in full}

    def _room(
        self, keys: Iterable[BlockingKey], wider: Mapping[int, int | None], under: _Under
    ) -> Room:
        """The keys the record is stored under: a full one gives way to its wider one."""
        cap = self._settings.model.key_cap
        stored: list[int] = []
        refused: dict[int, str] = {}
        for key in keys:
            if key.value not in wider:
                stored.append(key.value)
                continue
            overflow = wider[key.value]
            if overflow is not None and len(under[overflow]) < cap:
                stored.append(overflow)
            else:
                refused[key.value] = key.spec
        return Room(keys=tuple(dict.fromkeys(stored)), made_as=self.keys_as, refused=refused)

    def _most_promising(
        self, votes: Mapping[PersonId, Collection[str]], own: PersonId | None
    ) -> list[PersonId]:
        """The persons that the most kinds of key lead to; a record's own is none of them."""
        others = (person for person in votes if person != own)
        ranked = sorted(others, key=lambda person: (-len(votes[person]), person))
        return ranked[: self._thresholds.persons]

    async def _grouped(
        self,
        conn: AsyncConnection,
        persons: Sequence[PersonId],
        found: Collection[SourceRecordId],
        without_record: SourceRecordId | None,
    ) -> dict[PersonId, _Group]:
        """The records of these persons: those that were found first, then the oldest."""
        most = self._thresholds.members
        rows = await candidates.members(conn, persons, most=most, named=found) if persons else {}
        chosen = {
            person: sorted(
                (m for m in held.members if m.record_id != without_record),
                key=lambda m: m.record_id not in found,
            )[:most]
            for person, held in rows.items()
        }
        opened = await self.open(conn, [m for members in chosen.values() for m in members])
        groups = {
            person: _Group(
                ids=frozenset(m.record_id for m in held.members),
                total=held.total - any(m.record_id == without_record for m in held.members),
            )
            for person, held in rows.items()
        }
        for one in opened:
            groups[one.member.person_id].opened.append(one)
        return groups

    def _judge(
        self,
        person_id: PersonId,
        demographics: Demographics,
        group: _Group,
        apart: Collection[SourceRecordId] = (),
    ) -> PersonScore | None:
        """The record against a person; None where no record of it can be read any more."""
        if not group.opened:
            return None
        return judge_person(
            person_id,
            [
                self._matcher.pair(one.member.record_id, demographics, one.demographics)
                for one in group.opened
            ],
            self._thresholds,
            unscored=max(0, group.total - self._thresholds.members),
            is_denied=not group.ids.isdisjoint(apart),
        )

    async def _apart(
        self, conn: AsyncConnection, known: Record | None, mates: _Group
    ) -> frozenset[SourceRecordId]:
        """The records that stewards hold apart from a known one or its person."""
        if known is None:
            return frozenset()
        own = mates.ids | {known.record_id}
        pairs = await links.denied(conn, own)
        return frozenset(SourceRecordId(r) for pair in pairs for r in pair if r not in own)

    def _blind(self, *parts: str) -> int:
        return self._ring.blind64(KEY_DOMAIN, *parts)


def telling(
    keys: Iterable[BlockingKey],
    unshared: Iterable[BlockingKey],
    shared: Mapping[str, Collection[str]],
) -> list[BlockingKey]:
    """The keys that a record would have without its shared values: these lead to nobody."""
    if not shared:
        return list(keys)
    kept = {key.value for key in unshared}
    return [key for key in keys if key.value in kept]


def _votes(
    keys: Iterable[BlockingKey],
    wider: Mapping[int, int | None],
    under: _Under,
) -> dict[PersonId, set[str]]:
    """Per person, the kinds of key found."""
    votes: dict[PersonId, set[str]] = defaultdict(set)
    for key in keys:
        overflow = wider.get(key.value)
        for entry in [*under[key.value], *(under[overflow] if overflow else [])]:
            votes[entry.person_id].add(key.spec)
    return votes


def _unseal(member: Member, key: DataKey) -> Demographics:
    packed = key.open(member.sealed, table="source_record", column="norm", row=member.record_id)
    demographics = unpack(packed)
    return demographics if member.is_active else retired(demographics)
