"""Persons from scored pairs, by the rules that link one record at a time.

Pairs are taken by strength. Two persons become one where the rules of `mpi.decide` say that
the one may be linked to the other and the other to the one: the strongest pair reaches the
threshold, no pair between them is vetoed, the mean over all pairs does not speak against
(average linkage), and no third person comes as near. Persons are never chained by a path of
pairs. Who is refused waits: when others have been joined, it is judged again.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from hie.kernel.ids import PersonId
from mpi.decide import Decision, PersonScore, decide, judge_person
from mpi.model import Outcome
from mpi.offline.pairs import Edge, PairScorer, strongest_first
from mpi.settings import Thresholds

#: Why a record's link stands where it would not on the record's own evidence alone.
BY_PERSON = "by-person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """Who is one person, and what is left to a human.

    Attributes:
        person_of: per place in the table, the lowest place of its person.
        members: by that place, the places of the person, in order.
        refused: pairs that were strong enough and not linked, with the reason.
    """

    person_of: Sequence[int]
    members: dict[int, list[int]]
    refused: dict[tuple[int, int], str]


class Grouper:
    """Joins records to persons.

    Args:
        count: records there are.
        edges: pairs worth a look.
        scorer: scores the pairs that blocking did not find.
        thresholds: of the model.
    """

    def __init__(
        self, count: int, edges: Iterable[Edge], scorer: PairScorer, thresholds: Thresholds
    ) -> None:
        self._scorer = scorer
        self._thresholds = thresholds
        self._person_of = list(range(count))
        self._members = {place: [place] for place in range(count)}
        self._edges = {(edge.one, edge.other): edge for edge in strongest_first(edges)}
        self._found_later: dict[tuple[int, int], Edge] = {}
        self._near: dict[int, list[Edge]] = defaultdict(list)
        for edge in self._edges.values():
            self._near[edge.one].append(edge)
            self._near[edge.other].append(edge)
        self._refused: dict[tuple[int, int], str] = {}

    def group(self) -> Grouped:
        """The persons; the same for the same records and edges, whatever their order."""
        waiting = [e for e in self._edges.values() if e.bits >= self._thresholds.auto]
        is_changed = True
        while is_changed and waiting:
            joined = [self._try(edge) for edge in waiting]
            is_changed = any(joined)
            waiting = [edge for edge in waiting if not self._is_one(edge)]
        self._refused = {
            pair: reason
            for pair, reason in self._refused.items()
            if self._person_of[pair[0]] != self._person_of[pair[1]]
        }
        return Grouped(person_of=self._person_of, members=self._members, refused=self._refused)

    def _is_one(self, edge: Edge) -> bool:
        return self._person_of[edge.one] == self._person_of[edge.other]

    def _try(self, edge: Edge) -> bool:
        """Join the persons of a pair if the rules allow it from both sides."""
        one, other = self._person_of[edge.one], self._person_of[edge.other]
        if one == other:
            return False
        between = self.judge(one, other)
        reason = self._refusal(one, between) or self._refusal(other, self.judge(other, one))
        if reason:
            self._refused[edge.one, edge.other] = reason
            return False
        kept, gone = sorted((one, other))
        for place in self._members[gone]:
            self._person_of[place] = kept
        self._members[kept] = sorted(self._members[kept] + self._members.pop(gone))
        return True

    def _refusal(self, person: int, candidate: PersonScore) -> str:
        """Why a person may not be linked to a candidate; empty where it may."""
        decision = decide([candidate], self._thresholds)
        if decision.outcome is not Outcome.LINK:
            return decision.reason
        rivals = self._rivals(person, int(candidate.person_id), candidate.best)
        decision = decide([candidate, *rivals], self._thresholds)
        is_linked = decision.person_id == candidate.person_id
        return "" if decision.outcome is Outcome.LINK and is_linked else "margin"

    def _rivals(self, person: int, candidate: int, best: float) -> list[PersonScore]:
        """Other persons about as near, unless they could be further records of the two joined."""
        least = best - self._thresholds.margin
        places = {
            self._person_of[edge.other if edge.one == place else edge.one]
            for place in self._members[person]
            for edge in self._near[place]
            if edge.bits > least
        }
        joined = self._members[person] + self._members[candidate]
        rivals = sorted(places - {person, candidate})
        return [self.judge(person, r) for r in rivals if not self._could_follow(joined, r)]

    def _could_follow(self, joined: Sequence[int], rival: int) -> bool:
        judged = self._judge(joined, rival, self._members[rival])
        return decide([judged], self._thresholds).outcome is Outcome.LINK

    def judge(self, person: int, candidate: int) -> PersonScore:
        """The candidate as seen from the person: every record of the one with each of the other."""
        return self._judge(self._members[person], candidate, self._members[candidate])

    def _judge(self, ours: Sequence[int], candidate: int, theirs: Sequence[int]) -> PersonScore:
        most = self._thresholds.members
        pairs = [self._edge(a, b).pair_score() for a, b in product(ours[:most], theirs[:most])]
        return judge_person(
            PersonId(str(candidate)),
            pairs,
            self._thresholds,
            unscored=len(ours) * len(theirs) - len(pairs),
        )

    def _edge(self, one: int, other: int) -> Edge:
        """The pair, compared now where blocking had not found it or it was too weak to keep."""
        pair = (one, other) if one < other else (other, one)
        found = self._edges.get(pair) or self._found_later.get(pair)
        if found is None:
            found = self._found_later[pair] = self._scorer.edge(*pair)
        return found

    def own_view(self, place: int) -> tuple[PersonScore, str]:
        """A record against the others of its person, and the reason of its link."""
        others = [p for p in self._members[self._person_of[place]] if p != place]
        judged = self._judge([place], self._person_of[place], others)
        decision: Decision = decide([judged], self._thresholds)
        return judged, decision.reason if decision.outcome is Outcome.LINK else BY_PERSON

    def edges(self) -> list[Edge]:
        """Every pair worth a look, and every one within a person; the strongest first."""
        found = dict(self._edges)
        for members in self._members.values():
            if len(members) <= self._thresholds.members:
                pairs = combinations(members, 2)
                found.update(((one, other), self._edge(one, other)) for one, other in pairs)
        return strongest_first(found.values())
