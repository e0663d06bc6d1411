"""Persons out of scored pairs: what holds whatever the pairs are."""

import random
from collections.abc import Mapping
from itertools import combinations
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpi.decide import decide
from mpi.levels import Veto
from mpi.model import Outcome
from mpi.normalize import Normalizer
from mpi.offline.link import link
from mpi.offline.pairs import Edge, PairScorer
from mpi.offline.persons import Grouped, Grouper
from tests.conftest import IS_LONG
from tests.support.memory_index import TODAY
from tests.support.mpi import SETTINGS, THRESHOLDS
from tests.support.people import father_and_son_pairs, population, twin_pairs

NORMALIZER = Normalizer(SETTINGS.forms, SETTINGS.defaults)
Bits = Mapping[tuple[int, int], tuple[float, tuple[Veto, ...]]]


class Scores:
    """Pairs with the strength they are given; all others are far apart."""

    def __init__(self, bits: Bits) -> None:
        self._bits = bits

    def edge(self, one: int, other: int) -> Edge:
        bits, vetoes = self._bits.get((one, other), (-30.0, ()))
        return Edge(one=one, other=other, bits=bits, vetoes=vetoes, answers=frozenset())


def grouped(count: int, bits: Bits) -> tuple[Grouper, Grouped]:
    scores = Scores(bits)
    edges = [scores.edge(*pair) for pair in bits]
    grouper = Grouper(count, edges, cast(PairScorer, scores), THRESHOLDS)
    return grouper, grouper.group()


def persons(count: int, bits: Bits) -> set[frozenset[int]]:
    return {frozenset(members) for members in grouped(count, bits)[1].members.values()}


def plain(**bits: float) -> Bits:
    """`ab=20` for the pair of the records 0 and 1."""
    return {("abcdef".index(k[0]), "abcdef".index(k[1])): (v, ()) for k, v in bits.items()}


def test_who_is_near_everybody_is_one_person():
    assert persons(3, plain(ab=20, bc=20, ac=12)) == {frozenset((0, 1, 2))}


def test_a_path_of_strong_pairs_is_no_person():
    assert persons(3, plain(ab=30, bc=20, ac=-40)) == {frozenset((0, 1)), frozenset((2,))}


def test_one_between_two_who_are_not_one_is_left_to_a_human():
    assert len(persons(3, plain(ab=20, bc=19, ac=-40))) == 3


def test_a_weak_pair_does_not_part_those_whom_the_others_hold_together():
    assert persons(4, plain(ab=30, ac=28, ad=26, bc=24, bd=22, cd=1)) == {frozenset(range(4))}


def test_two_groups_that_agree_on_the_whole_become_one():
    bits = plain(ab=40, cd=39, ac=12, ad=10, bc=11, bd=9)
    assert persons(4, bits) == {frozenset(range(4))}


def test_two_groups_that_disagree_on_the_whole_stay_two():
    bits = plain(ab=40, cd=39, ac=12, ad=-10, bc=-11, bd=-9)
    assert persons(4, bits) == {frozenset((0, 1)), frozenset((2, 3))}


def test_a_vetoed_record_keeps_the_group_it_would_have_joined():
    bits = dict(plain(ab=40, ac=35, bc=30)) | {(1, 2): (30.0, (Veto.TWIN,))}
    assert persons(3, bits) == {frozenset((0, 1)), frozenset((2,))}


STRENGTHS = st.floats(min_value=-20, max_value=40).map(lambda bits: round(bits, 3))
VETOES = st.sampled_from(
    [(), (), (), (Veto.TWIN,), (Veto.SSN,), (Veto.FIRST_NAME,), (Veto.NO_BIRTH_DATE,)]
)
COUNT = 7
ALL_PAIRS = list(combinations(range(COUNT), 2))
WORLDS = st.lists(
    st.tuples(STRENGTHS, VETOES), min_size=len(ALL_PAIRS), max_size=len(ALL_PAIRS), unique=True
).map(lambda scores: dict(zip(ALL_PAIRS, scores, strict=True)))


