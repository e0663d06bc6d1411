"""The master patient index: who each record is about, kept right, explained and reversible.

Every function takes the open connection of whoever called it: what the index decides commits
with the message that led to it. Where a call returns moves, clinical rows must follow.
"""

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.envelope import MergeKind, SourceIdentifier, SourceMerge
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, PersonId, SourceId, SourceRecordId
from hie.keystore import KeyStore
from mpi.arrival import Intake
from mpi.ask import Questions
from mpi.compared import Comparisons
from mpi.decide import Matcher
from mpi.drift import Drift
from mpi.duplicates import DuplicateSearch
from mpi.find import Finder
from mpi.identify import Identification
from mpi.learn import Learning, NameShares
from mpi.ledger import Ledger
from mpi.merge import SourceMerges
from mpi.model import Actor, Counts, DecisionKind, Identified, PersonMove, SourceMerged
from mpi.models import Models
from mpi.normalize import Normalizer
from mpi.overlay import Overlays
from mpi.redecide import Trials
from mpi.renew import Renewal
from mpi.repository import decisions, history, learning, links, records, redirects, sides
from mpi.repository.learning import ShareChange
from mpi.review import ReviewQueue
from mpi.settings import MpiSettings
from mpi.sides import Sides
from mpi.statements import SourceStatements
from mpi.steward import Stewardship


