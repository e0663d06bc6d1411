"""The waterfall: bars that add up, from a fresh pair and from the ledger alike."""

from xml.etree import ElementTree as ET

import pytest

from hie.kernel.ids import PersonId, SourceRecordId
from mpi.decide import Matcher, decide, explain, judge_person
from mpi.levels import COMPARISONS, EXPECTED, FAMILY, MatchGrade, Veto
from mpi.model import Outcome
from mpi.waterfall import as_table, explained_pair, explained_record, waterfall
from mpi.waterfall_svg import as_svg
from mpi.words import load_words
from tests.support.mpi import MODEL, SETTINGS, THRESHOLDS, demographics
from tests.support.tree import ROOT

WORDS = load_words(ROOT / "config" / "mpi")
MATCHER = Matcher(SETTINGS)
SVG = "{http://www.w3.org/2000/svg}"


def judged(one, other):
    pair = MATCHER.pair(SourceRecordId("r2"), one, other)
    return pair, decide([judge_person(PersonId("p2"), [pair], THRESHOLDS)], THRESHOLDS)


def fall_of(one, other):
    pair, decision = judged(one, other)
    explained = explained_pair(pair, decision, MODEL.version, MODEL.prior_bits)
    return waterfall(explained, WORDS, THRESHOLDS)


SAME = demographics(), demographics(given=["Norah"], phone="")
TWINS = (
    demographics(given=["Jayden"], born="2015-05-05"),
    demographics(given=["Kayden"], born="2015-05-05"),
)
NUMBERED = demographics(ssn="219-45-6789"), demographics(ssn="219-45-6789", line="", zip5="")


@pytest.mark.parametrize("pair", [SAME, TWINS, NUMBERED], ids=["same", "twins", "rule"])
def test_the_bars_add_up_to_the_score(pair):
    fall = fall_of(*pair)
    assert fall.bars[0].code == "prior"
    assert sum(bar.bits for bar in fall.bars) == pytest.approx(fall.bits, abs=0.001)
    assert fall.bars[-1].total == pytest.approx(fall.bits, abs=0.001)


@pytest.mark.parametrize("pair", [SAME, TWINS, NUMBERED], ids=["same", "twins", "rule"])
def test_the_explanation_in_the_ledger_draws_the_same(pair):
    _, decision = judged(*pair)
    kept = explain(decision, MODEL.version, MODEL.prior_bits)
    explained = explained_record(kept, "r2")
    assert explained is not None
    drawn, fresh = waterfall(explained, WORDS, THRESHOLDS), fall_of(*pair)
    assert [(b.label, b.words, b.code) for b in drawn.bars] == [
        (b.label, b.words, b.code) for b in fresh.bars
    ]
    for one, other in zip(drawn.bars, fresh.bars, strict=True):
        assert (one.bits, one.total) == pytest.approx((other.bits, other.total), abs=0.001)
    assert (drawn.vetoes, drawn.grade, drawn.reason) == (fresh.vetoes, fresh.grade, fresh.reason)
    assert explained_record(kept, "another record") is None


def test_without_the_models_thresholds_there_is_no_grade_and_no_mark():
    pair, decision = judged(*SAME)
    explained = explained_pair(pair, decision, MODEL.version, MODEL.prior_bits)
    fall = waterfall(explained, WORDS)
    assert (fall.grade, fall.marks) == ("", {})
    assert as_svg(fall, WORDS)


def test_a_table_tells_bits_grade_guard_and_decision():
    lines = as_table(fall_of(*TWINS), WORDS)
    assert any(line.startswith("birth date  ") and "agrees" in line for line in lines)
    assert any(line.startswith("guard: twin: Same birth date") for line in lines)
    assert any(line.startswith("decision: left to a steward; twin") for line in lines)
    assert any(line.startswith("not compared: ") for line in lines)


def test_a_drawing_tells_by_words_what_it_shows_by_bars():
    fall = fall_of(*TWINS)
    drawn = ET.fromstring(as_svg(fall, WORDS))
    assert drawn.get("role") == "img"
    title, desc = drawn.find(f"{SVG}title"), drawn.find(f"{SVG}desc")
    assert title is not None
    assert desc is not None
    assert drawn.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    texts = [text.text or "" for text in drawn.iter(f"{SVG}text")]
    for bar in fall.bars:
        assert bar.label in texts
        assert bar.words in texts
        assert f"{bar.bits:+.2f}" in texts
        assert f"{bar.label}: {bar.words}" in (desc.text or "")
    assert any("may be twins" in text for text in texts)
    against = [r for r in drawn.iter(f"{SVG}rect") if r.get("fill") == "url(#against)"]
    assert len(against) == sum(bar.bits < 0 for bar in fall.bars)


def test_a_drawing_fetches_nothing():
    text = as_svg(fall_of(*SAME), WORDS)
    assert text.count("http") == 1  # the namespace
    assert not any(word in text for word in ("<image", "<script", "<style", "@import", "xlink"))


def test_bars_stay_within_the_drawing():
    drawn = ET.fromstring(as_svg(fall_of(*TWINS), WORDS))
    width = float(drawn.get("width") or 0)
    for rect in drawn.iter(f"{SVG}rect"):
        assert 0 <= float(rect.get("x") or 0) <= width
        assert float(rect.get("x") or 0) + float(rect.get("width") or 0) <= width


def test_every_code_has_words():
    assert set(WORDS.comparisons) == {*COMPARISONS, FAMILY}
    assert set(WORDS.levels[FAMILY]) == {EXPECTED}
    for comparison, levels in COMPARISONS.items():
        assert set(WORDS.levels[comparison]) == {level.value for level in levels}
    assert set(WORDS.vetoes) == {veto.value for veto in Veto}
    assert set(WORDS.grades) == {grade.value for grade in MatchGrade}
    assert {Outcome.LINK.value, Outcome.REVIEW.value, Outcome.NEW.value} <= set(WORDS.outcomes)
    assert {"clear", "below-threshold", "mean", "margin", "no-candidate"} <= set(WORDS.reasons)