@given(WORLDS)
def test_nobody_is_in_two_persons_and_no_veto_stands_within_one(bits):
    _, found = grouped(COUNT, bits)
    assert sorted(place for members in found.members.values() for place in members) == list(
        range(COUNT)
    )
    for members in found.members.values():
        for pair in combinations(members, 2):
            assert not any(not veto.is_lack for veto in bits[pair][1])


@given(WORLDS)
def test_what_the_rules_refuse_has_a_reason(bits):
    _, found = grouped(COUNT, bits)
    for pair, (strength, _) in bits.items():
        is_apart = found.person_of[pair[0]] != found.person_of[pair[1]]
        assert (pair in found.refused) == (is_apart and strength >= THRESHOLDS.auto)


@given(WORLDS)
def test_nobody_is_left_whom_the_rules_would_still_join(bits):
    grouper, found = grouped(COUNT, bits)
    for one, other in combinations(found.members, 2):
        seen = [grouper.judge(one, o) for o in found.members if o != one]
        back = [grouper.judge(other, o) for o in found.members if o != other]
        is_both = all(
            (decision := decide(view, THRESHOLDS)).outcome is Outcome.LINK
            and decision.person_id == str(wanted)
            for view, wanted in ((seen, other), (back, one))
        )
        assert not is_both


@given(WORLDS, st.permutations(range(COUNT)))
def test_the_numbering_of_records_does_not_decide(bits, order):
    if len({strength for strength, _ in bits.values()}) < len(bits):
        return  # equal strengths are taken in the order of the ids
    renamed = {
        tuple(sorted((order[one], order[other]))): score for (one, other), score in bits.items()
    }
    expected = {frozenset(order[place] for place in members) for members in persons(COUNT, bits)}
    assert persons(COUNT, renamed) == expected


def together(pairs) -> tuple[int, int, int]:
    """Of pairs of sightings, put into one file: how many, how many linked, how many listed."""
    ids = [tuple(f"{s.source}{s.mrn}" for s in pair) for pair in pairs]
    records = {
        record_id: NORMALIZER.demographics(sighting.patient, TODAY)
        for pair, of_pair in zip(pairs, ids, strict=True)
        for record_id, sighting in zip(of_pair, pair, strict=True)
    }
    linked = link(records, SETTINGS, lambda *_: None)
    person = {record_id: person_id for record_id, person_id, *_ in linked.links()}
    listed = {frozenset((row[0], row[1])) for row in linked.pairs()}
    return (
        len(ids),
        sum(person[one] == person[other] for one, other in ids),
        sum(frozenset(pair) in listed for pair in ids),
    )


def test_twins_in_a_file_are_not_linked_and_none_are_hidden():
    count, linked, listed = together(list(twin_pairs(seed=301, count=3_000 if IS_LONG else 200)))
    assert linked <= count * 0.005
    assert listed >= count * 0.995


def test_father_and_son_in_a_file_are_not_linked_and_none_are_hidden():
    pairs = list(father_and_son_pairs(seed=302, count=3_000 if IS_LONG else 200))
    count, linked, listed = together(pairs)
    assert linked <= count * 0.001
    assert listed >= count * 0.995


# Python 3.12 and later warn of every fork beside a thread; the workers of a link start none.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_town_is_linked_the_same_in_any_order_and_with_any_number_of_processes():
    records = {
        f"{s.source}{s.mrn}": NORMALIZER.demographics(s.patient, TODAY)
        for s in population(seed=303, humans=2_000 if IS_LONG else 150)
    }
    shuffled = list(records.items())
    random.Random(1).shuffle(shuffled)
    outputs = [
        (list(linked.links()), list(linked.pairs()))
        for given_records, jobs in ((records, 1), (dict(shuffled), 1), (records, 2))
        for linked in [link(given_records, SETTINGS, lambda *_: None, jobs)]
    ]
    assert outputs[0] == outputs[1] == outputs[2]
    assert outputs[0][0]
