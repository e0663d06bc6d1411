"""What a model must hold to before it decides: order of levels, fixed pairs, today's links."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mpi.levels import COMPARISONS, ORDERS
from mpi.redecide import Redecided
from mpi.settings import Level, LinkageModel
from mpi.training.plan import GateRules
from mpi.training.suite import Rates

#: The gate that whoever activates a model may leave open with open eyes.
LINKS = "today's links"
#: Weights that differ by the six digits of a file only stand in order.
_EQUAL_BITS = 1e-4
#: Of a category of two persons that stewards are asked about, they see more than this share.
_MOSTLY = 0.5
#: Rates that differ by rounding only are equal.
_EQUAL_SHARE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One test of a model.

    Attributes:
        faults: what speaks against the model; none lets it through.
    """

    name: str
    faults: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the model passes."""
        return not self.faults


def monotone(model: LinkageModel) -> Gate:
    """More agreement never weighs less: the best level speaks for one person, the worst against.

    A level that neither speaks for nor against by its place in the order (a nickname against a
    misspelling) may stand anywhere.
    """
    return Gate(
        name="order of levels",
        faults=tuple(
            fault
            for comparison in COMPARISONS
            for order in ORDERS.get(comparison, ())
            for fault in _disorder(
                comparison,
                [level.value for level in order if level in model.levels[comparison]],
                model.levels[comparison],
            )
        ),
    )


def _disorder(comparison: str, order: Sequence[str], levels: Mapping[str, Level]) -> Iterator[str]:
    if len(order) < 2:
        return
    for better, worse in pairwise(order):
        if levels[better].bits < levels[worse].bits - _EQUAL_BITS:
            yield f"{comparison}: `{better}` weighs less than `{worse}`"
    if levels[order[0]].bits <= 0:
        yield f"{comparison}: `{order[0]}` does not speak for one person"
    if levels[order[-1]].bits >= 0:
        yield f"{comparison}: `{order[-1]}` does not speak against one person"


def suite(before: Mapping[str, Rates], after: Mapping[str, Rates], rules: GateRules) -> Gate:
    """On pairs of known truth no worse than the model in use."""
    faults = [fault for name, rate in after.items() for fault in _worse(before[name], rate, rules)]
    was, is_now = _linked_share(before), _linked_share(after)
    if is_now < was - rules.linked_less - _EQUAL_SHARE:
        faults.append(f"of all pairs of one person {was:.1%} → {is_now:.1%} linked")
    return Gate(name="fixed pairs", faults=tuple(faults))


def _linked_share(rates: Mapping[str, Rates]) -> float:
    same = [rate for rate in rates.values() if rate.is_same]
    return sum(rate.linked for rate in same) / max(sum(rate.pairs for rate in same), 1)


def _worse(before: Rates, after: Rates, rules: GateRules) -> Iterator[str]:
    figures = f"{before.linked} → {after.linked} linked, {before.shown} → {after.shown} shown"
    text = f"{after.category}: {figures}, of {after.pairs}"
    less = before.linked_share - after.linked_share
    hidden = before.found_share - after.found_share
    if after.is_same:
        is_lost = less > rules.category_linked_less + _EQUAL_SHARE
        if is_lost or hidden > rules.found_less + _EQUAL_SHARE:
            yield f"{text}: pairs of one person lost"
        return
    if after.linked > before.linked:
        yield f"{text}: pairs of two persons linked"
    # A category of which a steward saw most is one that must not be hidden: twins, father and son.
    if before.found_share > _MOSTLY and hidden > _EQUAL_SHARE:
        yield f"{text}: pairs that a steward saw are hidden"


def links(redecided: Redecided, rules: GateRules) -> Gate:
    """Of the records in the index, few would come out otherwise."""
    if redecided.changed_share <= rules.changed:
        return Gate(name=LINKS)
    text = (
        f"{redecided.changed} of {redecided.looked_at} records come out otherwise, "
        f"more than {rules.changed:.1%}"
    )
    return Gate(name=LINKS, faults=(text,))
