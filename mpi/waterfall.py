"""How the evidence about one pair adds up, bar by bar: for a table, a drawing, a page.

The same bars come from a pair just compared and from the explanation that a decision keeps in
the ledger (`mpi.decide.explain`). They name levels, never values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mpi.decide import Decision, PairScore
from mpi.levels import COMPARISONS, MatchGrade
from mpi.score import grade
from mpi.settings import Thresholds
from mpi.words import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One piece of evidence.

    Attributes:
        label: what was compared; words: how it turned out.
        code: comparison and level, as the model names them.
        bits: what it adds; total: the sum up to it.
    """

    label: str
    words: str
    code: str
    bits: float
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """The evidence about one pair.

    Attributes:
        bars: from the prior on, in the order of the model.
        bits: the sum, or the rule's where that says more.
        missing: what could not be compared, because one of the two lacks it.
        marks: thresholds of the model, by name; empty where they are not known.
        vetoes: codes of the guard's reasons, and each in words.
        grade: of the score alone; empty where the thresholds are not known.
        outcome, reason: what is decided, as codes; reason_words: why.
    """

    model: str
    bars: tuple[Bar, ...]
    bits: float
    missing: tuple[str, ...]
    marks: Mapping[str, float]
    vetoes: Mapping[str, str]
    grade: str
    outcome: str
    outcome_words: str
    reason: str
    reason_words: str

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One pair as the ledger keeps it: the part of an explanation that a waterfall needs.

    Attributes:
        evidence: comparison, level, bits, bits for rarity.
        rule: id of the deterministic combination; empty where none was met.
    """

    model: str
    prior_bits: float
    bits: float
    evidence: Sequence[tuple[str, str, float, float]]
    rule: str
    vetoes: Sequence[str]
    outcome: str
    reason: str


def explained_pair(pair: PairScore, decision: Decision, model: str, prior_bits: float) -> Explained:
    """A pair just compared, and what is decided about it."""
    return Explained(
        model=model,
        prior_bits=prior_bits,
        bits=pair.strength,
        evidence=[(e.comparison, e.level, e.bits, e.term_bits) for e in pair.score.evidence],
        rule=pair.hit.id if pair.hit else "",
        vetoes=[veto.value for veto in pair.vetoes],
        outcome=decision.outcome.value,
        reason=decision.reason,
    )


def explained_record(explanation: Mapping[str, Any], record_id: str) -> Explained | None:
    """A pair out of a decision's explanation, by the record compared; None where it has none."""
    for person in explanation.get("persons", ()):
        for record in person["records"]:
            if record["record"] == record_id:
                return Explained(
                    model=explanation["model"],
                    prior_bits=explanation["prior_bits"],
                    bits=record["bits"],
                    evidence=[
                        (c, level, bits, term) for c, level, bits, term in record["evidence"]
                    ],
                    rule=record["rule"]["id"] if record["rule"] else "",
                    vetoes=record["vetoes"],
                    outcome=explanation["outcome"],
                    reason=explanation["reason"],
                )
    return None


def waterfall(pair: Explained, words: Words, thresholds: Thresholds | None = None) -> Waterfall:
    """The bars of one pair.

    Args:
        pair: just compared, or from the ledger.
        words: what people read for codes.
        thresholds: of the model that scored it, for the marks and the grade.
    """
    bars = _bars(pair, words)
    compared = {comparison for comparison, *_ in pair.evidence}
    named = words.comparisons
    return Waterfall(
        model=pair.model,
        bars=bars,
        bits=pair.bits,
        missing=tuple(named.get(name, name) for name in COMPARISONS if name not in compared),
        marks=_marks(thresholds),
        vetoes={veto: words.reason(veto) for veto in pair.vetoes},
        grade=grade(pair.bits, thresholds, is_vetoed=False).value if thresholds else "",
        outcome=pair.outcome,
        outcome_words=words.outcomes.get(pair.outcome, pair.outcome),
        reason=pair.reason,
        reason_words=words.reason(pair.reason),
    )


def _bars(pair: Explained, words: Words) -> tuple[Bar, ...]:
    total = pair.prior_bits
    bars = [_bar("prior", "two records drawn at random", "prior", total, total)]
    for comparison, level, bits, term_bits in pair.evidence:
        label = words.comparisons.get(comparison, comparison)
        code = f"{comparison} {level}"
        total += bits
        bars.append(_bar(label, words.level(comparison, level), code, bits, total))
        if term_bits:
            total += term_bits
            rarity = "the agreed name is rare" if term_bits > 0 else "the agreed name is common"
            bars.append(_bar(f"{label}: rarity", rarity, f"{comparison} rarity", term_bits, total))
    if pair.rule and pair.bits > total + 0.0001:
        said = f"rule {pair.rule} says more than the sum"
        bars.append(_bar("rule", said, f"rule {pair.rule}", pair.bits - total, pair.bits))
    return tuple(bars)


def _bar(label: str, words: str, code: str, bits: float, total: float) -> Bar:
    return Bar(label=label, words=words, code=code, bits=round(bits, 4), total=round(total, 4))


def _marks(thresholds: Thresholds | None) -> dict[str, float]:
    if thresholds is None:
        return {}
    return {
        MatchGrade.POSSIBLE.value: thresholds.review,
        MatchGrade.PROBABLE.value: thresholds.probable,
        "link": thresholds.auto,
        MatchGrade.CERTAIN.value: thresholds.certain,
    }


def as_table(fall: Waterfall, words: Words) -> list[str]:
    """The waterfall as lines of text."""
    rows = [("", "", "bits", "total")]
    rows += [(b.label, b.words, f"{b.bits:+.2f}", f"{b.total:.2f}") for b in fall.bars]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    first, second, third, fourth = widths
    lines = [
        f"{label:<{first}}  {said:<{second}}  {bits:>{third}}  {total:>{fourth}}"
        for label, said, bits, total in rows
    ]
    lines.append("")
    if fall.missing:
        lines.append(f"not compared: {', '.join(fall.missing)}")
    lines.append(f"score: {fall.bits:.2f} bits by model {fall.model}")
    if fall.grade:
        marks = ", ".join(f"{words.marks.get(m, m)} from {v:g}" for m, v in fall.marks.items())
        lines.append(f"grade: {words.grades.get(fall.grade, fall.grade)} ({marks})")
    lines += [f"guard: {veto}: {said}" for veto, said in fall.vetoes.items()]
    why = fall.reason if fall.reason in fall.vetoes else f"{fall.reason}: {fall.reason_words}"
    lines.append(f"decision: {fall.outcome_words}; {why}")
    return lines
