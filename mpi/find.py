"""Who could this be: from a record's keys to the persons it is scored against.

At most three reads: the records under the keys, under the wider keys of those that are full,
and the records of the persons found.
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
from mpi.decide import Matcher, PairScore, PersonScore, judge_person
from mpi.demographics import Demographics
from mpi.model import Member
from mpi.normalize import retired, unpack, without
from mpi.repository import links, records
from mpi.repository.learning import Sealed
from mpi.repository.records import Entry
from mpi.settings import MpiSettings

#: Domain of the keyed hashes that blocking keys are.
KEY_DOMAIN = "mpi"


_Under = defaultdict[int, list[Entry]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A record of a person, with its demographics."""

    member: Member
    demographics: Demographics


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The persons a record was scored against, and where the record itself is to be found.

    Attributes:
        persons: in no particular order.
        keys: under which the record is to be stored.
        refused: keys without room for it, with their kind.
        found_by: per person, the kinds of key that led to it.
    """

    persons: tuple[PersonScore, ...]
    keys: tuple[int, ...]
    refused: Mapping[int, str] = field(default_factory=dict)
    found_by: Mapping[PersonId, tuple[str, ...]] = field(default_factory=dict)


class Finder:
    """Finds and scores candidates."""

    def __init__(
        self, settings: MpiSettings, ring: KeyRing, keys: KeyStore, matcher: Matcher
    ) -> None:
        self._settings = settings
        self._ring = ring
        self._keys = keys
        self._matcher = matcher

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
        known_as: SourceRecordId | None = None,
        known_with: Collection[SourceRecordId] = (),
    ) -> Found:
        """The persons that a record may be.

        Args:
            conn: open transaction.
            demographics: of the record.
            keys: its blocking keys.
            known_as: the record itself, where it is stored already: not compared with itself.
            known_with: the records of its person, for what stewards hold apart from them.
        """
        under = await self._under(conn, [key.value for key in keys], known_as)
        full = [key for key in keys if len(under[key.value]) >= self._settings.model.key_cap]
        wider = {key.value: overflow_key(key, self._blind) for key in full}
        under |= await self._under(conn, [key for key in wider.values() if key], known_as)
        shared = self._shared(keys, under)
        votes = _votes(keys, wider, under, shared)
        most = self._settings.model.thresholds.persons
        persons = sorted(votes, key=lambda person: (-len(votes[person]), person))[:most]
        scores = await self._score(conn, without(demographics, shared), persons, known_as)
        denied = await self._denied(conn, known_with)
        own_keys, refused = self._room(keys, wider, under)
        return Found(
            persons=tuple(self._judge(p, pairs, denied) for p, pairs in scores.items()),
            keys=own_keys,
            refused=refused,
            found_by={person: tuple(sorted(votes[person])) for person in persons},
        )

    async def open(self, conn: AsyncConnection, members: Iterable[Member]) -> list[Opened]:
        """The demographics of records; those whose key was destroyed are left out."""
        sealed = [m for m in members if m.sealed and m.key_id is not None]
        keys = await self._data_keys(conn, {m.key_id for m in sealed if m.key_id is not None})
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

    async def _data_keys(self, conn: AsyncConnection, ids: set[int]) -> dict[int, DataKey]:
        try:
            return await self._keys.by_ids(conn, ids)
        except HieError as error:
            if error.category is not Category.GONE:
                raise
            if len(ids) == 1:
                return {}
        # Somebody's record was erased: the others must still be compared.
        found: dict[int, DataKey] = {}
        for key_id in ids:
            found |= await self._data_keys(conn, {key_id})
        return found

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

    def _room(
        self, keys: Iterable[BlockingKey], wider: Mapping[int, int | None], under: _Under
    ) -> tuple[tuple[int, ...], dict[int, str]]:
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
        return tuple(dict.fromkeys(stored)), refused

    async def _score(
        self,
        conn: AsyncConnection,
        demographics: Demographics,
        persons: Sequence[PersonId],
        known_as: str | None,
    ) -> dict[PersonId, list[PairScore]]:
        if not persons:
            return {}
        scores: dict[PersonId, list[PairScore]] = defaultdict(list)
        members = await records.members(conn, persons)
        for opened in await self.open(conn, (m for m in members if m.record_id != known_as)):
            member = opened.member
            pair = self._matcher.pair(member.record_id, demographics, opened.demographics)
            scores[member.person_id].append(pair)
        return scores

    def _judge(
        self, person_id: PersonId, pairs: Sequence[PairScore], denied: set[frozenset[str]]
    ) -> PersonScore:
        thresholds = self._settings.model.thresholds
        apart = {record for pair in denied for record in pair}
        return judge_person(
            person_id,
            pairs[: thresholds.members],
            thresholds,
            unscored=max(0, len(pairs) - thresholds.members),
            is_denied=any(pair.record_id in apart for pair in pairs),
        )

    async def _denied(
        self, conn: AsyncConnection, known_with: Collection[SourceRecordId]
    ) -> set[frozenset[str]]:
        """What stewards hold apart from these records."""
        if not known_with:
            return set()
        own = set(known_with)
        return {pair - own for pair in await links.denied(conn, known_with)}

    def _blind(self, *parts: str) -> int:
        return self._ring.blind64(KEY_DOMAIN, *parts)


def _votes(
    keys: Iterable[BlockingKey],
    wider: Mapping[int, int | None],
    under: _Under,
    shared: Mapping[str, Collection[str]],
) -> dict[PersonId, set[str]]:
    """Per person, the kinds of key found; a shared value leads to nobody."""
    votes: dict[PersonId, set[str]] = defaultdict(set)
    for key in keys:
        if key.shared and key.part in shared.get(key.shared, ()):
            continue
        overflow = wider.get(key.value)
        for entry in [*under[key.value], *(under[overflow] if overflow else [])]:
            votes[entry.person_id].add(key.spec)
    return votes


def _unseal(member: Member, key: DataKey) -> Demographics:
    packed = key.open(member.sealed, table="source_record", column="norm", row=member.record_id)
    demographics = unpack(packed)
    return demographics if member.is_active else retired(demographics)
