"""A file's records to persons, in memory: table, pairs, scores, persons, rows to write."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product

from hie.kernel.ids import SourceRecordId
from mpi.compare import Comparer
from mpi.decide import Matcher, person_grade
from mpi.demographics import Demographics
from mpi.fit import Fitted, Fitter
from mpi.model import Outcome
from mpi.names import GivenNames
from mpi.offline.blocks import Blocks, Keys, PairList
from mpi.offline.pairs import Edge, PairScorer
from mpi.offline.persons import Grouped, Grouper
from mpi.offline.prior import prior_of
from mpi.offline.table import Table, make_table, name_shares
from mpi.offline.workers import in_order
from mpi.score import Shares, grade
from mpi.settings import MpiSettings, Thresholds

LINK_COLUMNS = ("record_id", "person_id", "grade", "bits", "reason")
PAIR_COLUMNS = ("record_id_1", "record_id_2", "bits", "grade", "decision", "reason")
#: Of records alike in every field, how many are paired with one another in the list of pairs;
#: the others are paired with the first alone.
MOST_ALIKE_LISTED = 100
IDENTICAL = "identical"
#: Records whose keys are made together.
RECORDS_AT_A_TIME = 2_000
#: Told the stage, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """What became of a file.

    Attributes:
        prior_bits: log2 odds that two records of the file are of one human.
        compared: pairs scored.
        shared: by kind, values suppressed because too many persons hold them.
        refused: by kind of key, records not compared under a key that stayed too full.
    """

    table: Table
    grouper: Grouper
    grouped: Grouped
    scorer: PairScorer
    thresholds: Thresholds
    prior_bits: float
    compared: int
    shared: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)

    def links(self) -> Iterator[Sequence[str]]:
        """Rows of `LINK_COLUMNS`, by record id."""
        rows = [row for place in range(len(self.table.record_ids)) for row in self._links_of(place)]
        yield from sorted(rows)

    def _links_of(self, place: int) -> Iterator[tuple[str, ...]]:
        person = self.grouped.person_of[place]
        own, person_id = self.table.record_ids[place], self.table.record_ids[person][0]
        said = ("", "", "")
        if len(own) > 1:
            edge = self.scorer.edge(place, place)
            said = (grade(edge.bits, self.thresholds, is_vetoed=False), _bits(edge), IDENTICAL)
        elif len(self.grouped.members[person]) > 1:
            judged, reason = self.grouper.own_view(place)
            said = (person_grade(judged, self.thresholds), f"{judged.best:.2f}", reason)
        for record_id in own:
            yield (record_id, person_id, *said)

    def pairs(self) -> Iterator[Sequence[str]]:
        """Rows of `PAIR_COLUMNS`, the strongest first.

        The grade is the score's alone. What the guard and the rules made of the pair stands in
        decision and reason, so that a pair they stopped is seen with its full strength.
        """
        for place, ids in enumerate(self.table.record_ids):
            if len(ids) > 1:
                edge = self.scorer.edge(place, place)
                yield from self._rows(edge, _within(ids), "link", IDENTICAL)
        for edge in self.grouper.edges():
            ones, others = (self.table.record_ids[p] for p in (edge.one, edge.other))
            decision, reason = self._decided(edge)
            yield from self._rows(edge, _between(ones, others), decision, reason)

    def _decided(self, edge: Edge) -> tuple[str, str]:
        alone = self.scorer.alone(edge)
        if self.grouped.person_of[edge.one] == self.grouped.person_of[edge.other]:
            return "link", alone.reason if alone.outcome is Outcome.LINK else "by-person"
        return "review", self.grouped.refused.get((edge.one, edge.other)) or alone.reason

    def _rows(
        self, edge: Edge, ids: Iterator[tuple[str, str]], decision: str, reason: str
    ) -> Iterator[Sequence[str]]:
        graded = grade(edge.bits, self.thresholds, is_vetoed=False)
        for one, other in ids:
            yield (*sorted((one, other)), _bits(edge), graded, decision, reason)

    def counts(self) -> Mapping[str, int]:
        """The outcome in figures: records, persons, pairs linked and to review."""
        kinds = Counter(self._decided(edge)[0] for edge in self.grouper.edges())
        return {
            "records": sum(map(len, self.table.record_ids)),
            "persons": len(self.grouped.members),
            "pairs compared": self.compared,
            "pairs to review": kinds["review"],
        }


def _bits(edge: Edge) -> str:
    return f"{edge.bits:.2f}"


def _within(ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from combinations(ids[:MOST_ALIKE_LISTED], 2)
    yield from ((ids[0], record_id) for record_id in ids[MOST_ALIKE_LISTED:])


def _between(ones: Sequence[str], others: Sequence[str]) -> Iterator[tuple[str, str]]:
    is_few = len(ones) * len(others) <= MOST_ALIKE_LISTED**2
    if is_few:
        yield from product(ones, others)
    else:
        yield from ((ones[0], record_id) for record_id in others)
        yield from ((record_id, others[0]) for record_id in ones[1:])


def prepare(
    records: Mapping[str, Demographics], settings: MpiSettings
) -> tuple[Table, Shares | None]:
    """The table of a file's records, and how common their names are."""
    plain = PairScorer((), Matcher(settings), settings.model.thresholds)
    table = make_table(records, settings.defaults.shared, plain.is_linked_to_itself)
    return table, name_shares(table)


