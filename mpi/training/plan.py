"""How models are trained and judged: `config/mpi/training.toml`, read once into frozen values."""

from dataclasses import dataclass
from pathlib import Path

from mpi.config_table import ConfigTable
from mpi.training.fields import FIELDS
from mpi.training.records import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """What a model must hold to before it decides.

    Attributes:
        category_linked_less, linked_less: how much less of the pairs of one person may be
            linked than by the model in use: share of a category, and of all.
        found_less: how much less may be linked or shown: share of a category.
        changed: share of the records looked at whose outcome may become another.
        looked_at: how many records of the index are decided again.
    """

    category_linked_less: float
    linked_less: float
    found_less: float
    changed: float
    looked_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How a model is trained.

    Attributes:
        seed: decides the sample.
        pairs: random pairs that u is learnt from.
        block_pairs: pairs of one rule that m is learnt from at most.
        fewest_pairs: rules that make fewer pairs teach nothing.
        worth: how many observations the model trained from is worth, level by level.
        rules: columns that agree between the pairs that m is learnt from, one rule a run.
        same: columns that agree between records of one person only, but for rare exceptions.
        recall: share of the pairs of one person that `same` finds.
    """

    seed: int
    pairs: int
    block_pairs: int
    fewest_pairs: int
    worth: float
    rules: tuple[Rule, ...]
    same: tuple[Rule, ...]
    recall: float
    gates: GateRules


def load_plan(folder: Path) -> TrainingPlan:
    """The plan of a `config/mpi` folder.

    Raises:
        HieError: INVALID; the text names file, key and kind of value.
    """
    table = ConfigTable.read(folder / "training.toml")
    return TrainingPlan(
        seed=int(table.number("seed")),
        pairs=int(table.number("pairs")),
        block_pairs=int(table.number("block_pairs")),
        fewest_pairs=int(table.number("fewest_pairs")),
        worth=table.number("worth"),
        rules=_rules(table, "rules"),
        same=_rules(table, "same"),
        recall=table.number("recall"),
        gates=_gates(table.sub("gates")),
    )


def _rules(table: ConfigTable, key: str) -> tuple[Rule, ...]:
    rules = tuple(tuple(text.split("+")) for text in table.texts(key))
    if unknown := sorted({name for rule in rules for name in rule} - set(FIELDS)):
        raise table.fault(key, f"comparisons joined by +, not `{unknown[0]}`")
    return rules


def _gates(table: ConfigTable) -> GateRules:
    return GateRules(
        category_linked_less=table.number("category_linked_less"),
        linked_less=table.number("linked_less"),
        found_less=table.number("found_less"),
        changed=table.number("changed"),
        looked_at=int(table.number("looked_at")),
    )