class Mpi:
    """The index.

    Args:
        db: gives primary keys.
        ring: keyed hashes, so that no table names anybody.
        keys: data keys that seal demographics and explanations.
        settings: `config/mpi`.

    Attributes:
        review: the clerical-review queue.
        comparisons: the two sides of a question, compared for whoever answers it.
        steward: what stewards decide.
        renewal: stored records brought to this version's form and keys.
        duplicates: the search for persons that may be one human.
        sides: whose consents may open whose records.
        models: the linkage models on record, and which of them decides.
        trials: records read for training, and decided again by another model.
        drift: how far the links of late are from what the model expects.
        overlays: what becomes of demographics that contradict a record.
        questions: what callers ask; reads only.
    """

    def __init__(self, db: Database, ring: KeyRing, keys: KeyStore, settings: MpiSettings) -> None:
        self._db, self._ring, self._keys, self._settings = db, ring, keys, settings
        self.models = Models(db, settings.model)
        self._choice = 0
        self._join(settings)

    def _join(self, settings: MpiSettings) -> None:
        """Make every part anew around a model; work under way ends with the one it began with."""
        db, ring, keys, model = self._db, self._ring, self._keys, settings.model
        matcher = Matcher(settings)
        finder = Finder(settings, ring, keys, matcher)
        self._ledger = Ledger(db, ring, keys, model.version)
        self.review = ReviewQueue(keys)
        self.steward = Stewardship(self._ledger, self.review)
        self.sides = Sides(self._ledger)
        normalizer = Normalizer(settings.forms, settings.defaults)
        self.comparisons = Comparisons(finder, matcher, model.thresholds)
        self._intake = Intake(ring, keys, normalizer)
        self.questions = Questions(settings, ring, finder, normalizer)
        self._identification = Identification(
            model, self._intake, self._ledger, self.review, finder, matcher
        )
        self.overlays = Overlays(self._ledger, self._identification, keys)
        self._merges = SourceMerges(
            ring, model.thresholds, self._ledger, self.review, finder, matcher
        )
        self._statements = SourceStatements(self._ledger, self.review, self._merges)
        self._learning = Learning(ring, finder, matcher)
        self.trials = Trials(settings, ring, keys, finder, self._learning)
        self.drift = Drift(finder, model)
        self.renewal = Renewal(normalizer, finder)
        self.duplicates = DuplicateSearch(
            settings, self._intake, self._ledger, self.review, finder, matcher
        )

    async def start(self, conn: AsyncConnection, *, now_us: int) -> None:
        """Put the model on record and take up what was learnt; once, in a write transaction."""
        await self.models.start(conn, now_us=now_us)
        await self._learning.take_up(conn)
        await self.follow(conn)

    async def follow(self, conn: AsyncConnection) -> bool:
        """Take up the model that was chosen since, if one was; also with a reading connection."""
        number = await self.models.newest(conn)
        if number == self._choice:
            return False
        _, model = await self.models.chosen(conn)
        self._join(replace(self._settings, model=model))
        await self._learning.take_up(conn)
        self._choice = number
        return True

    async def count_names(self, conn: AsyncConnection) -> NameShares:
        """Count how common names are: opens every record, so on a surveying connection."""
        return await self._learning.count(conn)

    async def name_changes(self, conn: AsyncConnection, counted: NameShares) -> list[ShareChange]:
        """What must be stored of a count, in parts that each make a short transaction."""
        return await self._learning.changes(conn, counted)

    async def change_names(self, conn: AsyncConnection, change: ShareChange) -> None:
        """Store one part of a count."""
        await learning.change_shares(conn, change)

    async def take_up_names(self, conn: AsyncConnection) -> None:
        """Score by the counts that are stored, from now on."""
        await self._learning.take_up(conn)

    async def learn(self, conn: AsyncConnection) -> int:
        """Count, store and take up in one transaction, for small indexes; how many records."""
        counted = await self.count_names(conn)
        for change in await self.name_changes(conn, counted):
            await self.change_names(conn, change)
        await self.take_up_names(conn)
        return counted.records

    async def identify(  # noqa: PLR0913 - what a message says of its patient, each by name
        self,
        conn: AsyncConnection,
        patient: FhirJson,
        *,
        source_id: SourceId,
        own: SourceIdentifier | None,
        message_id: MessageId,
        now_us: int,
        may_update: bool,
        record_id: SourceRecordId | None = None,
    ) -> Identified:
        """The source record and the human that a message's patient is.

        Args:
            conn: open write transaction.
            patient: FHIR R4 Patient as mapped; references and `id` are not read.
            source_id: who sent it.
            own: the identifier the source files the patient under; None where it sent none,
                then the patient is known by this message alone.
            message_id: the journaled message.
            now_us: when it was received.
            may_update: whether the message is authoritative for demographics (ADT), so that a
                known record takes them over; results and orders only introduce new records.
            record_id: which record it is, of a patient without a number.
        """
        arrival = self._intake.arrival(
            patient,
            source_id=source_id,
            own=own,
            message_id=message_id,
            now_us=now_us,
            record_id=record_id,
        )
        return await self._identification.identify(conn, arrival, may_update=may_update)

    async def take_held(
        self, conn: AsyncConnection, record_id: SourceRecordId, held: FhirJson, actor: Actor
    ) -> Identified:
        """Take the demographics that an overlay held back for the record's own, and score anew.

        Args:
            conn: open write transaction.
            record_id: the record that the task is about.
            held: what the task shows as held.
            actor: the steward who accepts them.

        Raises:
            HieError: NOT_FOUND for a record that is not known, or by its number alone.
        """
        return await self._identification.take_held(conn, record_id, held, actor)

    async def merge(
        self,
        conn: AsyncConnection,
        merge: SourceMerge,
        *,
        source_id: SourceId,
        message_id: MessageId,
        now_us: int,
    ) -> SourceMerged:
        """Carry out what a source says of two numbers of patients (A40 and kin, A43, A24, A37).

        The message's patients must have been identified before.

        Raises:
            HieError: NOT_FOUND when one that must be known is not: park the message.
        """
        actor = Actor(
            name=f"source:{source_id}",
            now_us=now_us,
            reason=f"source-{merge.kind.value}",
            message_id=message_id,
        )
        return await self._statements.carry_out(conn, merge, source_id, actor)

    async def record_decision(
        self,
        conn: AsyncConnection,
        kind: MergeKind,
        *,
        source_id: SourceId,
        message_id: MessageId,
        now_us: int,
    ) -> int:
        """Keep on record that a source merged or moved what is no patient; the decision's id."""
        actor = Actor(
            name=f"source:{source_id}",
            now_us=now_us,
            reason=f"source-{kind.value}",
            message_id=message_id,
        )
        writes = self._ledger.writes()
        recorded = await self._ledger.decision(conn, writes, DecisionKind.SOURCE_MERGE, actor)
        await writes.send(conn)
        return recorded.id

    async def root_of(self, conn: AsyncConnection, decision_id: int) -> int:
        """The decision that a chain of undos began with."""
        return await sides.root_of(conn, decision_id)

    async def retire(
        self,
        conn: AsyncConnection,
        retired: SourceRecordId,
        survivor: SourceRecordId,
        now_us: int,
    ) -> None:
        """Let a record be merged away again that an undo had revived."""
        await records.retire(conn, retired, survivor=survivor, now_us=now_us)

    async def note_redirect(
        self,
        conn: AsyncConnection,
        message_id: MessageId,
        retired: SourceRecordId,
        survivor: SourceRecordId,
    ) -> None:
        """Remember that a message named a merged-away record and was filed under the survivor."""
        await redirects.note(conn, message_id, retired, survivor)

    async def redirected(
        self, conn: AsyncConnection, retired: SourceRecordId, survivor: SourceRecordId
    ) -> list[int]:
        """The messages that named a merged-away record, oldest first."""
        return await redirects.messages(conn, retired, survivor)

    async def revive(
        self, conn: AsyncConnection, retired: SourceRecordId, survivor: SourceRecordId
    ) -> None:
        """Let a record that a source merged away stand for itself again; part of an undo."""
        await self._statements.revive(conn, retired, survivor)

    async def find_record(
        self, conn: AsyncConnection, source_id: SourceId, identifier: SourceIdentifier
    ) -> SourceRecordId | None:
        """The source's record that carries an identifier; the survivor where it was merged."""
        record = await self._merges.find(conn, source_id, identifier)
        return record.record_id if record else None

    async def record_named(
        self, conn: AsyncConnection, source_id: SourceId, identifier: SourceIdentifier
    ) -> SourceRecordId | None:
        """The source's record filed under an identifier, also a replaced one; else the carrier."""
        return await self._merges.named(conn, source_id, identifier)

    async def replaced_by(
        self, conn: AsyncConnection, record_id: SourceRecordId
    ) -> SourceRecordId | None:
        """The record that a record's source merged it into; None for one that stands."""
        record = await records.find_record(conn, record_id)
        return record.replaced_by if record else None

    async def remove(
        self, conn: AsyncConnection, record_id: SourceRecordId, *, now_us: int
    ) -> None:
        """Let a record that its source deleted be found no more; sent again, it is as before."""
        await records.close_xrefs(conn, record_id, now_us=now_us)
        await records.drop_keys(conn, record_id)
        await records.update_record(conn, record_id, is_active=False, content_hash="")

    async def held_person_of(
        self, conn: AsyncConnection, record_ids: Collection[SourceRecordId]
    ) -> dict[SourceRecordId, PersonId]:
        """The person of each record, which stays so until the commit; unknown ones left out.

        For whoever files something under the records: what another transaction moves meanwhile
        it moves with all that is filed there.
        """
        found = await links.held_links(conn, record_ids)
        return {link.record_id: link.person_id for link in found}

    async def person_of(
        self, conn: AsyncConnection, record_ids: Collection[SourceRecordId]
    ) -> dict[SourceRecordId, PersonId]:
        """The person of each record; records not known are left out."""
        found = await links.links_of_records(conn, record_ids)
        return {link.record_id: link.person_id for link in found}

    async def records_of(
        self, conn: AsyncConnection, person_id: PersonId
    ) -> tuple[SourceRecordId, ...]:
        """The source records of a person, in the order they were linked."""
        return tuple(link.record_id for link in await links.links_of_person(conn, person_id))

    async def together(
        self, conn: AsyncConnection, moves: Collection[PersonMove]
    ) -> list[tuple[PersonId, int, int]]:
        """When records that moved away were one person's with those they left behind.

        Person, from and until (microseconds, half open); nothing where nobody was left behind.
        """
        return await history.together(conn, moves)

    async def moved_by(
        self, conn: AsyncConnection, decision_id: int
    ) -> frozenset[SourceRecordId] | None:
        """The records that a decision moved; None for an unknown decision."""
        if await links.decision_kind(conn, decision_id) is None:
            return None
        return frozenset(link.record_id for link in await links.closed_by(conn, decision_id))

    async def person_at(
        self, conn: AsyncConnection, record_id: SourceRecordId, at_us: int
    ) -> PersonId | None:
        """Who a record was at a time, as the hub knew it then; None before it was known."""
        return await history.person_at(conn, record_id, at_us)

    async def records_at(
        self, conn: AsyncConnection, person_id: PersonId, at_us: int
    ) -> tuple[SourceRecordId, ...]:
        """The records that a person had at a time, in the order they were linked."""
        return await history.records_at(conn, person_id, at_us)

    async def decisions_of_batch(self, conn: AsyncConnection, batch_id: int) -> list[int]:
        """The decisions of a batch, oldest first."""
        return [one.id for one in await decisions.of_batch(conn, batch_id)]

    async def resolve(self, conn: AsyncConnection, person_id: PersonId) -> PersonId:
        """The active person that an id stands for, after merges.

        Raises:
            HieError: NOT_FOUND for an id that never was a person.
        """
        return await self._ledger.resolve(conn, person_id)

    async def ever_of(
        self, conn: AsyncConnection, person_id: PersonId
    ) -> tuple[SourceRecordId, ...]:
        """The records that a person has or had, in the order they were first linked."""
        return tuple(SourceRecordId(r) for r in await decisions.ever_of(conn, person_id))

    async def counts(self, conn: AsyncConnection) -> Counts:
        """Records, persons, links and open tasks in figures."""
        return await links.counts(conn)
