"""Notices that leave with what the law keeps close. Spec: 42 CFR 2.32, M.G.L. c.111 s.70F."""

from typing import Any

import pytest

from consent.notices import CODE, NOTICE, SYSTEM, Stamp
from tests.support.consents import label, law


def stamp(regime="massachusetts"):
    return Stamp(law(regime).labels, law(regime))


def texts(mask, regime="massachusetts"):
    found = stamp(regime).codings(mask)
    return [one["extension"][0]["valueString"] for one in found if one["code"] == CODE]


@pytest.mark.parametrize(
    ("regime", "labels", "beginnings"),
    [
        ("massachusetts", [], []),
        ("massachusetts", ["PSY"], []),
        ("massachusetts", ["42CFRPart2"], ["42 CFR part 2 prohibits"]),
        ("massachusetts", ["HIV"], ["State law prohibits"]),
        ("massachusetts", ["HIV", "42CFRPart2"], ["State law", "42 CFR part 2"]),
        ("massachusetts", ["OPIOIDUD"], []),
        ("part2", ["OPIOIDUD"], ["42 CFR part 2"]),  # every source is a programme
        ("hipaa-treatment", ["42CFRPart2"], ["42 CFR part 2"]),
    ],
)
def test_what_the_law_keeps_close_says_so(regime, labels, beginnings):
    mask = law(regime).labels.mask_of(label(*labels))
    found = texts(mask, regime)
    assert len(found) == len(beginnings)
    assert all(text.startswith(start) for text, start in zip(found, beginnings, strict=True))


def test_labels_stand_before_notices_as_they_did():
    table = law().labels
    mask = table.mask_of(label("HIV"))
    assert stamp().codings(mask)[:-1] == table.codings(mask)


def test_what_carries_a_notice_is_found_by_it():
    table, ways = law().labels, stamp().asked(SYSTEM, CODE)
    for code, is_found in (("HIV", True), ("42CFRPart2", True), ("PSY", False)):
        mask = table.mask_of(label(code))
        assert any(mask & bits == value for bits, value in ways) is is_found
    assert stamp().asked(SYSTEM, "PSY") == table.asked(SYSTEM, "PSY")


def test_a_notice_sent_back_is_not_kept_beside_the_hubs_own():
    mask = law().labels.mask_of(label("HIV"))
    *_, notice = stamp().codings(mask)
    assert stamp().is_ours(notice)
    assert not stamp().is_ours({"system": SYSTEM, "code": CODE}), "a sender's own word stays"
    junk: tuple[Any, ...] = (
        None,
        "x",
        {"extension": "x"},
        {"extension": [None]},
        {"extension": [{}]},
    )
    for broken in junk:
        assert not stamp().is_ours(broken)
    assert law().labels.mask_of([notice]) == 0
    assert notice["extension"][0]["url"] == NOTICE
