"""Which types take over the labels of what they refer to."""

import pytest

from consent.settings import load_sensitivity
from consent.takes import Takes
from hie.kernel.errors import Category, HieError
from tests.support.consents import CONFIG

TAKES = Takes(load_sensitivity(CONFIG / "sensitivity").takes)


def test_what_is_taken_over_comes_before_what_takes_it_over():
    for name in TAKES.ranks:
        for part in ("Observation", "DiagnosticReport", "Media", "Medication", "Encounter"):
            if name in TAKES.takers_of(part):
                assert TAKES.rank(part) < TAKES.rank(name), (part, name)
    assert TAKES.rank("Condition") == 0
    assert TAKES.rank("Binary") == TAKES.last


@pytest.mark.parametrize(
    ("part", "takers"),
    [
        ("Condition", {"Composition", "DocumentReference"}),
        ("Medication", {"MedicationRequest", "MedicationDispense", "Composition"}),
        ("Observation", {"DiagnosticReport", "Composition"}),
        ("Location", {"Encounter"}),
        ("DocumentReference", {"Composition"}),
    ],
)
def test_documents_visits_and_orders_take_over_what_is_in_them(part, takers):
    assert takers <= TAKES.takers_of(part)


def test_whose_a_document_is_says_nothing_about_what_is_in_it():
    assert TAKES.takers_of("Patient") == frozenset()
    assert TAKES.takers_of("Practitioner") == frozenset()


def test_what_a_document_holds_is_found_at_any_depth():
    document = {
        "resourceType": "Composition",
        "subject": {"reference": "Patient/p"},
        "section": [{"section": [{"entry": [{"reference": "Condition/c"}]}]}],
        "encounter": {"reference": "Encounter/e"},
    }
    assert TAKES.named("Composition", document) == {("Condition", "c"), ("Encounter", "e")}
    held = {"content": [{"attachment": {"url": "Binary/b"}}, {"attachment": {"url": "https://x"}}]}
    assert TAKES.named("DocumentReference", held) == {("Binary", "b")}
    assert TAKES.named("Condition", {"encounter": {"reference": "Encounter/e"}}) == set()


def test_a_circle_is_named():
    with pytest.raises(HieError, match=r"`labels.toml` \[takes\]: `Media`") as caught:
        Takes({"Media": ["Specimen"], "Specimen": ["Media"]})
    assert caught.value.category is Category.INVALID
