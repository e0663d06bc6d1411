"""The hub's persons against the truth (pure): pairs right and wrong, and of which kind."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from hie.demo.world import Case, Person, World

#: (source id, identifier system, value) to the hub's person id.
Links = Mapping[tuple[str, str, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well the hub found the people behind the registrations.

    Attributes:
        people: humans of the world.
        registrations: numbers the sources gave them.
        persons: persons the hub made of those it knows.
        unknown: registrations the hub does not know.
        true_pairs: pairs of registrations of one human.
        found_pairs: those of them the hub holds as one person.
        wrong_pairs: pairs the hub holds as one person and that are two humans.
        splits: humans the hub holds as several persons, by case.
        cases: humans of each case who are registered more than once.
        wrong_joins: pairs of humans held as one, by how they are related.
    """

    people: int
    registrations: int
    persons: int
    unknown: int
    true_pairs: int
    found_pairs: int
    wrong_pairs: int
    splits: Mapping[Case, int]
    cases: Mapping[Case, int]
    wrong_joins: Mapping[str, int]

    @property
    def precision(self) -> float:
        """Share of the joined pairs that belong together; 1 where nothing was joined."""
        joined = self.found_pairs + self.wrong_pairs
        return self.found_pairs / joined if joined else 1.0

    @property
    def recall(self) -> float:
        """Share of the pairs that belong together which were joined."""
        return self.found_pairs / self.true_pairs if self.true_pairs else 1.0


def score(world: World, links: Links) -> Score:
    """The score of what the hub links."""
    truth = list(world.truth())
    known = [k for k in truth if k.key in links]
    persons_of: dict[int, set[str]] = defaultdict(set)
    humans_of: dict[str, Counter[int]] = defaultdict(Counter)
    for k in known:
        person_id = links[k.key]
        persons_of[k.person].add(person_id)
        humans_of[person_id][k.person] += 1
    found, wrong = _pairs(humans_of)
    records = Counter(k.person for k in truth)
    several = [p for p in world.people if records[p.number] > 1]
    return Score(
        people=len(world.people),
        registrations=len(truth),
        persons=len(humans_of),
        unknown=len(truth) - len(known),
        true_pairs=sum(n * (n - 1) // 2 for n in records.values()),
        found_pairs=found,
        wrong_pairs=wrong,
        splits=Counter(p.case for p in several if len(persons_of[p.number]) > 1),
        cases=Counter(p.case for p in several),
        wrong_joins=_wrong_joins(world, humans_of),
    )


def relation(a: Person, b: Person) -> str:
    """How two humans are related, as far as a registration desk could confuse them."""
    if a.household != b.household:
        return "strangers"
    if a.truth.birth_date == b.truth.birth_date:
        return "twins"
    if (a.truth.family, a.truth.given) == (b.truth.family, b.truth.given):
        return "father and son of one name"
    return "one household"


def _pairs(humans_of: Mapping[str, Counter[int]]) -> tuple[int, int]:
    """Pairs joined rightly and wrongly."""
    right = joined = 0
    for humans in humans_of.values():
        size = humans.total()
        joined += size * (size - 1) // 2
        right += sum(n * (n - 1) // 2 for n in humans.values())
    return right, joined - right


def _wrong_joins(world: World, humans_of: Mapping[str, Counter[int]]) -> Counter[str]:
    pairs = {pair for humans in humans_of.values() for pair in combinations(sorted(humans), 2)}
    return Counter(relation(world.person(a), world.person(b)) for a, b in pairs)
