"""The last page, compared with the one kept; and what the checks make of its numbers."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hie.demo.checks import Check, Denial, Evidence, check
from hie.demo.feed import Delivery
from hie.demo.parcels import Expected, Parcel, Wire
from hie.demo.score import Score
from hie.demo.summary import Addresses, AuditCheck, Look, MessageCount, Sent, Summary, render
from hie.demo.world import Case

PAGE = Path(__file__).with_name("summary.txt")

SCORE = Score(
    people=211,
    registrations=590,
    persons=228,
    unknown=0,
    true_pairs=620,
    found_pairs=601,
    wrong_pairs=0,
    splits={Case.MOVED: 2, Case.MARRIED: 5},
    cases={Case.PLAIN: 130, Case.MOVED: 9, Case.MARRIED: 6},
    wrong_joins={},
)
SUMMARY = Summary(
    sent=Sent(messages=2366, seconds=31.4, answers={}),
    processing_seconds=40.2,
    messages=(
        MessageCount(wire="mllp", trigger="ADT^A28", answer="AA", state="processed", count=328),
        MessageCount(wire="mllp", trigger="ADT^A28", answer="AE", state="refused", count=1),
        MessageCount(wire="fhir", trigger="POST Bundle", answer="200", state="processed", count=99),
        MessageCount(wire="mllp", trigger="SIU^S12", answer="AA", state="kept", count=1),
    ),
    score=SCORE,
    review={"twin": 8, "same-name": 3},
    resources={"Observation": 1777, "Patient": 590, "Binary": 74},
    person="Rosalind Quimby",
    person_id="k7q2m5",
    looks=(
        Look(
            title="herself",
            by_type={"Patient": 1, "Encounter": 5, "Observation": 14},
            by_source={"a": 3, "b": 4, "c": 5, "d": 6, "e": 1},
            identifiers=5,
        ),
        Look(
            title="Bayside General Hospital",
            by_type={"Patient": 1, "Encounter": 5, "Observation": 10},
            by_source={"a": 3, "b": 4, "c": 4, "d": 3, "e": 1},
            identifiers=5,
        ),
        Look(
            title="Saint Aurelia (denied)",
            by_type={"Patient": 1, "Encounter": 1},
            by_source={"b": 1},
            identifiers=1,
        ),
    ),
    denied="b",
    denied_name="Saint Aurelia",
    audit=AuditCheck(events=7042, unchained=3),
    addresses=Addresses(host="127.0.0.1", http_port=8080, mllp_port=2575, mllps_port=2576),
    samples=Path("var/demo"),
)
PARCEL = Parcel(source="a", wire=Wire.MLLP, kind="ADT^A28", control_id="A1", payload=b"MSH|^~\\&|")
EVIDENCE = Evidence(
    deliveries=(
        Delivery(parcel=PARCEL, answer="AA"),
        Delivery(parcel=replace(PARCEL, expected=Expected.REFUSED), answer="AE"),
    ),
    summary=SUMMARY,
    backlog=0,
    heroine_links=("k7q2m5",) * 5,
    held=0,
    denials=(Denial(person=1, source="b", why="denied", own=2, foreign=0),),
    permitted=8,
    asked=8,
)


def test_the_page_is_the_one_kept():
    page = render(SUMMARY, is_staying=True) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(page, encoding="utf-8")
    assert page == PAGE.read_text(encoding="utf-8")


def test_the_page_is_narrow_enough_for_a_terminal():
    lines = render(SUMMARY, is_staying=True).splitlines()
    assert max(map(len, lines)) <= 88


def test_a_hub_that_ends_invites_nobody():
    assert "try next" not in render(SUMMARY, is_staying=False)


def test_wrong_joins_and_a_broken_chain_are_said_loudly():
    bad = replace(
        SUMMARY,
        score=replace(SCORE, wrong_joins={"twins": 2}, wrong_pairs=4),
        audit=AuditCheck(events=10, unchained=0, fault="row 7 was changed"),
    )
    page = render(bad, is_staying=True)
    assert "two humans held as one" in page
    assert "FAULT: row 7 was changed" in page


def test_a_person_who_was_not_found_is_said_to_be_unknown():
    page = render(replace(SUMMARY, person_id="", resources={}, review={}), is_staying=True)
    assert "does not know her" in page


def test_a_good_run_meets_every_expectation(scene):
    results = check(EVIDENCE, scene.lists)
    assert [str(r) for r in results if not r.is_met] == []
    assert len(results) == 15


def _score(**changes):
    return replace(EVIDENCE, summary=replace(SUMMARY, score=replace(SCORE, **changes)))


def _summary(**changes):
    return replace(EVIDENCE, summary=replace(SUMMARY, **changes))


def _look(position, **changes):
    looks = list(SUMMARY.looks)
    looks[position] = replace(looks[position], **changes)
    return _summary(looks=tuple(looks))


FAULTS = {
    "a message without an answer": (
        replace(EVIDENCE, deliveries=(Delivery(parcel=PARCEL, answer=""),)),
        "every message is answered",
    ),
    "a refusal where none was due": (
        replace(EVIDENCE, deliveries=(Delivery(parcel=PARCEL, answer="AE"),)),
        "every answer is the one",
    ),
    "a wrong message taken": (
        replace(
            EVIDENCE,
            deliveries=(Delivery(parcel=replace(PARCEL, expected=Expected.REFUSED), answer="AA"),),
        ),
        "every answer is the one",
    ),
    "a parked message": (
        _summary(
            messages=(MessageCount(wire="mllp", trigger="X", answer="AA", state="parked", count=1),)
        ),
        "worked off or kept",
    ),
    "a message that waits": (replace(EVIDENCE, backlog=1), "worked off or kept"),
    "an unknown registration": (_score(unknown=1), "every registration is known"),
    "joined twins": (_score(wrong_joins={"twins": 1}), "twins stay apart"),
    "a father joined with his son": (
        _score(wrong_joins={"father and son of one name": 1}),
        "father and son of one name stay apart",
    ),
    "low precision": (_score(wrong_pairs=60), "precision is"),
    "low recall": (_score(found_pairs=100), "recall is"),
    "the person of five sources split": (
        replace(EVIDENCE, heroine_links=("p", "p", "p", "p", "q")),
        "is one person",
    ),
    "a source missing in her record": (
        _look(0, by_source={"a": 1, "b": 1}),
        "one Patient with resources",
    ),
    "what the law holds back, given away": (
        replace(EVIDENCE, held=1),
        "an organisation she permits",
    ),
    "a leak to the denied": (
        _look(2, by_source={"b": 1, "c": 1}),
        "the organisation she denies",
    ),
    "a leak to any organisation": (
        replace(
            EVIDENCE,
            denials=(Denial(person=1, source="b", why="denied", own=0, foreign=3),),
        ),
        "no organisation without permission",
    ),
    "a permission without effect": (replace(EVIDENCE, permitted=7), "with permission see it"),
    "a broken audit chain": (
        _summary(audit=AuditCheck(events=5, unchained=0, fault="gap")),
        "audit chain",
    ),
    "no audit at all": (_summary(audit=AuditCheck(events=0, unchained=0)), "audit chain"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_its_expectation_and_says_what_was_found(scene, name):
    evidence, expected = FAULTS[name]
    failed = [r for r in check(evidence, scene.lists) if not r.is_met]
    assert any(expected in r.expected for r in failed)


def test_a_check_shows_what_was_found_only_when_it_failed():
    assert str(Check("it rains", True, "dry")) == "  ok     it rains"
    assert str(Check("it rains", False, "dry")) == "  FAILED it rains (dry)"


@pytest.mark.parametrize(
    ("answer", "is_positive"),
    [
        *(("AA", True), ("CA", True), ("200", True), ("201", True)),
        *(("AE", False), ("AR", False), ("422", False), ("", False)),
    ],
)
def test_answers_are_positive_or_not(answer, is_positive):
    assert Delivery(parcel=PARCEL, answer=answer).is_positive is is_positive
