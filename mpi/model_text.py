"""A linkage model as the TOML that `mpi.settings.load_model` reads."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict

from mpi.levels import COMPARISONS
from mpi.settings import Combination, KeySpec, Level, LinkageModel, TermFrequency, Thresholds


def model_text(model: LinkageModel, remarks: Iterable[str] = ()) -> str:
    """The whole model as TOML; numbers have six digits, so load it again before using it.

    Args:
        model: what is written; its `text` is not.
        remarks: lines of a comment at the top: where the numbers come from.
    """
    lines = [f"# {remark}".rstrip() for remark in remarks]
    lines += [f"version = {_quoted(model.version)}", f"prior_bits = {_number(model.prior_bits)}"]
    if model.family_bits is not None:
        lines.append(f"family_bits = {_number(model.family_bits)}")
    lines += _thresholds(model.thresholds)
    for comparison in COMPARISONS:
        lines += ["", f"[comparison.{comparison}]"]
        lines += [
            f"{_key(name)} = {_level(level)}" for name, level in model.levels[comparison].items()
        ]
    for field, frequency in model.frequencies.items():
        lines += _frequency(field, frequency)
    lines += ["", "[blocking]", f"cap = {model.key_cap}"]
    lines += [f"most_per_record = {model.keys_per_record}"]
    lines += [line for key in model.keys for line in _blocking_key(key)]
    lines += [line for rule in model.combinations for line in _combination(rule)]
    return "\n".join([*lines, ""])


def _level(level: Level) -> str:
    household = f", f = {_number(level.f)}" if level.f else ""
    return f"{{ m = {_number(level.m)}, u = {_number(level.u)}{household} }}"


def _thresholds(thresholds: Thresholds) -> list[str]:
    values = asdict(thresholds).items()
    return ["", "[thresholds]", *(f"{name} = {_number(value)}" for name, value in values)]


def _frequency(field: str, frequency: TermFrequency) -> list[str]:
    return [
        "",
        f"[frequency.{field}]",
        f"average = {_number(frequency.average)}",
        f"most = {_number(frequency.most)}",
        f"rarest = {_number(frequency.rarest)}",
        f"levels = {_texts(sorted(frequency.levels))}",
        f"shares = {_shares(frequency.shares)}",
    ]


def _shares(shares: Mapping[str, float]) -> str:
    pairs = ", ".join(f"{_key(name)} = {_number(share)}" for name, share in shares.items())
    return f"{{ {pairs} }}" if pairs else "{}"


def _blocking_key(key: KeySpec) -> Iterator[str]:
    yield from ("", "[[blocking.key]]", f"name = {_quoted(key.name)}")
    yield f"parts = {_texts(key.parts)}"
    if key.second:
        yield f"second = {_quoted(key.second)}"
    if key.shared:
        yield f"shared = {_quoted(key.shared)}"


def _combination(rule: Combination) -> Iterator[str]:
    fields = (f"{f}*" if f in rule.fuzzy_fields else f for f in sorted(rule.fields))
    yield from ("", "[[combination]]", f"id = {_quoted(rule.id)}", f"fields = {_texts(fields)}")
    yield f"exact = {_number(rule.exact)}"
    if rule.fuzzy_fields:
        yield f"fuzzy = {_number(rule.fuzzy)}"


def _texts(values: Iterable[str]) -> str:
    return f"[{', '.join(_quoted(value) for value in values)}]"


def _key(name: str) -> str:
    """A bare key where TOML takes one, else a quoted one."""
    is_bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if is_bare else _quoted(name)


def _quoted(text: str) -> str:
    # A basic string of TOML has the escapes of JSON.
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    return f"{float(value):.6g}"
