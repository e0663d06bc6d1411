"""Decisions: per person, never per record; margin, mean and vetoes before the score."""

from dataclasses import replace
from itertools import permutations

import pytest

from hie.kernel.ids import PersonId, SourceRecordId
from mpi.combinations import Hit
from mpi.decide import (
    Matcher,
    PairScore,
    PersonScore,
    candidates,
    decide,
    explain,
    judge_person,
    task_kind,
)
from mpi.levels import MatchGrade, Veto
from mpi.model import Outcome, TaskKind
from mpi.score import Score
from tests.support.mpi import MODEL, SETTINGS, THRESHOLDS, demographics

MATCHER = Matcher(SETTINGS)
AUTO, MARGIN, REVIEW = THRESHOLDS.auto, THRESHOLDS.margin, THRESHOLDS.review


def person(
    name: str, *bits: float, vetoes: tuple[Veto, ...] = (), denied: bool = False, unscored: int = 0
) -> PersonScore:
    """A person whose records score these bits; the first of them is vetoed."""
    pairs = [
        PairScore(
            record_id=SourceRecordId(f"{name}{n}"),
            strength=strength,
            score=Score(bits=strength),
            hit=None,
            vetoes=vetoes if n == 0 else (),
        )
        for n, strength in enumerate(bits)
    ]
    return judge_person(PersonId(name), pairs, THRESHOLDS, is_denied=denied, unscored=unscored)


def letters(score: PersonScore, *answers: Veto) -> PersonScore:
    """The person, whose first record has to the letter what answers these reasons."""
    first, *rest = score.pairs
    return replace(score, pairs=(replace(first, answers=frozenset(answers)), *rest))


NAMED = letters(person("p", 20), Veto.FIRST_NAME, Veto.TWIN)


@pytest.mark.parametrize(
    ("best", "rival", "outcome"),
    [
        pytest.param(NAMED, person("q", 19, vetoes=(Veto.TWIN,)), Outcome.LINK, id="a twin"),
        pytest.param(NAMED, person("q", 20, vetoes=(Veto.TWIN,)), Outcome.LINK, id="as likely"),
        pytest.param(
            NAMED, person("q", 20.1, vetoes=(Veto.TWIN,)), Outcome.REVIEW, id="a likelier twin"
        ),
        pytest.param(
            NAMED, person("q", 19, vetoes=(Veto.GENERATION,)), Outcome.REVIEW, id="a father"
        ),
        pytest.param(NAMED, person("q", 19), Outcome.REVIEW, id="nothing against the rival"),
        pytest.param(
            person("p", 20), person("q", 19, vetoes=(Veto.TWIN,)), Outcome.REVIEW, id="no letters"
        ),
    ],
)
def test_who_contradicts_what_the_best_has_to_the_letter_is_no_rival(
    best: PersonScore, rival: PersonScore, outcome: Outcome
):
    assert decide([best, rival], THRESHOLDS).outcome is outcome
    assert decide([rival, best], THRESHOLDS).outcome is outcome


@pytest.mark.parametrize(
    ("persons", "outcome", "reason"),
    [
        pytest.param([], Outcome.NEW, "no-candidate", id="nobody"),
        pytest.param([person("p", REVIEW - 0.1)], Outcome.NEW, "no-candidate", id="too weak"),
        pytest.param([person("p", REVIEW)], Outcome.REVIEW, "below-threshold", id="worth a look"),
        pytest.param([person("p", AUTO - 0.1)], Outcome.REVIEW, "below-threshold", id="just below"),
        pytest.param([person("p", AUTO)], Outcome.LINK, "clear", id="at the threshold"),
        pytest.param([person("p", AUTO, denied=True)], Outcome.NEW, "no-candidate", id="denied"),
        pytest.param(
            [person("p", 30, vetoes=(Veto.TWIN,))], Outcome.REVIEW, "twin", id="vetoed"
        ),
        pytest.param(
            [person("p", THRESHOLDS.family, vetoes=(Veto.TWIN,))],
            Outcome.REVIEW,
            "twin",
            id="a weak twin is not hidden",
        ),
        pytest.param(
            [person("p", THRESHOLDS.family - 0.1, vetoes=(Veto.GENERATION,))],
            Outcome.NEW,
            "no-candidate",
            id="a very weak father is",
        ),
        pytest.param(
            [person("p", 20), person("q", 20 - MARGIN)], Outcome.LINK, "clear", id="at the margin"
        ),
        pytest.param(
            [person("p", 20), person("q", 20.1 - MARGIN)], Outcome.REVIEW, "margin", id="too close"
        ),
        pytest.param(
            [person("p", 20), person("q", 19, vetoes=(Veto.SSN,))],
            Outcome.REVIEW,
            "margin",
            id="too close to one that is vetoed",
        ),
        pytest.param(
            [person("p", 20), person("q", 19, denied=True)],
            Outcome.REVIEW,
            "margin",
            id="that it is not the one does not prove that it is the other",
        ),
        pytest.param([person("p", 20, -21)], Outcome.REVIEW, "mean", id="one record fits, one not"),
        pytest.param([person("p", 20, -20)], Outcome.LINK, "clear", id="the mean is just enough"),
        pytest.param(
            [person("p", 20, unscored=6)], Outcome.REVIEW, "mean", id="20 - 6 * 4 bits < 0"
        ),
        pytest.param(
            [person("p", 20, 10, vetoes=(Veto.NO_BIRTH_DATE,))],
            Outcome.LINK,
            "clear",
            id="one record lacks the date, another has it",
        ),
    ],
)  # fmt: skip
def test_a_record_is_linked_only_when_everything_speaks_for_it(
    persons: list[PersonScore], outcome: Outcome, reason: str
):
    decision = decide(persons, THRESHOLDS)
    assert (decision.outcome, decision.reason) == (outcome, reason)
    assert (decision.person_id is not None) is (outcome is Outcome.LINK)
    assert decide(reversed(persons), THRESHOLDS) == decision