def with_prior(
    settings: MpiSettings, table: Table, blocks: Blocks, matcher: Matcher
) -> MpiSettings:
    """The settings with the prior of the file instead of the model's."""
    records, assumed = table.demographics, settings.model.prior_bits

    def evidence(one: int, other: int) -> float:
        pair = matcher.pair(SourceRecordId(""), records[one], records[other])
        return pair.strength - assumed

    prior = prior_of(len(records), blocks.batches, evidence, assumed)
    return replace(settings, model=replace(settings.model, prior_bits=prior))


def block(table: Table, settings: MpiSettings, progress: Progress, jobs: int = 1) -> Blocks:
    """Which records of a table are compared."""
    keys = Keys(table.demographics, settings.model)
    count = len(table.demographics)
    parts = [
        range(start, min(start + RECORDS_AT_A_TIME, count))
        for start in range(0, count, RECORDS_AT_A_TIME)
    ]
    for part, found in zip(parts, in_order(keys.of, parts, jobs), strict=True):
        keys.add(found)
        progress("keys", part.stop, count)
    return keys.blocks()


def train(
    records: Mapping[str, Demographics], settings: MpiSettings, progress: Progress, version: str
) -> Fitted:
    """Fit the weights of the settings' model to the records of a file, unsupervised.

    Args:
        records: by record id.
        settings: the model to begin with; rules, thresholds and keys stay as they are.
        progress: told how far the work is.
        version: of the model that comes out.
    """
    table, _ = prepare(records, settings)
    pairs = PairList(block(table, settings, progress).batches)
    comparer = Comparer(
        GivenNames(settings.given_names), settings.forms.single_types, settings.record_systems
    )
    fitter = Fitter(comparer, settings.model, progress=progress)
    return fitter.fit(table.demographics, pairs, version)


def link(
    records: Mapping[str, Demographics], settings: MpiSettings, progress: Progress, jobs: int = 1
) -> Linked:
    """Link the records of a file among themselves.

    Args:
        records: by record id; their order makes no difference to what comes out.
        settings: model, rules and defaults.
        progress: told how far the work is.
        jobs: processes that make keys and score.
    """
    thresholds = settings.model.thresholds
    table, shares = prepare(records, settings)
    matcher = Matcher(settings, shares)
    blocks = block(table, settings, progress, jobs)
    settings = with_prior(settings, table, blocks, matcher)
    matcher = Matcher(settings, shares)
    scorer = PairScorer(table.demographics, matcher, thresholds)
    edges: list[Edge] = []
    compared = 0
    results = in_order(scorer.worth, blocks.batches, jobs)
    for number, (count, worth) in enumerate(results, start=1):
        compared += count
        edges += worth
        progress("compare", number, len(blocks.batches))
    grouper = Grouper(len(table.demographics), edges, scorer, thresholds)
    progress("persons", 0, 1)
    grouped = grouper.group()
    progress("persons", 1, 1)
    return Linked(
        table=table,
        grouper=grouper,
        grouped=grouped,
        scorer=scorer,
        thresholds=thresholds,
        prior_bits=settings.model.prior_bits,
        compared=compared,
        shared=table.shared,
        refused=blocks.refused,
    )
