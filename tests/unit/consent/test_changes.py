"""What a change of the lists may bring to what was labelled before."""

from dataclasses import replace

import pytest

from consent.changes import EVERYTHING, Gains, digest_of, gains, packed, snapshot, unpacked
from consent.labels import Labeller
from consent.regime import Sensitivity, WordLine
from consent.settings import load_sensitivity
from tests.support.consents import CONFIG

LISTS = load_sensitivity(CONFIG / "sensitivity")
TABLE = Labeller(LISTS).table
OLD = snapshot(LISTS)
ICD = "http://hl7.org/fhir/sid/icd-10-cm"


def found(lists: Sensitivity) -> Gains:
    return gains(OLD, snapshot(lists), TABLE)


def with_lines(name: str, *lines: tuple[str, tuple[str, ...]]) -> Sensitivity:
    more = [replace(o, lines=(*o.lines, *lines)) if o.name == name else o for o in LISTS.lists]
    return replace(LISTS, lists=tuple(more))


def with_word(phrase: str, label: str, *unless: str) -> Sensitivity:
    line = WordLine(phrase=tuple(phrase.split()), labels=(label,), unless=frozenset(unless))
    return replace(LISTS, words=(*LISTS.words, line))


def test_the_same_lists_bring_nothing_whatever_their_order():
    turned = replace(
        LISTS,
        lists=tuple(replace(o, lines=o.lines[::-1]) for o in LISTS.lists[::-1]),
        words=LISTS.words[::-1],
    )
    assert digest_of(snapshot(turned)) == digest_of(OLD)
    assert found(turned) == Gains()
    assert unpacked(packed(OLD)) == OLD


def test_a_new_code_brings_its_labels_and_names_its_systems():
    more = found(with_lines("icd-10-cm", ("J45", ("PSY",))))
    assert more.by_codes == TABLE.raised(["PSY"])
    assert ICD in more.systems
    assert more.by_rest == 0


def test_a_code_that_brings_more_than_it_did_counts_for_the_rest_alone():
    more = found(with_lines("icd-10-cm", ("B20", ("HIV", "STD"))))
    assert more.by_codes == TABLE.raised(["STD"])


def test_a_new_word_and_one_with_fewer_exceptions_bring_their_labels():
    assert found(with_word("grumble", "HIV")).by_rest == TABLE.raised(["HIV"])
    assert found(with_word("ritonavir", "HIV", "nirmatrelvir")).by_rest == TABLE.raised(["HIV"])
    assert found(with_word("hiv", "HIV")) == Gains(), "which was there"


def test_a_source_that_carries_a_label_brings_it():
    more = found(replace(LISTS, sources={"recovery": ("42CFRPart2",)}))
    assert more == Gains(by_rest=TABLE.raised(["42CFRPart2"]))


def test_what_is_taken_off_a_list_brings_nothing():
    fewer = replace(LISTS, lists=LISTS.lists[1:], words=LISTS.words[1:])
    assert found(fewer) == Gains()


@pytest.mark.parametrize(
    "lists",
    [
        replace(LISTS, text_elements=LISTS.text_elements | {"name"}),
        replace(LISTS, takes={**LISTS.takes, "Flag": ("Condition",)}),
        replace(LISTS, handling_codes=frozenset()),
        replace(LISTS, labels=LISTS.labels[1:]),
        replace(LISTS, content_bytes=5),
    ],
    ids=["elements", "takes", "handling", "labels", "content"],
)
def test_resources_that_are_read_in_another_way_may_have_every_label(lists):
    assert gains(OLD, snapshot(lists), TABLE) == EVERYTHING


def test_rows_nobody_knows_the_lists_of_may_have_every_label():
    assert gains(None, OLD, TABLE) == EVERYTHING


def test_two_changes_bring_what_either_brings():
    one = Gains(by_codes=1, systems=frozenset({"a"}), by_rest=2)
    other = Gains(by_codes=4, systems=frozenset({"b"}), by_rest=2)
    assert one | other == Gains(by_codes=5, systems=frozenset({"a", "b"}), by_rest=2)
