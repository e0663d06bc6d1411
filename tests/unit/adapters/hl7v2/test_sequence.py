"""HL7 v2.8.2 chapter 2, 2.10.1: the sequence number protocol; and the pace of a source."""

import pytest

from adapters.hl7v2.pace import Pace
from adapters.hl7v2.sequence import Kind, place

#: Last accepted, MSH-13 -> what it is, MSA-4 when refused and when accepted, and the last after.
TABLE: list[tuple[int | None, str, Kind, int | None, int | None, int | None]] = [
    (None, "", Kind.MISSING, None, None, None),
    (7, "", Kind.MISSING, None, None, 7),
    (None, "0", Kind.START, -1, -1, None),
    (7, "0", Kind.START, 8, 8, 7),
    (None, "-1", Kind.RESYNC, -1, -1, None),
    (7, "-1", Kind.RESYNC, -1, -1, None),
    (None, "1", Kind.NEXT, -1, 1, 1),
    (None, "412", Kind.NEXT, -1, 412, 412),
    (7, "8", Kind.NEXT, 8, 8, 8),
    (7, "+8", Kind.NEXT, 8, 8, 8),
    (7, "7", Kind.DUPLICATE, 8, 8, 7),
    (7, "1", Kind.DUPLICATE, 8, 8, 7),
    (7, "9", Kind.GAP, 8, 9, 9),
    (7, "-2", Kind.UNREADABLE, 8, 8, 7),
    (7, "8.0", Kind.UNREADABLE, 8, 8, 7),
    (None, "one", Kind.UNREADABLE, -1, -1, None),
    (7, "9" * 40, Kind.UNREADABLE, 8, 8, 7),
]


@pytest.mark.parametrize("row", TABLE)
def test_a_number_is_placed_by_the_last_one_accepted(row):
    last, text, kind, expected, accepted, after = row
    found = place(last, text)
    assert (found.kind, found.expected, found.accepted, found.after) == (
        kind,
        expected,
        accepted,
        after,
    )


def test_a_source_within_its_pace_never_waits():
    pace = Pace()
    assert [pace.delay("a", n * 0.125, per_second=8, burst=1) for n in range(50)] == [0.0] * 50


def test_a_burst_passes_at_once_and_the_rest_at_the_pace():
    pace = Pace()
    delays = [pace.delay("a", 100.0, per_second=10, burst=5) for _ in range(8)]
    assert delays[:5] == [0.0] * 5
    assert delays[5:] == pytest.approx([0.1, 0.2, 0.3])


def test_a_bucket_fills_again_and_never_over():
    pace = Pace()
    for _ in range(5):
        pace.delay("a", 0.0, per_second=10, burst=5)
    delays = [pace.delay("a", 1_000.0, per_second=10, burst=5) for _ in range(6)]
    assert delays == pytest.approx([0, 0, 0, 0, 0, 0.1])


def test_sources_do_not_share_a_bucket_and_no_limit_is_no_wait():
    pace = Pace()
    for _ in range(3):
        pace.delay("a", 0.0, per_second=1, burst=1)
    assert pace.delay("b", 0.0, per_second=1, burst=1) == 0.0
    assert pace.delay("a", 0.0, per_second=0, burst=0) == 0.0
