"""Pairs of known truth, by category, and what a model decides on them (`config/mpi/gold.csv`).

Every pair is decided as the index would: the first record is known, the second one arrives.
All of them are invented; who made them and how stands in the file.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.blocking import blocking_keys
from mpi.config_table import ConfigTable
from mpi.decide import Matcher, decide, judge_person
from mpi.demographics import Demographics
from mpi.model import Outcome
from mpi.normalize import Normalizer
from mpi.offline.blocks import blind
from mpi.offline.columns import ATTRIBUTES, column_map
from mpi.offline.rows import RowReader
from mpi.settings import LinkageModel, MpiSettings

#: The day that ages in the file are counted on.
AS_OF = date(2026, 1, 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldPair:
    """Two records, and whether they are one person's."""

    category: str
    is_same: bool
    one: Demographics
    other: Demographics


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a model makes of the pairs of a category.

    Attributes:
        linked, shown: how many were linked, and how many put before a steward.
    """

    category: str
    is_same: bool
    pairs: int
    linked: int
    shown: int

    @property
    def linked_share(self) -> float:
        """The share that was linked."""
        return self.linked / self.pairs

    @property
    def found_share(self) -> float:
        """The share that was linked or shown."""
        return (self.linked + self.shown) / self.pairs


def load_suite(path: Path, settings: MpiSettings) -> tuple[GoldPair, ...]:
    """The pairs of a file.

    Raises:
        HieError: INVALID; names file, line and what was expected.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(line for line in file if not line.startswith("#")))
    except (OSError, UnicodeError, csv.Error) as error:
        text = f"`{path.name}` cannot be read: expected a CSV file"
        raise HieError(Category.INVALID, text) from error
    header, pairs = rows[0], rows[1:]
    known = {"columns": {name: name for name in header if name in ATTRIBUTES}}
    columns = column_map(ConfigTable(known, path), AS_OF)
    normalizer = Normalizer(settings.forms, settings.defaults)
    reader = RowReader(header, columns, path.name, normalizer, AS_OF)
    return tuple(_pairs(header, pairs, reader, path.name))


def _pairs(
    header: Sequence[str], rows: Sequence[Sequence[str]], reader: RowReader, file: str
) -> Iterator[GoldPair]:
    pair, category, truth = (header.index(name) for name in ("pair", "category", "truth"))
    for line, (one, other) in enumerate(zip(rows[::2], rows[1::2], strict=False), start=1):
        if one[pair] != other[pair] or one[truth] not in ("same", "different"):
            text = f"`{file}` pair {line}: expected two rows of one pair, `same` or `different`"
            raise HieError(Category.INVALID, text)
        yield GoldPair(
            category=one[category],
            is_same=one[truth] == "same",
            one=reader.demographics(one),
            other=reader.demographics(other),
        )


def rates(
    pairs: Sequence[GoldPair], settings: MpiSettings, model: LinkageModel
) -> Mapping[str, Rates]:
    """What a model decides, by category in the order of the file."""
    matcher = Matcher(replace(settings, model=model))
    counted: dict[str, Counter[Outcome]] = defaultdict(Counter)
    truths: dict[str, bool] = {}
    for pair in pairs:
        counted[pair.category][_outcome(pair, matcher, model)] += 1
        truths[pair.category] = pair.is_same
    return {
        category: Rates(
            category=category,
            is_same=truths[category],
            pairs=outcomes.total(),
            linked=outcomes[Outcome.LINK],
            shown=outcomes[Outcome.REVIEW],
        )
        for category, outcomes in counted.items()
    }


def _outcome(pair: GoldPair, matcher: Matcher, model: LinkageModel) -> Outcome:
    ours, theirs = (
        {key.value for key in blocking_keys(record, model.keys, blind, model.keys_per_record)}
        for record in (pair.one, pair.other)
    )
    if ours.isdisjoint(theirs):
        return Outcome.NEW
    scored = matcher.pair(SourceRecordId("one"), pair.other, pair.one)
    person = judge_person(PersonId("one"), [scored], model.thresholds)
    return decide([person], model.thresholds).outcome
