"""Our scorer beside Splink's, on the same pairs by the same model: they must agree.

Each pair goes to Splink as two rows of its own, because the name that two records agree on, whose
frequency counts, belongs to the pair: of several surnames it may be any.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mpi.compare import Comparison
from mpi.demographics import Demographics
from mpi.score import Scorer, Shares
from mpi.settings import LinkageModel, TermFrequency
from mpi.training.engine import Engine, imported
from mpi.training.fields import COLUMNS, TERMS, Knowledge, columns, comparer
from mpi.training.records import Records
from mpi.training.splink_settings import bounded_share, splink_settings

PAIR = "pair"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One pair's score in bits, ours and Splink's."""

    ours: float
    splinks: float

    @property
    def gap(self) -> float:
        """How far they are apart."""
        return abs(self.ours - self.splinks)


Pair = tuple[Demographics, Demographics]


def score_both(
    pairs: Sequence[Pair],
    model: LinkageModel,
    knowledge: Knowledge,
    engine: Engine,
    shares: Shares | None = None,
) -> list[Scored]:
    """Score pairs by our scorer and by Splink.

    Args:
        pairs: any pairs of records.
        model: weighs both.
        knowledge: what the engine's functions were made with.
        engine: must have the functions of this model, those of its terms too.
        shares: how common names are, beside what the model says.
    """
    compared = [comparer(knowledge).compare(one, other) for one, other in pairs]
    scorer = Scorer(model, shares)
    ours = [scorer.score(comparison).bits for comparison in compared]
    settings = splink_settings(model, [f"l.{PAIR} = r.{PAIR}"], has_terms=True)
    linker = imported("splink").Linker(engine.table(_rows(pairs, compared)), settings)
    for term, rule in model.frequencies.items():
        agreed = {_agreed(comparison, term) for comparison in compared}
        known = [(v, s) for v in sorted(agreed - {""}) if (s := _share(v, term, rule, shares))]
        linker.table_management.register_term_frequency_lookup(engine.shares(term, known), term)
    theirs = _weights(linker)
    # What Splink gives no row has nothing but its prior.
    return [
        Scored(ours=bits, splinks=theirs.get(number, model.prior_bits))
        for number, bits in enumerate(ours)
    ]


def _weights(linker: Any) -> dict[int, float]:
    found = linker.inference.predict().as_record_list()
    return {int(row["unique_id_l"].split("-")[0]): row["match_weight"] for row in found}


def _rows(pairs: Sequence[Pair], compared: Sequence[Comparison]) -> Records:
    records = Records(values={name: [] for name in (*COLUMNS, PAIR)})
    for number, (pair, comparison) in enumerate(zip(pairs, compared, strict=True)):
        for side, record in zip("lr", pair, strict=True):
            row = columns(record) | {PAIR: str(number)}
            row |= {term: _agreed(comparison, term) or None for term in TERMS}
            records.append(f"{number}-{side}", row)
    return records


def _agreed(comparison: Comparison, term: str) -> str:
    return comparison.agreed_first if term == "first" else comparison.agreed_last


def _share(value: str, term: str, rule: TermFrequency, shares: Shares | None) -> float:
    """The share that our scorer takes; 0 where it knows none."""
    learnt = shares(term, value) if shares else None
    share = learnt or rule.shares.get(value) or rule.rarest
    return bounded_share(share, rule)
