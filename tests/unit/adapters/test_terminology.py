"""Concept maps: read from CSV, looked up in any case, overlaid by a source."""

from pathlib import Path

import pytest

from adapters.terminology import Concept, ConceptMap, load_terminology
from hie.kernel.errors import Category, HieError
from tests.support.tree import ROOT

SEX = ConceptMap(
    "sex",
    {
        "F": Concept(target="female", display="Female", system="urn:sex"),
        "f": Concept(target="lower"),
        "N": Concept(target=""),
    },
)
HEADER = "code,target,display,system\n"


@pytest.mark.parametrize(
    ("code", "target"),
    [("F", "female"), ("f", "lower"), ("n", ""), ("X", None), ("", None)],
    ids=["exact", "exact before folded", "folded", "unmapped", "empty"],
)
def test_a_code_is_looked_up_exactly_and_then_in_any_case(code, target):
    found = SEX.translate(code)
    assert (found.target if found else None) == target


def test_a_code_without_counterpart_is_known_all_the_same():
    assert SEX.translate("N") == Concept(target="")


def test_units_are_looked_up_in_their_case_only():
    assert SEX.exact("n") is None


def test_a_coding_is_made_anew_each_time():
    concept = Concept(target="female", display="Female", system="urn:sex")
    assert concept.coding() == {"system": "urn:sex", "code": "female", "display": "Female"}
    assert concept.coding() is not concept.coding()


def test_a_source_puts_its_own_codes_first_and_keeps_the_displays_of_the_table():
    local = SEX.overlaid({"1": Concept(target="female"), "F": Concept(target="other")})
    assert local.translate("1") == SEX.translate("F")
    assert local.translate("F") == Concept(target="other")
    assert SEX.translate("1") is None


def test_notes_and_blank_lines_of_a_table_are_left_out(tmp_path: Path):
    (tmp_path / "sex.csv").write_text(f"# a note\n\n{HEADER}F,female,,\n")
    terminology = load_terminology(tmp_path)
    assert terminology.names == {"sex"}
    assert len(terminology.map("sex")) == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("code,target\nF,female\n", "header"),
        (f"{HEADER}F,female\n", "row 1"),
        (f"{HEADER},female,,\n", "row 1"),
        (f"{HEADER}F,female,,\nF,other,,\n", "row 2"),
    ],
    ids=["header", "columns", "no code", "twice"],
)
def test_a_table_that_cannot_be_read_is_named_with_its_row(tmp_path: Path, text, named):
    (tmp_path / "sex.csv").write_text(text)
    with pytest.raises(HieError) as caught:
        load_terminology(tmp_path)
    assert caught.value.category is Category.INVALID
    assert "sex.csv" in caught.value.text
    assert named in caught.value.text


def test_a_map_without_a_file_is_a_fault_of_configuration():
    with pytest.raises(HieError, match="no-such-map"):
        load_terminology(ROOT / "config" / "terminology").map("no-such-map")


def test_every_target_that_is_a_system_or_a_code_has_no_white_space_at_its_ends():
    terminology = load_terminology(ROOT / "config" / "terminology")
    for name in terminology.names:
        for code, concept in terminology.map(name).items():
            assert concept.target == concept.target.strip(), (name, code)
            assert " " not in concept.system, (name, code)
