"""Our matcher against hl7apy's validator: one verdict, or a reason why not.

Every structure of several versions, in a sentence it allows and in one that departs from it.
The verdict compared is whether segments are missing or come too often; hl7apy does not see
order. The reasons and their counts are those of docs/conformance.md.
"""

import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.deep import DeepVerdict, deep_verdict
from adapters.hl7v2.er7 import parse
from adapters.hl7v2.rules import load_rules
from tests.support.hl7_sentences import (
    LONGEST,
    departure,
    has_choice,
    has_empty_group,
    payload,
    places,
    sentence,
)

ROOT = Path(__file__).parents[2]
IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
STRIDE = 1 if IS_LONG else 6
CONFORMER = Conformer(load_rules(ROOT / "config/hl7v2/conformance.toml"))
BAD = frozenset({"segment-required", "segment-repeats"})
#: What hl7apy says about segments and groups; of fields it says `PID.PID_3`.
THEIRS = re.compile(r"Error: (?:Missing required child|Child limit exceeded) [^.]+\.(?!\w+_\d+$)")


class Sent(NamedTuple):
    """A message's structure, its segments, and how they depart from it."""

    structure: str
    names: list[str]
    kind: str


#: In the order in which they are looked for.
REASONS = {
    "hl7apy stops": "AttributeError or IndexError in its parser",
    "choice": "of a choice hl7apy asks for every segment, we for one",
    "order": "hl7apy files segments by name and does not see that one is out of order",
    "several places": "a segment has several places in the structure; hl7apy takes one by name",
    "empty group": "a group must come of which no segment must; hl7apy misses it, we do not",
}


def reason(sent: Sent, version: str, deep: DeepVerdict) -> str:
    """Why the verdicts may differ, from the message and the structure alone; empty = none."""
    structure, names, kind = sent.structure, sent.names, sent.kind
    known = CONFORMER.standard(version).structure(structure)
    assert known is not None
    found = CONFORMER.conform(parse(payload(structure, names, version)))
    count = Counter(places(known._root))
    if deep.has_stopped:
        return "hl7apy stops"
    if kind == "swap" or any(f.rule == "segment-order" for f in found.findings):
        return "order"
    if any(count[name] > 1 for name in names):
        return "several places"
    if has_choice(known._root):
        return "choice"
    return "empty group" if has_empty_group(known._root) else ""


def messages(version: str) -> Iterator[Sent]:
    standard = CONFORMER.standard(version)
    for name in sorted(standard.structure_names)[::STRIDE]:
        known = standard.structure(name)
        assert known is not None
        for seed in range(2):
            dice = random.Random(f"{version} {name} {seed}")
            names = sentence(known._root, dice)[1 : LONGEST + 1]
            if names and all(len(segment) == 3 for segment in names):
                yield Sent(name, *(departure(names, dice) if seed else (names, "whole")))


def compare(version: str) -> tuple[Counter[str], list[str]]:
    """How many agree and how many differ for each reason; those that differ for none."""
    counts: Counter[str] = Counter()
    unexplained = []
    for sent in messages(version):
        content = payload(sent.structure, sent.names, version)
        ours = any(f.rule in BAD for f in CONFORMER.conform(parse(content)).findings)
        deep = deep_verdict(content)
        theirs = any(map(THEIRS.match, deep.problems))
        why = "" if ours is theirs and not deep.has_stopped else reason(sent, version, deep)
        if ours is not theirs and not why:
            unexplained.append(
                f"{sent.structure} {' '.join(sent.names)}: we say {ours}, hl7apy {theirs}"
            )
        counts[why or "agree"] += 1
    return counts, unexplained


@pytest.mark.parametrize("version", ["2.3.1", "2.5.1", "2.8.2"])
def test_verdicts_agree_with_hl7apy_or_differ_for_a_listed_reason(version: str):
    counts, unexplained = compare(version)
    assert unexplained == []
    assert counts["agree"] > 0.75 * counts.total()
    if IS_LONG:
        cells = " | ".join(str(counts[why]) for why in ("agree", *REASONS))
        page = (ROOT / "docs/conformance.md").read_text(encoding="utf-8")
        assert f"| {version} | {cells} |" in page


def test_the_reasons_are_those_of_the_page():
    page = (ROOT / "docs/conformance.md").read_text(encoding="utf-8")
    assert [why for why, text in REASONS.items() if f"| {why} | {text} |" not in page] == []
