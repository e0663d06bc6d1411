"""What sets one model apart from another: level by level, in bits."""

from collections.abc import Iterator
from dataclasses import dataclass

from mpi.levels import COMPARISONS
from mpi.settings import Level, LinkageModel


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelChange:
    """A level in both models; None where one of them does not weigh it."""

    comparison: str
    level: str
    before: Level | None
    after: Level | None

    @property
    def change_bits(self) -> float:
        """How much more the level weighs now; a level that is not listed weighs nothing."""
        return _bits(self.after) - _bits(self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two models side by side.

    Attributes:
        levels: every level of either, in the order of the model.
        others: what else changed: names of parts of the file.
    """

    before: str
    after: str
    prior_before: float
    prior_after: float
    levels: tuple[LevelChange, ...]
    others: tuple[str, ...]


def difference(before: LinkageModel, after: LinkageModel) -> Difference:
    """What the second model changes."""
    parts = {
        "thresholds": before.thresholds != after.thresholds,
        "frequency": dict(before.frequencies) != dict(after.frequencies),
        "blocking": (before.keys, before.key_cap, before.keys_per_record)
        != (after.keys, after.key_cap, after.keys_per_record),
        "combination": before.combinations != after.combinations,
    }
    return Difference(
        before=before.version,
        after=after.version,
        prior_before=before.prior_bits,
        prior_after=after.prior_bits,
        levels=tuple(_changes(before, after)),
        others=tuple(name for name, is_changed in parts.items() if is_changed),
    )


def _changes(before: LinkageModel, after: LinkageModel) -> Iterator[LevelChange]:
    for comparison in COMPARISONS:
        one, other = before.levels[comparison], after.levels[comparison]
        for label in dict.fromkeys([*one, *other]):
            yield LevelChange(
                comparison=comparison,
                level=label,
                before=one.get(label),
                after=other.get(label),
            )


def lines(found: Difference) -> Iterator[str]:
    """The difference as a table for a terminal."""
    yield f"{'':32}{found.before[:20]:>22}{found.after[:20]:>22}{'change':>9}"
    yield _line("prior", found.prior_before, found.prior_after)
    for change in found.levels:
        name = f"{change.comparison}.{change.level}"
        before = change.before.bits if change.before else None
        yield _line(name, before, change.after.bits if change.after else None)
    if found.others:
        yield f"changed besides: {', '.join(found.others)}"


def _line(name: str, before: float | None, after: float | None) -> str:
    change = (after or 0.0) - (before or 0.0)
    mark = f"{change:+9.2f}" if abs(change) >= 0.005 else f"{'':9}"
    return f"{name:32}{_number(before):>22}{_number(after):>22}{mark}".rstrip()


def _number(bits: float | None) -> str:
    return "-" if bits is None else f"{bits:.2f}"


def _bits(level: Level | None) -> float:
    return level.bits if level else 0.0
