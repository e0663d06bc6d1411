"""What no map reads is listed; what one reads is not."""

from collections import Counter

import pytest

from adapters.hl7v2 import er7
from adapters.hl7v2.coverage import Coverage, coverage
from tests.support.mapping import PID, message_of, submission_of


def unmapped(*segments: str, trigger: str = "ADT^A31") -> list[str]:
    return list(submission_of(*segments, trigger=trigger).unmapped)


def test_a_field_no_map_reads_is_listed():
    assert unmapped(PID + "|" * 19 + "yes") == ["PID-27"]


def test_a_z_segment_is_listed_by_place_only():
    assert unmapped(PID, "ZPD|1||secret") == ["ZPD-1", "ZPD-3"]


def test_a_line_that_is_no_segment_is_listed_too():
    assert unmapped(PID, "what is this|x") == ["?-1"]


def test_a_segment_that_comes_twice_is_listed_twice():
    assert unmapped(PID, "GT1|1", "GT1|2") == ["GT1-1", "GT1-1"]


@pytest.mark.parametrize("value", ["", "^", "~^&", "   "])
def test_a_field_of_marks_and_blanks_says_nothing(value):
    assert unmapped(PID, f"ZPD|{value}") == []


def test_a_null_says_something():
    assert unmapped(PID, 'ZPD|""') == ["ZPD-1"]


def test_a_repetition_that_has_no_place_is_listed():
    # Patient.gender takes one code.
    assert unmapped("PID|1||P1||DOE^JANE|||F~M") == ["PID-8[2]"]
    assert unmapped("PID|1||P1||DOE^JANE~ROE^JANE") == []
    assert unmapped("PID|1||P1||DOE^JANE|||F~") == []


def test_a_condition_looks_but_does_not_read():
    # A message that only tells of a document has no content to make anything of.
    places = unmapped(PID, "TXA|1|DS||||||||||D1", "OBX|1|HD|A^A^L||1.2.3", trigger="MDM^T01")
    assert places == ["OBX-1", "OBX-2", "OBX-3", "OBX-5"]


def test_a_field_another_segments_row_takes_is_read():
    orc = "ORC|NW|O1^GH|||CM"
    obr = "OBR|1|O1^GH||1^A^LN"
    assert unmapped(PID, orc, obr, trigger="ORU^R01") == []


def test_present_is_what_is_mapped_and_what_is_not():
    message = message_of(PID + "|" * 19 + "yes", "GT1|1", "GT1|2", trigger="ADT^A31")
    found = coverage(message, ("PID-27", "GT1-1", "GT1-1"))
    assert Counter(found.present) == Counter(found.mapped) + Counter(found.unmapped)
    assert "PID-5" in found.mapped


@pytest.mark.parametrize(
    ("present", "missing", "percent"), [(0, 0, 100), (4, 0, 100), (3, 1, 66), (1, 1, 0)]
)
def test_the_percentage_is_rounded_down(present, missing, percent):
    places = tuple(f"ZZZ-{n}" for n in range(present))
    assert Coverage(present=places, unmapped=places[:missing]).percent == percent


def test_a_repetition_without_a_place_counts_beside_its_field():
    message = message_of("PID|1||P1||DOE^JANE|||F~M", trigger="ADT^A31")
    found = coverage(message, ("PID-8[2]",))
    assert "PID-8" in found.mapped
    assert "PID-8[2]" in found.present


def test_the_marks_of_the_header_are_no_value():
    message = er7.parse(b"MSH|^~\\&|A\r")
    assert coverage(message, ()).present == ("MSH-3",)
