"""Pairs of a file's records, scored; by several processes where asked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hie.kernel.ids import PersonId, SourceRecordId
from mpi.decide import Decision, Matcher, PairScore, decide, judge_person
from mpi.demographics import Demographics
from mpi.levels import Veto
from mpi.model import Outcome
from mpi.offline.blocks import Longs, distinct
from mpi.score import Score
from mpi.settings import Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Two records that may be one person.

    Attributes:
        one, other: their places in the table, in rising order.
        bits: strength of the score or of the deterministic hit.
        vetoes: why they must not be linked by themselves.
        answers: reasons found with other records that this pair, without any, answers.
    """

    one: int
    other: int
    bits: float
    vetoes: tuple[Veto, ...]
    answers: frozenset[Veto] = frozenset()

    def pair_score(self) -> PairScore:
        """The edge in the words of the rules that decide."""
        return PairScore(
            record_id=SourceRecordId(f"{self.other:012d}"),
            strength=self.bits,
            score=Score(bits=self.bits),
            hit=None,
            vetoes=self.vetoes,
            answers=self.answers,
        )


class PairScorer:
    """Scores pairs of one table."""

    def __init__(
        self, records: Sequence[Demographics], matcher: Matcher, thresholds: Thresholds
    ) -> None:
        self._records = records
        self._matcher = matcher
        self._thresholds = thresholds
        self._least = min(thresholds.review, thresholds.family)

    def edge(self, one: int, other: int) -> Edge:
        """Two records, compared; the first place must be the lower one."""
        pair = self._matcher.pair(SourceRecordId(""), self._records[one], self._records[other])
        return Edge(
            one=one,
            other=other,
            bits=pair.strength,
            vetoes=pair.vetoes,
            answers=pair.answers,
        )

    def worth(self, batch: Longs) -> tuple[int, list[Edge]]:
        """How many pairs a batch has, and those of them that a human would be shown."""
        pairs = distinct(batch)
        records, is_hopeless = self._records, self._matcher.is_hopeless
        hopeful = (pair for pair in pairs if not is_hopeless(records[pair[0]], records[pair[1]]))
        edges = (self.edge(one, other) for one, other in hopeful)
        return len(pairs), [edge for edge in edges if self.is_worth(edge)]

    def is_worth(self, edge: Edge) -> bool:
        """Whether a human would be shown the pair, or it is linked without one."""
        if edge.bits < self._least or edge.bits >= self._thresholds.review:
            return edge.bits >= self._thresholds.review
        return self.alone(edge).outcome is not Outcome.NEW

    def is_linked_to_itself(self, demographics: Demographics) -> bool:
        """Whether two records with these demographics would be linked, were there no others."""
        pair = self._matcher.pair(SourceRecordId(""), demographics, demographics)
        judged = judge_person(PersonId(""), [pair], self._thresholds)
        return decide([judged], self._thresholds).outcome is Outcome.LINK

    def alone(self, edge: Edge) -> Decision:
        """What is decided where these two are all there is."""
        judged = judge_person(PersonId(""), [edge.pair_score()], self._thresholds)
        return decide([judged], self._thresholds)


def strongest_first(edges: Iterable[Edge]) -> list[Edge]:
    """Edges by strength; equal ones by the ids of their records."""
    return sorted(edges, key=lambda edge: (-edge.bits, edge.one, edge.other))
