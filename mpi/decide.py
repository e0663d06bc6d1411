"""From scores to a decision, person by person: link, review or new.

A record is compared with every record of a person, and the person is judged as a whole: the
best record must reach the threshold, the mean must not speak against, no record may be vetoed,
and the next person must be clearly weaker. Records are never chained together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from hie.kernel.ids import PersonId, SourceRecordId
from mpi.combinations import Hit, Pack
from mpi.compare import Comparer
from mpi.demographics import Demographics
from mpi.guard import answers, combined, vetoes
from mpi.levels import Birth, First, MatchGrade, Same, Veto
from mpi.model import Candidate, Outcome, TaskKind
from mpi.names import GivenNames
from mpi.score import Score, Scorer, Shares, grade
from mpi.settings import MpiSettings, Thresholds
from mpi.sieve import Sieve

#: Persons proposed in one task.
MOST_CANDIDATES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PairScore:
    """One record against one record of a person.

    Attributes:
        strength: bits of the score or of the deterministic hit, whichever says more.
        answers: nothing is vetoed, and so these reasons found with other records are errors.
    """

    record_id: SourceRecordId
    strength: float
    score: Score
    hit: Hit | None
    vetoes: tuple[Veto, ...]
    answers: frozenset[Veto] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonScore:
    """One record against a person.

    Attributes:
        pairs: one per compared record of the person; at least one.
        best, mean: over those, in bits; records not compared lower the mean.
        vetoes: of the person as a whole.
        is_denied: a steward has said that they are not one person.
    """

    person_id: PersonId
    pairs: tuple[PairScore, ...]
    best: float
    mean: float
    vetoes: tuple[Veto, ...]
    is_denied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with a record.

    Attributes:
        person_id: the person to link to; None unless the outcome is link.
        reason: `no-candidate`, `clear`, `margin`, `below-threshold`, `mean`, or a veto.
        ranked: the persons that matter, strongest first.
        duplicates: further persons that the record would link to just as well.
    """

    outcome: Outcome
    reason: str
    person_id: PersonId | None = None
    ranked: tuple[PersonScore, ...] = ()
    duplicates: tuple[PersonId, ...] = ()


class Matcher:
    """Compares, scores and guards a pair of records by one model."""

    def __init__(self, settings: MpiSettings, shares: Shares | None = None) -> None:
        self._model = settings.model
        self._pack = Pack(settings.model.combinations, settings.forms)
        self._comparer = Comparer(
            GivenNames(settings.given_names),
            settings.forms.single_types,
            settings.record_systems,
        )
        self._scorer = Scorer(settings.model, shares)
        self._sieve = Sieve(settings.model, self._comparer, self._pack)

    def is_hopeless(self, one: Demographics, other: Demographics) -> bool:
        """Whether the two, on their own, come to nothing; where not sure, False."""
        return self._sieve.is_hopeless(one, other)

    def learn(self, shares: Shares) -> None:
        """Use these shares of values from now on."""
        self._scorer = Scorer(self._model, shares)

    def contradictions(self, before: Demographics, after: Demographics) -> int:
        """How many of first name, birth date and sex say that a record is another human's now."""
        comparison = self._comparer.compare(before, after)
        return sum(
            (
                comparison.first in (First.DIFFERS, First.RIVAL),
                comparison.birth in (Birth.DIFFERS, Birth.PART),
                comparison.sex is Same.DIFFERS,
            )
        )

    def pair(self, record_id: SourceRecordId, one: Demographics, other: Demographics) -> PairScore:
        """The two records, scored; `record_id` names the second."""
        comparison = self._comparer.compare(one, other)
        score = self._scorer.score(comparison)
        hit = self._pack.best_hit(one, other, comparison)
        strength = max(score.bits, hit.bits(self._model.prior_bits)) if hit else score.bits
        found = vetoes(comparison, has_placeholder=one.is_placeholder or other.is_placeholder)
        return PairScore(
            record_id=record_id,
            strength=strength,
            score=score,
            hit=hit,
            vetoes=found,
            answers=frozenset() if found else answers(comparison),
        )


def judge_person(
    person_id: PersonId,
    pairs: Sequence[PairScore],
    thresholds: Thresholds,
    *,
    unscored: int = 0,
    is_denied: bool = False,
) -> PersonScore:
    """A person's score from those of its records, of which `unscored` were not compared."""
    # Exact, since rounding would make the mean hang on the order of the records.
    total = fsum(pair.strength for pair in pairs) + unscored * thresholds.unscored
    return PersonScore(
        person_id=person_id,
        pairs=tuple(sorted(pairs, key=lambda pair: (-pair.strength, pair.record_id))),
        best=max(pair.strength for pair in pairs),
        mean=total / (len(pairs) + unscored),
        vetoes=combined(
            [pair.vetoes for pair in pairs], {veto for pair in pairs for veto in pair.answers}
        ),
        is_denied=is_denied,
    )