@pytest.mark.parametrize("bits", sorted(permutations((28.9, 3.7, -32.6))))
def test_the_order_of_a_persons_records_does_not_decide(bits: tuple[float, ...]):
    # Added one after the other they come to 0, or to a little less than that.
    assert decide([person("p", *bits)], THRESHOLDS).reason == "mean"


def test_a_second_person_that_fits_is_reported_as_a_duplicate():
    decision = decide([person("p", 30), person("q", 20), person("r", 2)], THRESHOLDS)
    assert (decision.person_id, decision.duplicates) == ("p", ("q",))


def test_the_task_shows_the_best_candidates_with_grade_and_vetoes():
    decision = decide(
        [person("p", 30, vetoes=(Veto.TWIN,)), *(person(f"q{n}", n) for n in range(8))], THRESHOLDS
    )
    shown = candidates(decision, THRESHOLDS)
    assert (task_kind(decision), len(shown)) == (TaskKind.TWIN, 5)
    assert (shown[0].person_id, shown[0].grade, shown[0].vetoes) == (
        "p", MatchGrade.POSSIBLE, (Veto.TWIN,)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("persons", "kind"),
    [
        ([person("p", 20), person("q", 20)], TaskKind.MARGIN),
        ([person("p", 3)], TaskKind.POSSIBLE),
        ([person("p", 20, vetoes=(Veto.SSN,))], TaskKind.POSSIBLE),
    ],
)
def test_the_kind_of_task_says_what_is_asked(persons: list[PersonScore], kind: TaskKind):
    assert task_kind(decide(persons, THRESHOLDS)) is kind


def test_a_deterministic_hit_counts_where_it_says_more_than_the_score():
    # First name, birth date and email: CMS-12. The surname and the home are others'.
    one = demographics(email="n@b.org", phone=None)
    other = demographics(
        email="n@b.org", phone="781-234-0000", family="Castellano", line="3 Quarry Rd", zip5="02138"
    )
    pair = MATCHER.pair(SourceRecordId("r"), one, other)
    assert pair.hit == Hit(id="CMS-12", collision=2e-12)
    assert pair.strength == pair.hit.bits(MODEL.prior_bits) > pair.score.bits
    assert pair.vetoes == ()


def test_the_explanation_names_levels_and_never_values():
    pair = MATCHER.pair(SourceRecordId("r"), demographics(), demographics(family="Quinlen"))
    decision = decide([judge_person(PersonId("p"), [pair], THRESHOLDS)], THRESHOLDS)
    said = explain(decision, "m1", -20.0)
    assert said["persons"][0]["records"][0]["evidence"][0][:2] == ["name", "last-typo"]
    assert said["persons"][0]["records"][0]["rule"]["id"] == "CMS-H14-I01"
    assert not {"nora", "quinlan", "1971", "orchard", "2348871"} & set(str(said).lower().split("'"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0),
        ({"family": "Castellano", "line": "3 Quarry Road"}, 0),
        ({"given": ["Peter"]}, 1),
        ({"given": ["Peter"], "gender": "male"}, 2),
        ({"given": ["Peter"], "gender": "male", "born": "1999-12-24"}, 3),
        ({"born": "1971-03-09"}, 0),
        ({"given": ["BABY GIRL"], "born": "1900-01-01"}, 0),
    ],
)
def test_contradictions_are_counted_over_what_both_versions_hold(
    changes: dict[str, object], expected: int
):
    assert MATCHER.contradictions(demographics(), demographics(**changes)) == expected


def test_learnt_shares_change_the_score():
    matcher = Matcher(SETTINGS)
    before = matcher.pair(SourceRecordId("r"), demographics(), demographics()).score.bits
    matcher.learn(lambda field, _value: 0.00034 if field == "last" else None)
    after = matcher.pair(SourceRecordId("r"), demographics(), demographics()).score.bits
    assert after - before == pytest.approx(1.0)  # log2(0.00068 / 0.00034)


def test_a_stricter_threshold_turns_links_into_reviews():
    strict = replace(THRESHOLDS, auto=99)
    assert decide([person("p", 30)], strict).outcome is Outcome.REVIEW
