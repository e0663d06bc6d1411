"""A linkage model as Splink's settings, and back.

Every level is a condition on a function of ours, so Splink sees the levels our scorer sees.
Splink allows one term frequency per level, the model two (first name and surname): each gets
a comparison of its own whose levels weigh nothing but the adjustment. Its base, Splink's u of
the level, is the model's `average`; the largest adjustment is Splink's smallest frequency.
Spec: https://moj-analytical-services.github.io/splink/api_docs/settings_dict_guide.html
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mpi.levels import COMPARISONS
from mpi.settings import Level, LinkageModel, TermFrequency
from mpi.training.blend import Estimate

Json = dict[str, Any]
#: Splink's name for the record's id.
UNIQUE_ID = "unique_id"


def probability(bits: float) -> float:
    """A probability from its log2 odds."""
    return 1 / (1 + 2**-bits)


def prior_bits(chance: float) -> float:
    """The log2 odds of a probability."""
    return math.log2(chance / (1 - chance))


def splink_settings(
    model: LinkageModel, blocking: Sequence[str], *, has_terms: bool, is_fixed: bool = False
) -> Json:
    """The settings that make Splink score as the model does.

    Args:
        model: levels and prior.
        blocking: SQL of the rules that pairs are made by.
        has_terms: whether agreement on a rare name weighs more; training needs the levels only.
        is_fixed: whether Splink may not change u.
    """
    comparisons = [_comparison(name, model.levels[name], is_fixed) for name in COMPARISONS]
    if has_terms:
        comparisons += [_term(name, rule) for name, rule in model.frequencies.items()]
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": UNIQUE_ID,
        "probability_two_random_records_match": probability(model.prior_bits),
        "blocking_rules_to_generate_predictions": [{"blocking_rule": rule} for rule in blocking],
        "comparisons": comparisons,
        "retain_matching_columns": False,
        "retain_intermediate_calculation_columns": False,
    }


def _comparison(name: str, levels: Mapping[str, Level], is_fixed: bool) -> Json:
    call = f"hie_{name}({name}_l, {name}_r)"
    numbered = [(number, label, level) for number, (label, level) in enumerate(levels.items())]
    # The commonest outcome first: what is found is not asked for again.
    numbered.sort(key=lambda item: -item[2].u)
    nothing: Json = {
        "sql_condition": f"{name}_l IS NULL OR {name}_r IS NULL OR {call} < 0",
        "label_for_charts": "nothing to compare",
        "is_null_level": True,
    }
    found: list[Json] = [
        {
            "sql_condition": f"{call} = {number}",
            "label_for_charts": label,
            "m_probability": level.m,
            "u_probability": level.u,
            "fix_u_probability": is_fixed,
        }
        for number, label, level in numbered
    ]
    return {"output_column_name": name, "comparison_levels": [nothing, *found]}


def _term(name: str, rule: TermFrequency) -> Json:
    agreed: Json = {
        "sql_condition": (f"hie_agreed_{name}(name_l, name_r) = {name}_l AND {name}_l = {name}_r"),
        "label_for_charts": f"agreed {name}",
        "m_probability": rule.average,
        "u_probability": rule.average,
        "tf_adjustment_column": name,
        "tf_adjustment_weight": 1.0,
        "tf_minimum_u_value": rule.average / 2**rule.most,
        "disable_tf_exact_match_detection": True,
    }
    other: Json = {
        "sql_condition": "ELSE",
        "label_for_charts": "other",
        "m_probability": 1 - rule.average,
        "u_probability": 1 - rule.average,
    }
    for level in (agreed, other):
        level |= {"fix_m_probability": True, "fix_u_probability": True}
    return {"output_column_name": f"{name}_frequency", "comparison_levels": [agreed, other]}


def bounded_share(share: float, rule: TermFrequency) -> float:
    """The share that Splink is to look up: the commonest names weigh no less than the model says.

    The rarest are bounded by the settings themselves.
    """
    return min(share, rule.average * 2**rule.most)


def trained_levels(settings: Json) -> dict[str, dict[str, Estimate]]:
    """What Splink knows of every level: by comparison, then by level."""
    return {
        comparison["output_column_name"]: {
            level["label_for_charts"]: Estimate(
                m=level.get("m_probability", 0.0), u=level.get("u_probability", 0.0)
            )
            for level in comparison["comparison_levels"]
            if not level.get("is_null_level")
        }
        for comparison in settings["comparisons"]
        if comparison["output_column_name"] in COMPARISONS
    }
