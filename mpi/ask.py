"""Who fits a description, and who carries a number: questions of callers, which change nothing.

A caller must learn nothing from records it may not see. So a question goes in two steps: here
the records under its keys, there (`hie.identities`) the choice of those the caller may see;
then only these are counted, ranked, compared and scored. Scores are by the model file alone:
the shares of names that the hub has learnt are of all records, hidden ones among them.
"""

import json
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.kernel.clock import EPOCH
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.blocking import BlockingKey, overflow_key
from mpi.decide import Matcher, PairScore, PersonScore, judge_person, person_grade
from mpi.demographics import Demographics
from mpi.find import KEY_DOMAIN, Finder, telling
from mpi.levels import MatchGrade
from mpi.normalize import Normalizer
from mpi.repository import asked as rows
from mpi.settings import MpiSettings
from mpi.shared import without

#: Bits that a person counts for whom the guard, or the mean over its records, speaks against.
_DOUBTFUL_BITS = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A description in comparable form; without keys there is nothing to look for."""

    demographics: Demographics
    keys: tuple[BlockingKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The persons worth comparing, most promising first.

    Attributes:
        described: what is asked, without the values that many of the visible persons share.
    """

    persons: tuple[PersonId, ...]
    described: Demographics


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How well a person fits a description.

    Attributes:
        grade: `certain` only where the next person is clearly weaker.
        bits: log2 odds that it is the person described; at most 0 where `reason` doubts it.
        score: the same as a probability.
        reason: a veto, `mean` or `margin`; empty where nothing speaks against.
        best: the record that fits best, with its evidence.
    """

    person_id: PersonId
    grade: MatchGrade
    bits: float
    reason: str
    best: PairScore

    @property
    def score(self) -> float:
        """From 0 to 1, four digits."""
        bits = max(-60.0, min(60.0, self.bits))
        return round(1.0 / (1.0 + math.pow(2.0, -bits)), 4)


class Questions:
    """Answers what callers ask of the index.

    Args:
        finder: opens records.
        normalizer: brings descriptions to comparable form.
    """

    def __init__(
        self, settings: MpiSettings, ring: KeyRing, finder: Finder, normalizer: Normalizer
    ) -> None:
        self._model = settings.model
        self._limits = settings.defaults.shared
        self._ring = ring
        self._finder = finder
        self._normalizer = normalizer
        self._matcher = Matcher(settings)

    def asked(self, patient: FhirJson, now_us: int) -> Asked:
        """A FHIR Patient as a description; what is odd or a default value is left out."""
        today: date = (EPOCH + timedelta(microseconds=now_us)).date()
        demographics = self._normalizer.demographics(patient, today)
        return Asked(demographics=demographics, keys=self._finder.keys(demographics))

    async def under(self, conn: AsyncConnection, asked: Asked) -> dict[int, list[SourceRecordId]]:
        """The records under each key of a description, and under each wider one."""
        wanted = {value for key in asked.keys for value in self._both(key)}
        return await rows.under(conn, wanted) if wanted else {}

    def ranked(
        self,
        asked: Asked,
        under: Mapping[int, Sequence[SourceRecordId]],
        visible: Mapping[str, str],
    ) -> Ranked:
        """The persons who share the most kinds of key, by the records that are visible.

        Args:
            asked: the description.
            under: what `under` found.
            visible: the person of each of those records that the caller may see.
        """
        shared = self._shared(asked, under, visible)
        described = without(asked.demographics, shared)
        unshared = self._finder.keys(described) if shared else asked.keys
        votes: dict[str, set[str]] = defaultdict(set)
        for key in telling(asked.keys, unshared, shared):
            for value in self._both(key):
                for record in under.get(value, ()):
                    if record in visible:
                        votes[visible[record]].add(key.spec)
        ranking = sorted(votes, key=lambda person: (-len(votes[person]), person))
        most = self._model.thresholds.persons
        return Ranked(persons=tuple(PersonId(p) for p in ranking[:most]), described=described)

    def _shared(
        self,
        asked: Asked,
        under: Mapping[int, Sequence[SourceRecordId]],
        visible: Mapping[str, str],
    ) -> dict[str, set[str]]:
        """Values of the description that more visible persons hold than one person's could be."""
        shared: dict[str, set[str]] = defaultdict(set)
        for key in asked.keys:
            persons = {visible[r] for r in under.get(key.value, ()) if r in visible}
            if key.shared and len(persons) > self._limits[key.shared]:
                shared[key.shared].add(key.part)
        return shared

    async def fits(
        self, conn: AsyncConnection, ranked: Ranked, visible: Mapping[str, str]
    ) -> tuple[Fit, ...]:
        """The persons who may be meant, best first; who surely is not is left out.

        Args:
            conn: open connection.
            ranked: the description, and the persons to compare with.
            visible: every record of theirs that the caller may see, and its person.
        """
        pairs: dict[str, list[PairScore]] = defaultdict(list)
        for opened in await self._finder.open(conn, await rows.named(conn, sorted(visible))):
            record_id = opened.member.record_id
            pair = self._matcher.pair(record_id, ranked.described, opened.demographics)
            pairs[visible[record_id]].append(pair)
        judged = [self._judged(PersonId(person), found) for person, found in pairs.items()]
        return self._graded(judged)

    async def known_as(
        self, conn: AsyncConnection, records: Collection[SourceRecordId]
    ) -> list[Demographics]:
        """What records say in comparable form; erased ones are left out."""
        found = await self._finder.open(conn, await rows.named(conn, sorted(records)))
        return [opened.demographics for opened in found]

    async def sent(
        self, conn: AsyncConnection, records: Collection[SourceRecordId]
    ) -> list[tuple[str, FhirJson]]:
        """Source and Patient of records as they were sent last; erased ones are left out."""
        stored = await rows.raw(conn, sorted(records))
        keys = await self._finder.data_keys(conn, {one.key_id for one in stored})
        return [
            (
                one.source_id,
                json.loads(
                    keys[one.key_id].open(one.raw, table="source_record", column="raw", row=one.id)
                ),
            )
            for one in stored
            if one.key_id in keys
        ]

    def could_be(self, asked: Demographics, records: Collection[Demographics]) -> bool:
        """Whether a description fits one of these records at grade possible or better."""
        least = self._model.thresholds.review
        nobody = SourceRecordId("")
        return any(self._matcher.pair(nobody, asked, one).strength >= least for one in records)

    async def carriers(
        self, conn: AsyncConnection, identifier: SourceIdentifier
    ) -> tuple[SourceRecordId, ...]:
        """The records that carry an identifier now, of any source."""
        value_hash = self._ring.blind("id", identifier.system, identifier.value)
        return await rows.carriers(conn, value_hash)

    async def in_domain(
        self, conn: AsyncConnection, system: str, *, before: int | None, limit: int
    ) -> list[tuple[int, SourceRecordId]]:
        """Records with an identifier of an authority, newest first, each with its place."""
        authority = self._ring.blind("authority", system)
        return await rows.in_domain(conn, authority, before=before, limit=limit)

    def _both(self, key: BlockingKey) -> tuple[int, ...]:
        # Whether a key is full depends on hidden records: the wider one is always asked too.
        wider = overflow_key(key, self._blind)
        return (key.value,) if wider is None else (key.value, wider)

    def _judged(self, person_id: PersonId, pairs: Sequence[PairScore]) -> PersonScore:
        thresholds = self._model.thresholds
        compared = sorted(pairs, key=lambda pair: pair.record_id)[: thresholds.members]
        return judge_person(person_id, compared, thresholds, unscored=len(pairs) - len(compared))

    def _graded(self, judged: Sequence[PersonScore]) -> tuple[Fit, ...]:
        thresholds = self._model.thresholds
        found = [self._fit(person) for person in judged if person.best >= thresholds.review]
        found.sort(key=lambda fit: (-fit.bits, -fit.best.strength, fit.person_id))
        return tuple(_by_margin(found, thresholds.margin))

    def _fit(self, person: PersonScore) -> Fit:
        thresholds = self._model.thresholds
        reason = person.vetoes[0].value if person.vetoes else ""
        if not reason and person.best >= thresholds.auto and person.mean < thresholds.mean:
            reason = "mean"
        found = person_grade(person, thresholds)
        return Fit(
            person_id=person.person_id,
            grade=MatchGrade.POSSIBLE if reason else found,
            bits=min(person.best, _DOUBTFUL_BITS) if reason else person.best,
            reason=reason,
            best=person.pairs[0],
        )

    def _blind(self, *parts: str) -> int:
        return self._ring.blind64(KEY_DOMAIN, *parts)


def _by_margin(ranked: Sequence[Fit], margin: float) -> list[Fit]:
    """The fits, `certain` taken from those that another person comes too close to."""
    found: list[Fit] = []
    for place, fit in enumerate(ranked):
        others = [other.best.strength for at, other in enumerate(ranked) if at != place]
        is_close = bool(others) and fit.best.strength - max(others) < margin
        is_doubted = is_close and fit.grade is MatchGrade.CERTAIN
        found.append(
            replace(fit, grade=MatchGrade.PROBABLE, reason="margin") if is_doubted else fit
        )
    return found
