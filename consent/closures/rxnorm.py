"""RxNorm: from sensitive ingredients to every product, pack and package that contains them.

A medication is sent as a product code, the lists know ingredients. The closure goes from an
ingredient along RxNorm's own relations to what is made of it. Ingredients are known by their
codes (`rxnorm.csv`) and by their names (`words.csv`), so that one whose code no list has is found.
Spec: https://www.nlm.nih.gov/research/umls/rxnorm/docs/techdoc.html (RXNCONSO, RXNREL, RXNSAT)
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consent.closures.files import Tell, found, reached, rows
from consent.labels import Labeller
from hie.kernel.errors import Category, HieError

SYSTEM: Final = "http://www.nlm.nih.gov/research/umls/rxnorm"
_WORD: Final = re.compile(r"[a-z0-9]+")
_OWN: Final = "RXNORM"


@dataclass(frozen=True, slots=True, kw_only=True)
class RxNormRules:
    """The table `closures.toml` [rxnorm].

    Attributes:
        ranks: term type to its place from ingredient to pack; relations lead upward only.
        relations: names of the relations that lead from a part to what is made of it.
        seeds: term types whose names are searched for words.
        beside: an ingredient's name, and those that make a product of it another thing.
    """

    ranks: Mapping[str, int]
    relations: frozenset[str]
    seeds: frozenset[str]
    beside: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What a release came to: code to its labels and the ingredients that bring them.

    Attributes:
        unknown: listed codes that are nothing in this release, to be looked at by hand.
    """

    products: Mapping[str, tuple[frozenset[str], frozenset[str]]]
    packages: Mapping[str, frozenset[str]]
    unknown: tuple[str, ...] = ()


def load_rules(path: Path) -> RxNormRules:
    """The rules of `config/sensitivity/closures.toml`.

    Raises:
        HieError: INVALID, naming the file.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))["rxnorm"]
        return RxNormRules(
            ranks={str(tty): int(rank) for tty, rank in table["ranks"].items()},
            relations=frozenset(table["relations"]),
            seeds=frozenset(table["seeds"]),
            beside={name: frozenset(others) for name, others in table["beside"].items()},
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        text = f"`{path.name}`: expected ranks, relations, seeds and beside in [rxnorm]"
        raise HieError(Category.INVALID, text) from error


def compile_rxnorm(folder: Path, labeller: Labeller, rules: RxNormRules, tell: Tell) -> Compiled:
    """The products and packages of a release that sensitive ingredients are in.

    Args:
        folder: with RXNCONSO.RRF and RXNREL.RRF, RXNSAT.RRF for packages.
        labeller: the lists of config/, without what was compiled before.
        rules: which relations lead where.
        tell: told how far it is.

    Raises:
        HieError: INVALID, naming the file that is missing or wrong.
    """
    names, types = _concepts(folder, rules, tell)
    above = _relations(folder, rules, types, tell)
    ingredients = {code for code, tty in types.items() if rules.ranks[tty] == 0}
    seeds = {
        code: labels
        for code, tty in types.items()
        if (labels := _labels(labeller, code, names[code] if tty in rules.seeds else ()))
    }
    contains = reached(dict.fromkeys(ingredients, frozenset()), above)
    found_by = reached(seeds, above)
    products = {}
    for code, brought in found_by.items():
        held = {name for one in contains.get(code, ()) for name in names[one]}
        own = [one for one in brought if not _is_another(names[one], held, rules)]
        labels = frozenset[str]().union(*(seeds[one] for one in own))
        if labels:
            products[code] = (labels, frozenset(own))
    packages = _packages(folder, {code: labels for code, (labels, _) in products.items()}, tell)
    listed = {
        code for one in labeller.sensitivity.lists if SYSTEM in one.systems for code, _ in one.lines
    }
    return Compiled(
        products=products, packages=packages, unknown=tuple(sorted(listed - names.keys()))
    )


def _labels(labeller: Labeller, code: str, names: tuple[str, ...]) -> frozenset[str]:
    mask = labeller.code(SYSTEM, code)
    for name in names:
        mask |= labeller.text(name)
    return frozenset(labeller.table.codes(mask))


def _is_another(names: tuple[str, ...], held: set[str], rules: RxNormRules) -> bool:
    """Whether what else is in a product makes the ingredient say nothing: a booster, say."""
    others = [rules.beside[word] for name in names for word in _WORD.findall(name.lower())
              if word in rules.beside]  # fmt: skip
    words = {word for name in held for word in _WORD.findall(name.lower())}
    return any(not words.isdisjoint(other) for other in others)


def _concepts(
    folder: Path, rules: RxNormRules, tell: Tell
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Code to its names, and to its term type; of a code with several the lowest."""
    path = found(folder, "RXNCONSO.RRF")
    names: dict[str, tuple[str, ...]] = {}
    types: dict[str, str] = {}
    for row in rows(path or folder, "|", 17, tell, "names"):
        code, tty = row[0], row[12]
        if row[11] != _OWN or tty not in rules.ranks:
            continue
        names[code] = (*names.get(code, ()), row[14])
        if code not in types or rules.ranks[tty] < rules.ranks[types[code]]:
            types[code] = tty
    return names, types


def _relations(
    folder: Path, rules: RxNormRules, types: Mapping[str, str], tell: Tell
) -> dict[str, set[str]]:
    """From each code to those of a higher rank that are made of it."""
    path = found(folder, "RXNREL.RRF")
    above: dict[str, set[str]] = {}
    for row in rows(path or folder, "|", 11, tell, "relations"):
        one, other, relation = row[0], row[4], row[7]
        if relation not in rules.relations or one not in types or other not in types:
            continue
        low, high = sorted((one, other), key=lambda code: rules.ranks[types[code]])
        if rules.ranks[types[low]] < rules.ranks[types[high]]:
            above.setdefault(low, set()).add(high)
    return above


def _packages(
    folder: Path, products: Mapping[str, frozenset[str]], tell: Tell
) -> dict[str, frozenset[str]]:
    """Package codes of products, eleven digits, where the release has them."""
    path = found(folder, "RXNSAT.RRF", is_needed=False)
    packages: dict[str, frozenset[str]] = {}
    if path is None:
        return packages
    for row in rows(path, "|", 12, tell, "packages"):
        code, name, value = row[0], row[8], row[10]
        if name == "NDC" and code in products and value.isdigit() and len(value) == 11:
            packages[value] = packages.get(value, frozenset()) | products[code]
    return packages
