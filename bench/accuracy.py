"""How right the linker is on sets with known truth: `python -m bench.accuracy`.

Two figures for each set. The scorer's: pairs at grade probable or certain, whether they were
linked or left to a human. The links': pairs of records that were put into one person without
a human. Both count pairs of all records, so a pair that blocking missed is a miss. Thresholds
are those of the model, fixed before any set is read; models are fitted without truth.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from bench.datasets import DataSet, Row, all_sets, census
from bench.machine import machine_line, print_table
from mpi.levels import MatchGrade
from mpi.offline.link import Linked, link
from mpi.settings import LinkageModel, MpiSettings, load_model, load_mpi_settings

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "tests" / "data" / "models"
#: The model of each map, fitted once by `hie mpi link --train` and committed.
MODEL_OF = {"febrl": "febrl", "febrl-no-number": "febrl", "rldata": "rldata", "census": "census"}
_LIKELY = (MatchGrade.PROBABLE.value, MatchGrade.CERTAIN.value)
_KINDS = {
    "given name": ("given_name", "fname_c1", "first_name"),
    "surname": ("surname", "lname_c1", "last_name"),
    "birth date": ("date_of_birth", "by", "bm", "bd"),
    "number": ("soc_sec_id",),
    "address": ("street_number", "address_1", "street_name", "suburb", "city", "postcode"),
}

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many pairs were said to be one human, and how many of them rightly."""

    said: int
    right: int
    true: int

    @property
    def precision(self) -> float:
        """Share of what was said that is right; 1 where nothing was said."""
        return self.right / self.said if self.said else 1.0

    @property
    def recall(self) -> float:
        """Share of the true pairs that were said."""
        return self.right / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.right / (self.said + self.true) if self.said + self.true else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """True pairs of one kind: how many, and how many each figure found."""

    pairs: int
    scored: int
    linked: int
    shown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured on one set.

    Attributes:
        shown: share of the true pairs that are linked, or listed for a human.
        categories: true pairs by what differs between the two records.
        stopped: true pairs in review, by the reason.
    """

    name: str
    model: str
    scorer: Rate
    links: Rate
    shown: float
    categories: Mapping[str, Category]
    stopped: Mapping[str, int]
    seconds: float


def measure(data: DataSet, settings: MpiSettings, folder: Path) -> Figures:
    """Link a set and compare what came out with the truth.

    Args:
        data: the set.
        settings: with the model to use.
        folder: for the set's file.
    """
    started = time.process_time()
    linked = link(data.records(settings, folder), settings, lambda *_: None)
    seconds = time.process_time() - started
    rows = list(linked.pairs())
    likely = {_pair(row[0], row[1]) for row in rows if row[3] in _LIKELY}
    joined = set(_joined(linked))
    listed = {_pair(row[0], row[1]) for row in rows}
    true = set(_true_pairs(data))
    return Figures(
        name=data.name,
        model=settings.model.version,
        scorer=_rate(likely, true),
        links=_rate(joined, true),
        shown=len(true & (listed | joined)) / len(true),
        categories=_categories(data, true, likely, joined, listed),
        stopped=Counter(
            row[5] for row in rows if row[4] == "review" and _pair(row[0], row[1]) in true
        ),
        seconds=seconds,
    )


def _pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


def _joined(linked: Linked) -> Iterable[Pair]:
    persons: dict[str, list[str]] = {}
    for record_id, person_id, *_ in linked.links():
        persons.setdefault(person_id, []).append(record_id)
    for members in persons.values():
        yield from combinations(sorted(members), 2)


def _true_pairs(data: DataSet) -> Iterable[Pair]:
    humans: dict[str, list[str]] = {}
    for record_id, human in data.truth.items():
        humans.setdefault(human, []).append(record_id)
    for records in humans.values():
        yield from combinations(sorted(records), 2)


def _rate(said: set[Pair], true: set[Pair]) -> Rate:
    return Rate(said=len(said), right=len(said & true), true=len(true))


def _categories(
    data: DataSet, true: set[Pair], likely: set[Pair], joined: set[Pair], listed: set[Pair]
) -> dict[str, Category]:
    rows = {row["rec_id"]: row for row in data.rows}
    by_kind: dict[str, set[Pair]] = {}
    for pair in true:
        differing = _differing(rows[pair[0]], rows[pair[1]])
        for kind in [*differing, f"{len(differing)} of these"]:
            by_kind.setdefault(kind, set()).add(pair)
    return {
        kind: Category(
            pairs=len(pairs),
            scored=len(pairs & likely),
            linked=len(pairs & joined),
            shown=len(pairs & (joined | listed)),
        )
        for kind, pairs in sorted(by_kind.items(), key=lambda item: (item[0][0].isdigit(), item))
    }


def _differing(one: Row, other: Row) -> list[str]:
    """What differs between two rows as they are written, or is missing in one of them."""
    return [
        kind
        for kind, columns in _KINDS.items()
        if any(one.get(column) != other.get(column) for column in columns)
    ]


def settings_for(data: DataSet, settings: MpiSettings) -> MpiSettings:
    """The settings with the committed weights of a set; thresholds and keys are everybody's."""
    return with_weights(settings, load_model(MODELS / f"{MODEL_OF[data.map_name]}.toml"))


def with_weights(settings: MpiSettings, fitted: LinkageModel) -> MpiSettings:
    """The settings with what was fitted, and nothing else, of another model."""
    model = replace(
        settings.model,
        version=fitted.version,
        prior_bits=fitted.prior_bits,
        family_bits=fitted.family_bits,
        levels=fitted.levels,
        frequencies=fitted.frequencies,
    )
    return replace(settings, model=model)


def report(figures: Iterable[Figures]) -> None:
    """Print the tables."""
    found = list(figures)
    print_table(
        "all sets",
        ["set", "model", "scorer P", "R", "F1", "links P", "R", "F1", "shown", "s"],
        [
            [
                f.name,
                f.model,
                *(f"{v:.4f}" for v in (f.scorer.precision, f.scorer.recall, f.scorer.f1)),
                *(f"{v:.4f}" for v in (f.links.precision, f.links.recall, f.links.f1)),
                f"{f.shown:.4f}",
                f"{f.seconds:.1f}",
            ]
            for f in found
        ],
    )
    for f in found:
        print_table(
            f"{f.name}: true pairs by what differs between the records",
            ["differs", "pairs", "scorer", "links", "linked or shown"],
            [
                [kind, str(c.pairs), *(f"{n / c.pairs:.3f}" for n in (c.scored, c.linked, c.shown))]
                for kind, c in f.categories.items()
            ],
        )
        stopped = ", ".join(f"{reason} {n}" for reason, n in Counter(f.stopped).most_common())
        print(f"  true pairs left to a human: {stopped or 'none'}")


def main() -> None:
    """Measure every set, or those whose name begins with a word given."""
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of names of sets; default: all")
    parser.add_argument("--census", type=Path, help="a file by bench/census_people.py")
    parser.add_argument("--prior", action="store_true", help="use config/mpi/linkage.toml for all")
    options = parser.parse_args()
    settings = load_mpi_settings(ROOT / "config" / "mpi")
    sets = [*all_sets(), *([census(options.census)] if options.census else [])]
    wanted = [s for s in sets if not options.names or s.name.startswith(tuple(options.names))]
    print(machine_line())
    with tempfile.TemporaryDirectory(prefix="hie-accuracy-") as folder:
        report(
            measure(s, settings if options.prior else settings_for(s, settings), Path(folder))
            for s in wanted
        )


if __name__ == "__main__":
    main()