def decide(persons: Iterable[PersonScore], thresholds: Thresholds) -> Decision:
    """Link, review or new; the order of the persons makes no difference.

    Whom a steward has ruled out is no candidate but still a rival: that somebody is not one of
    two does not prove that they are the other.
    """
    ranked = sorted(persons, key=lambda person: (-person.best, person.person_id))
    ranked = [p for p in ranked if p.best >= _worth_a_look(p, thresholds)]
    relevant = tuple(person for person in ranked if not person.is_denied)
    if not relevant:
        return Decision(outcome=Outcome.NEW, reason="no-candidate")
    linkable = [person for person in relevant if _obstacle(person, thresholds) is None]
    if not linkable:
        reason = _obstacle(relevant[0], thresholds) or ""
        return Decision(outcome=Outcome.REVIEW, reason=reason, ranked=relevant)
    best, *others = linkable
    rivals = (p for p in ranked if p is not best and not _is_ruled_out(p, best))
    strongest_other = max((p.best for p in rivals), default=None)
    if strongest_other is not None and best.best - strongest_other < thresholds.margin:
        return Decision(outcome=Outcome.REVIEW, reason="margin", ranked=relevant)
    return Decision(
        outcome=Outcome.LINK,
        reason="clear",
        person_id=best.person_id,
        ranked=relevant,
        duplicates=tuple(person.person_id for person in others),
    )


def _is_ruled_out(other: PersonScore, best: PersonScore) -> bool:
    """Whether somebody no likelier than the best contradicts what the best has to the letter.

    A brother of another first name at the same home, or a father of another birth date, does
    not make it doubtful who is meant.
    """
    answered = {veto for pair in best.pairs for veto in pair.answers}
    return other.best <= best.best and not answered.isdisjoint(other.vetoes)


def _worth_a_look(person: PersonScore, thresholds: Thresholds) -> float:
    # A father and his son share a name and a sex; a mother and her son are no question.
    is_generation = Veto.GENERATION in person.vetoes and Veto.SEX not in person.vetoes
    is_family = Veto.TWIN in person.vetoes or is_generation
    return min(thresholds.family, thresholds.review) if is_family else thresholds.review


def _obstacle(person: PersonScore, thresholds: Thresholds) -> str | None:
    """Why the person may not be linked to automatically; None when it may."""
    if person.vetoes:
        return person.vetoes[0].value
    if person.best < thresholds.auto:
        return "below-threshold"
    return "mean" if person.mean < thresholds.mean else None


def task_kind(decision: Decision) -> TaskKind:
    """What the steward is asked about a record in review."""
    if decision.reason == "margin":
        return TaskKind.MARGIN
    return TaskKind.TWIN if decision.reason == Veto.TWIN.value else TaskKind.POSSIBLE


def candidates(decision: Decision, thresholds: Thresholds) -> tuple[Candidate, ...]:
    """The persons a task proposes, strongest first."""
    return tuple(
        Candidate(
            person_id=person.person_id,
            bits=round(person.best, 2),
            grade=person_grade(person, thresholds),
            vetoes=person.vetoes,
        )
        for person in decision.ranked[:MOST_CANDIDATES]
    )


def person_grade(person: PersonScore, thresholds: Thresholds) -> MatchGrade:
    """The FHIR match grade of a person."""
    return grade(person.best, thresholds, is_vetoed=bool(person.vetoes))


def explain(decision: Decision, model_version: str, prior_bits: float) -> dict[str, Any]:
    """The decision as JSON values: per person the vetoes, per field the level and its bits.

    It names levels, never values.
    """
    return {
        "model": model_version,
        "prior_bits": prior_bits,
        "outcome": decision.outcome.value,
        "reason": decision.reason,
        "persons": [
            {
                "person": person.person_id,
                "bits": round(person.best, 4),
                "mean": round(person.mean, 4),
                "vetoes": [veto.value for veto in person.vetoes],
                "records": [_explain_pair(pair) for pair in person.pairs[:3]],
            }
            for person in decision.ranked[:MOST_CANDIDATES]
        ],
    }


def _explain_pair(pair: PairScore) -> dict[str, Any]:
    return {
        "record": pair.record_id,
        "bits": round(pair.strength, 4),
        "rule": pair.hit and {"id": pair.hit.id, "collision": pair.hit.collision},
        "vetoes": [veto.value for veto in pair.vetoes],
        "evidence": [
            [e.comparison, e.level, round(e.bits, 4), round(e.term_bits, 4)]
            for e in pair.score.evidence
        ],
    }
