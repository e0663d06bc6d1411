"""The records of the index decided again by another model: what would change if it decided.

Nothing is written. A record is decided as if it arrived now, its own person among the
candidates; both models see the same candidates under the same keys.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.kernel.ids import PersonId, SourceRecordId
from hie.keystore import KeyStore
from mpi.decide import Matcher, decide
from mpi.find import Finder, Opened
from mpi.learn import Learning
from mpi.model import Member, Outcome, Record
from mpi.repository import models, records
from mpi.settings import LinkageModel, MpiSettings, Thresholds

#: What a record comes out as: `own` = linked to its person, `other` = to another one.
OWN, OTHER, REVIEW, NEW = "own", "other", "review", "new"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redecided:
    """How records come out by two models.

    Attributes:
        moves: how many went from which outcome to which; the unchanged ones too.
    """

    looked_at: int
    moves: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """Records that come out otherwise."""
        return sum(count for (before, after), count in self.moves.items() if before != after)

    @property
    def changed_share(self) -> float:
        """Their share."""
        return self.changed / self.looked_at if self.looked_at else 0.0


@dataclass(frozen=True, slots=True)
class Judge:
    """A model at work: where it finds candidates, and where it draws its lines."""

    finder: Finder
    thresholds: Thresholds

    async def outcome(self, conn: AsyncConnection, known: Record) -> str | None:
        """What a record comes out as; None where it cannot be read any more."""
        opened = await self.finder.open(conn, [_member(known)])
        if not opened:
            return None
        demographics = opened[0].demographics
        keys = self.finder.keys(demographics)
        found = await self.finder.find(conn, demographics, keys, known=known)
        persons = [*found.persons, *([found.own] if found.own else [])]
        decision = decide(persons, self.thresholds)
        if decision.outcome is Outcome.LINK:
            return OWN if decision.person_id == known.person_id else OTHER
        return REVIEW if decision.outcome is Outcome.REVIEW else NEW


class Trials:
    """Records of the index outside its daily work: read to learn from, and decided again.

    Args:
        settings: with the model in use.
        ring, keys: open what is sealed.
        finder: opens records.
        learning: knows how common names are.
    """

    def __init__(
        self,
        settings: MpiSettings,
        ring: KeyRing,
        keys: KeyStore,
        finder: Finder,
        learning: Learning,
    ) -> None:
        self._settings = settings
        self._ring = ring
        self._keys = keys
        self._finder = finder
        self._learning = learning

    @property
    def model(self) -> LinkageModel:
        """The model in use."""
        return self._settings.model

    async def records(self, conn: AsyncConnection) -> AsyncIterator[list[Opened]]:
        """Every active record, page by page, on a reading connection; whoever asks, audits."""
        async for page in models.linked_records(conn):
            yield await self._finder.open(conn, page)

    async def redecide(
        self, conn: AsyncConnection, model: LinkageModel, most: int, seed: int, progress: Progress
    ) -> Redecided:
        """Some records decided by the model in use and by another one; writes nothing.

        Args:
            conn: reading connection.
            model: the other one.
            most: records looked at; which, the seed decides.
            seed: of the draw.
            progress: told `links`, how many are done, and how many there are.
        """
        ids = await models.record_ids(conn)
        drawn = sorted(ids, key=lambda i: blake2b(f"{seed}|{i}".encode(), digest_size=8).digest())
        shares = await self._learning.shares(conn)
        judges = []
        for judged in (self.model, model):
            settings = replace(self._settings, model=judged)
            finder = Finder(settings, self._ring, self._keys, Matcher(settings, shares))
            judges.append(Judge(finder, judged.thresholds))
        return await _redecide(conn, drawn[:most], judges[0], judges[1], progress)


async def _redecide(
    conn: AsyncConnection,
    ids: Sequence[SourceRecordId],
    before: Judge,
    after: Judge,
    progress: Progress,
) -> Redecided:
    moves: Counter[tuple[str, str]] = Counter()
    for done, record_id in enumerate(ids):
        progress("links", done, len(ids))
        known = await records.find_record(conn, record_id)
        if known is None or known.key_id is None or known.person_id is None:
            continue
        old = await before.outcome(conn, known)
        new = await after.outcome(conn, known)
        if old is not None and new is not None:
            moves[old, new] += 1
    progress("links", len(ids), len(ids))
    return Redecided(looked_at=moves.total(), moves=dict(moves))


def lines(redecided: Redecided) -> Iterable[str]:
    """What changes, for a terminal."""
    words = {
        (OWN, REVIEW): "links that a steward would be asked about",
        (OWN, NEW): "links lost",
        (OWN, OTHER): "links that would go to another person",
        (REVIEW, OWN): "in review that would link",
        (REVIEW, OTHER): "in review that would link to another person",
        (REVIEW, NEW): "in review that would be new",
        (NEW, OWN): "apart that would link",
        (NEW, OTHER): "apart that would link to another person",
        (NEW, REVIEW): "apart that a steward would be asked about",
    }
    yield f"{redecided.looked_at} records decided again, {redecided.changed} come out otherwise"
    for move, text in words.items():
        if count := redecided.moves.get(move):
            yield f"  {count:6}  {text}"


def _member(known: Record) -> Member:
    return Member(
        record_id=known.record_id,
        person_id=known.person_id or PersonId(""),
        source_id=known.source_id,
        is_active=known.is_active,
        key_id=known.key_id,
        sealed=known.norm,
    )
