"""Records that linkage models are trained and compared on."""

from collections import Counter, defaultdict
from itertools import pairwise

from mpi.demographics import Demographics
from mpi.normalize import Normalizer
from mpi.score import Shares
from mpi.training.records import Records
from tests.support.memory_index import TODAY
from tests.support.mpi import SETTINGS
from tests.support.people import (
    Sighting,
    ordinary_pairs,
    pairs_with_two_mistakes,
    population,
    twin_pairs,
)

Pair = tuple[Demographics, Demographics]


def normalized(sighting: Sighting) -> Demographics:
    """The comparable form of a record."""
    return Normalizer(SETTINGS.forms, SETTINGS.defaults).demographics(sighting.patient, TODAY)


def known_pairs(seed: int, humans: int) -> list[Pair]:
    """Pairs of one person with one and two mistakes, of twins, and of people of a town."""
    found = [*ordinary_pairs(seed, humans), *pairs_with_two_mistakes(seed, humans)]
    found += twin_pairs(seed, humans // 2)
    pairs = [(normalized(one), normalized(other)) for one, other in found]
    town = [normalized(sighting) for sighting in population(seed, humans)]
    alike: dict[object, list[Demographics]] = defaultdict(list)
    for record in town:
        for key in (record.birth_date, record.surnames[:1], record.given[:1], record.phones[:1]):
            alike[key].append(record)
    for group in alike.values():
        pairs += list(pairwise(group))[:3]
    return [*pairs, *pairwise(town)]


def shares_of(pairs: list[Pair]) -> Shares:
    """How common first names and surnames are among the records of some pairs."""
    counted: dict[str, Counter[str]] = {"first": Counter(), "last": Counter()}
    records = [record for pair in pairs for record in pair]
    for record in records:
        counted["first"].update(record.given[:1])
        counted["last"].update(record.surnames[:1])

    def share(term: str, value: str) -> float | None:
        number = counted[term][value]
        return number / len(records) if number >= 3 else None

    return share


def town(seed: int, humans: int) -> tuple[Records, dict[str, int]]:
    """Records of a town to train on, and whose each is."""
    records, truth = Records(), {}
    for number, sighting in enumerate(population(seed, humans)):
        record_id = f"r{number}"
        records.add(record_id, normalized(sighting))
        truth[record_id] = sighting.human
    return records, truth
