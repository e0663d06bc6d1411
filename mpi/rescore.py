"""A record that is known already, looked at again: its link, and what is asked about it.

Nothing moves. How well the record fits its person is stored anew, and the decision beside it
keeps how well it did before; a question that no longer arises is closed, one that still does
is brought up to date, and a new one is put.
"""

from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.ids import PersonId
from mpi.decide import Decision, PersonScore, candidates, decide, explain, person_grade, task_kind
from mpi.find import Found
from mpi.ledger import Explanation, Ledger
from mpi.levels import Veto
from mpi.model import Actor, Candidate, DecisionKind, LinkState, Outcome, Question, Record, TaskKind
from mpi.repository import rescoring, tasks
from mpi.repository.writes import Writes
from mpi.review import ReviewQueue
from mpi.settings import LinkageModel

#: Questions that demographics raise, and so may settle; the others are a source's or a human's.
RAISED_BY_DEMOGRAPHICS = frozenset(
    {TaskKind.POSSIBLE, TaskKind.MARGIN, TaskKind.TWIN, TaskKind.DRIFT}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """How a link is to be stored."""

    state: LinkState
    strength: tuple[float, str] | None


class Rescoring:
    """Looks at known records again."""

    def __init__(self, model: LinkageModel, ledger: Ledger, review: ReviewQueue) -> None:
        self._model = model
        self._ledger = ledger
        self._review = review

    async def look_again(
        self, conn: AsyncConnection, writes: Writes, known: Record, found: Found, actor: Actor
    ) -> int | None:
        """Store how well a record fits now; the task that asks about it, if one does."""
        decision = decide(found.persons, self._model.thresholds)
        question = self._question(known, found.own, decision)
        asked = await rescoring.asked_about(conn, known.record_id, RAISED_BY_DEMOGRAPHICS)
        task_id = await self._open_task(conn, asked, question)
        settled = [task for task in asked if task != task_id]
        fit = self._fit(known, found.own, question)
        is_new = question is not None and task_id is None
        if not (is_new or settled or _is_changed(known, fit)):
            if question is not None and task_id is not None:
                await self._review.refresh(conn, writes, task_id, question)
            return task_id
        recorded = await self._ledger.decision(
            conn,
            writes,
            DecisionKind.FLAG if is_new else DecisionKind.RESCORE,
            replace(actor, reason=question.kind.value if is_new and question else "rescored"),
            explained=self._explained(known, found.own, decision),
        )
        await tasks.close(conn, settled, decision_id=recorded.id, now_us=recorded.now_us)
        if known.link_id is not None and _is_changed(known, fit):
            await rescoring.set_fit(
                conn,
                known.link_id,
                state=fit.state,
                fit=fit.strength,
                model_version=self._model.version,
            )
        if question is None:
            return None
        if task_id is None:
            return await self._review.open(conn, writes, question, recorded)
        await self._review.refresh(conn, writes, task_id, question)
        return task_id

    async def _open_task(
        self, conn: AsyncConnection, asked: dict[int, TaskKind], question: Question | None
    ) -> int | None:
        """The open task that puts a question, of those about the record or about two persons."""
        if question is None:
            return None
        if question.record_id is None:
            return await self._review.asking(conn, question)
        return next((task for task, kind in asked.items() if kind is question.kind), None)

    def _question(
        self, known: Record, own: PersonScore | None, others: Decision
    ) -> Question | None:
        is_confirmed = known.state is LinkState.CONFIRMED
        if own is not None and not is_confirmed and self.has_drifted(own):
            return _about(TaskKind.DRIFT, known)
        proposed = candidates(others, self._model.thresholds)
        if others.outcome is Outcome.LINK:
            # Alone with its person and waiting: the question stays the one about the record.
            is_waiting = own is None and known.state is LinkState.PROVISIONAL
            kind = TaskKind.POSSIBLE if is_waiting else TaskKind.DUPLICATE_PERSON
            return _about(kind, known, proposed)
        if others.outcome is not Outcome.REVIEW:
            return None
        if own is None and not is_confirmed:
            return _about(task_kind(others), known, proposed)
        # Among records that hold it, a doubtful likeness of one is for the nightly search.
        return (
            _about(TaskKind.DUPLICATE_PERSON, known, proposed)
            if others.reason == "margin"
            else None
        )

    def has_drifted(self, own: PersonScore) -> bool:
        """Whether a record no longer fits the others of its person."""
        # Two numbers of one authority in one person are a steward's or the source's doing.
        hard = [v for v in own.vetoes if not v.is_lack and v is not Veto.SAME_AUTHORITY]
        return bool(hard) or own.best < self._model.thresholds.review

    def _fit(self, known: Record, own: PersonScore | None, question: Question | None) -> _Fit:
        state = known.state or LinkState.AUTO
        if own is None and state is not LinkState.CONFIRMED:
            is_waiting = question is not None and question.record_id is not None
            state = LinkState.PROVISIONAL if is_waiting else LinkState.AUTO
        if own is None:
            alone = (known.bits, known.grade or "") if known.bits is not None else None
            return _Fit(state=state, strength=alone)
        grade = person_grade(own, self._model.thresholds).value
        return _Fit(state=state, strength=(round(own.best, 4), grade))

    def _explained(self, known: Record, own: PersonScore | None, decision: Decision) -> Explanation:
        content = explain(decision, self._model.version, self._model.prior_bits)
        content["before"] = {
            "state": known.state and known.state.value,
            "bits": known.bits,
            "grade": known.grade,
        }
        content["own"] = own and {
            "person": own.person_id,
            "bits": round(own.best, 4),
            "mean": round(own.mean, 4),
            "vetoes": [veto.value for veto in own.vetoes],
        }
        return Explanation(record_id=known.record_id, content=content)


def _is_changed(known: Record, fit: _Fit) -> bool:
    bits, grade = fit.strength or (None, None)
    before = None if known.bits is None else round(known.bits, 4)
    return (known.state, before, known.grade) != (fit.state, bits, grade)


def _about(kind: TaskKind, known: Record, proposed: tuple[Candidate, ...] = ()) -> Question:
    """A question about a record, or about its person where it is one about two persons."""
    is_about_record = kind in RAISED_BY_DEMOGRAPHICS
    return Question(
        kind=kind,
        record_id=known.record_id if is_about_record else None,
        person_id=known.person_id or PersonId(""),
        candidates=proposed,
    )
