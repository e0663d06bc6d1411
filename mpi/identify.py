"""One patient of one message: whose record is it, and which human is it about.

A record known by its identifier stays with its person; its new demographics are looked at for
an overlay (another human in the same record), for drift and for duplicates. An unknown record
is linked, or gets a person of its own - at once also where a human must look at it first.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.arrival import Arrival, Intake
from mpi.decide import (
    Decision,
    Matcher,
    candidates,
    decide,
    explain,
    person_grade,
    task_kind,
)
from mpi.demographics import Demographics
from mpi.find import Finder, Found
from mpi.ledger import Explanation, Ledger, Recorded
from mpi.model import (
    Actor,
    DecisionKind,
    Identified,
    LinkState,
    Outcome,
    Question,
    Record,
    TaskKind,
)
from mpi.repository import records, rescoring
from mpi.repository.writes import Writes, lock
from mpi.rescore import Rescoring
from mpi.review import ReviewQueue
from mpi.settings import LinkageModel

#: Of first name, birth date and sex, so many must contradict for an overlay.
OVERLAY_CONTRADICTIONS = 2


class Identification:
    """Identifies arrivals; every step is one function, so that it can be read in order."""

    def __init__(
        self,
        model: LinkageModel,
        intake: Intake,
        ledger: Ledger,
        review: ReviewQueue,
        finder: Finder,
        matcher: Matcher,
    ) -> None:
        self._rescoring = Rescoring(model, ledger, review)
        self._model = model
        self._intake = intake
        self._ledger = ledger
        self._review = review
        self._finder = finder
        self._matcher = matcher

    async def identify(
        self, conn: AsyncConnection, arrival: Arrival, *, may_update: bool
    ) -> Identified:
        """The record and the person of an arrival, stored."""
        known = await records.find_record(conn, arrival.record_id)
        if known is not None and (settled := await self._settled(conn, known, arrival, may_update)):
            return settled
        demographics = self._intake.demographics(arrival)
        keys = self._finder.keys(demographics)
        if await lock(conn, [self._intake.lock_key(arrival), *(key.value for key in keys)]):
            # Another writer may have stored this record while we waited.
            known = await records.find_record(conn, arrival.record_id)
            if known and (settled := await self._settled(conn, known, arrival, may_update)):
                return settled
        if known is not None and known.person_id is not None:
            return await self._update(conn, arrival, known, known.person_id, demographics)
        found = await self._finder.find(conn, demographics, keys)
        decision = decide(found.persons, self._model.thresholds)
        if decision.person_id and not await rescoring.is_standing(conn, decision.person_id):
            # Merged into another one while we looked: look again, at what that made of it.
            found = await self._finder.find(conn, demographics, keys)
            decision = decide(found.persons, self._model.thresholds)
        return await self._create(conn, arrival, demographics, found, decision)

    async def _settled(
        self, conn: AsyncConnection, known: Record, arrival: Arrival, may_update: bool
    ) -> Identified | None:
        """The answer for a record that need not be looked at again; else None."""
        record, _ = await records.survivor_of(conn, known)
        if record.person_id is None:
            return None
        is_redirected = record.record_id != known.record_id
        # A message that names a merged-away record is about the survivor, but its demographics
        # come from a system that has not heard of the merge.
        if is_redirected or not may_update or known.content_hash == arrival.content_hash:
            return Identified(
                source_record_id=record.record_id,
                person_id=record.person_id,
                outcome=Outcome.KNOWN,
                redirected_from=known.record_id if is_redirected else None,
            )
        return None

    # A record never seen before

    async def _create(
        self,
        conn: AsyncConnection,
        arrival: Arrival,
        demographics: Demographics,
        found: Found,
        decision: Decision,
    ) -> Identified:
        thresholds = self._model.thresholds
        writes = self._ledger.writes()
        self._intake.make_key(conn, writes, arrival)
        is_link = decision.person_id is not None
        person_id = decision.person_id or self._ledger.new_person(writes, arrival.now_us)
        recorded = await self._ledger.decision(
            conn,
            writes,
            DecisionKind.LINK if is_link else DecisionKind.NEW,
            self._actor(arrival, decision.reason),
            explained=self._explained(arrival, decision, found),
        )
        await self._intake.write(conn, writes, arrival, demographics, found, version=1)
        is_review = decision.outcome is Outcome.REVIEW
        best = next((p for p in decision.ranked if p.person_id == person_id), None)
        self._ledger.open_link(
            writes,
            arrival.record_id,
            person_id,
            recorded,
            state=LinkState.PROVISIONAL if is_review else LinkState.AUTO,
            strength=(best.best, person_grade(best, thresholds).value) if best else None,
        )
        task_id = await self._ask(conn, writes, (arrival.record_id, person_id), decision, recorded)
        self._ledger.tell(writes, recorded, [arrival.record_id], [person_id])
        await writes.send(conn)
        return Identified(
            source_record_id=arrival.record_id,
            person_id=person_id,
            outcome=decision.outcome,
            task_id=task_id,
        )

    async def _ask(
        self,
        conn: AsyncConnection,
        writes: Writes,
        subject: tuple[SourceRecordId, PersonId],
        decision: Decision,
        recorded: Recorded,
    ) -> int | None:
        """Open the task that a decision calls for."""
        proposed = candidates(decision, self._model.thresholds)
        if decision.outcome is Outcome.REVIEW:
            question = Question(
                kind=task_kind(decision),
                record_id=subject[0],
                person_id=subject[1],
                candidates=proposed,
            )
            return await self._review.open(conn, writes, question, recorded)
        if not decision.duplicates:
            return None
        others = tuple(c for c in proposed if c.person_id in decision.duplicates)
        question = Question(
            kind=TaskKind.DUPLICATE_PERSON,
            record_id=None,
            person_id=subject[1],
            candidates=others,
        )
        return await self._review.open(conn, writes, question, recorded)

    # A record seen before, with other demographics

    async def _update(
        self,
        conn: AsyncConnection,
        arrival: Arrival,
        known: Record,
        person_id: PersonId,
        demographics: Demographics,
    ) -> Identified:
        before = await self._intake.stored(conn, known)
        if self._matcher.contradictions(before, demographics) >= OVERLAY_CONTRADICTIONS:
            return await self._hold(conn, arrival, known, person_id)
        actor = self._actor(arrival, "update")
        return await self._take_over(conn, arrival, known, person_id, demographics, actor)

    async def take_held(
        self, conn: AsyncConnection, record_id: SourceRecordId, held: FhirJson, actor: Actor
    ) -> Identified:
        """Store the demographics that an overlay held back: a steward has accepted them.

        Raises:
            HieError: NOT_FOUND for a record that is not known, or by its number alone.
        """
        known = await records.find_record(conn, record_id)
        if known is None or known.person_id is None:
            raise HieError(Category.NOT_FOUND, "there is no such record")
        arrival = self._intake.held(known, held, actor)
        demographics = self._intake.demographics(arrival)
        keys = self._finder.keys(demographics)
        await lock(conn, [self._intake.lock_key(arrival), *(key.value for key in keys)])
        taken = await self._take_over(conn, arrival, known, known.person_id, demographics, actor)
        await records.update_record(conn, record_id, held_hash=None)
        return taken

    async def _take_over(
        self,
        conn: AsyncConnection,
        arrival: Arrival,
        known: Record,
        person_id: PersonId,
        demographics: Demographics,
        actor: Actor,
    ) -> Identified:
        """Store new demographics of a known record, and look at it again."""
        found = await self._finder.find(
            conn, demographics, self._finder.keys(demographics), known=known
        )
        writes = self._ledger.writes()
        await self._intake.write(
            conn, writes, arrival, demographics, found, version=known.version + 1
        )
        task_id = await self._rescoring.look_again(conn, writes, known, found, actor)
        await writes.send(conn)
        return Identified(
            source_record_id=known.record_id,
            person_id=person_id,
            outcome=Outcome.KNOWN,
            task_id=task_id,
        )

    async def _hold(
        self, conn: AsyncConnection, arrival: Arrival, known: Record, person_id: PersonId
    ) -> Identified:
        """Keep what is stored, and ask whether the record has become another human's.

        Content that was held back before is not asked about again: the task is open still, or
        a steward has refused it.
        """
        question = Question(
            kind=TaskKind.OVERLAY,
            record_id=known.record_id,
            person_id=person_id,
            held=arrival.patient,
        )
        if known.held_hash == arrival.content_hash:
            task_id = await self._review.asking(conn, question)
        else:
            writes = self._ledger.writes()
            actor = self._actor(arrival, "overlay")
            recorded = await self._ledger.decision(conn, writes, DecisionKind.OVERLAY_HOLD, actor)
            task_id = await self._review.open(conn, writes, question, recorded)
            await records.update_record(conn, known.record_id, held_hash=arrival.content_hash)
            await writes.send(conn)
        return Identified(
            source_record_id=known.record_id,
            person_id=person_id,
            outcome=Outcome.KNOWN,
            task_id=task_id,
            is_held=True,
        )

    def _actor(self, arrival: Arrival, reason: str) -> Actor:
        return Actor(
            name="mpi",
            now_us=arrival.now_us,
            reason=reason,
            message_id=arrival.message_id,
            on_behalf_of=f"source:{arrival.source_id}",
        )

    def _explained(self, arrival: Arrival, decision: Decision, found: Found) -> Explanation | None:
        if not decision.ranked:
            return None
        content = explain(decision, self._model.version, self._model.prior_bits)
        content["keys"] = {p.person_id: found.found_by.get(p.person_id) for p in decision.ranked}
        return Explanation(record_id=arrival.record_id, content=content)
