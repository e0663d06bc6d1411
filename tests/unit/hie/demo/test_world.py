"""The demo's people: the truth is complete, identifiers are unique, dates make sense."""

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from hie.demo.lists import load_lists
from hie.demo.people import plain_letters
from hie.demo.records import build_world
from hie.demo.score import relation
from hie.demo.world import Case, Person


def test_the_same_lists_give_the_same_world(config):
    assert build_world(load_lists(config / "demo")) == build_world(load_lists(config / "demo"))


def test_another_seed_gives_other_people(scene):
    plan = replace(scene.lists.plan, seed=1)
    other = build_world(replace(scene.lists, plan=plan))
    assert [p.name for p in other.people] != [p.name for p in scene.world.people]


def test_there_are_about_two_hundred_people(scene):
    assert 180 <= len(scene.world.people) <= 240


@pytest.mark.parametrize("case", list(Case))
def test_every_case_occurs(scene, case):
    assert any(p.case is case for p in scene.world.people)


def test_people_are_found_by_their_number(scene):
    assert all(scene.world.person(p.number) is p for p in scene.world.people)


def test_no_source_gives_a_number_twice(scene):
    numbers = Counter(known.key for known in scene.world.truth())
    assert max(numbers.values()) == 1


def test_every_registration_has_a_number_in_the_form_of_its_source(scene):
    for person in scene.world.people:
        for known in person.registrations:
            form = scene.lists.senders[known.source].number
            digits = "".join(c for c in known.value if c.isdigit())
            assert known.value == form.format(int(digits))


def test_only_one_person_is_known_to_all_five_sources(scene):
    everywhere = [
        p
        for p in scene.world.people
        if len({r.source for r in p.registrations}) == len(scene.lists.senders)
    ]
    assert [p.case for p in everywhere] == [Case.FIVE_SOURCES]
    assert scene.world.heroine in everywhere


def test_registrations_come_after_birth_and_before_the_end(scene):
    for person in scene.world.people:
        for known in person.registrations:
            assert known.at.date() >= person.truth.birth_date
            assert known.at < scene.world.as_of


def test_a_correction_comes_after_its_registration(scene):
    for person in scene.world.people:
        for known in person.registrations:
            assert (known.corrected is None) == (known.corrected_at is None)
            if known.corrected_at:
                assert known.corrected_at > known.at
                assert known.known_at(known.corrected_at) == known.corrected
                before = known.corrected_at - timedelta(seconds=1)
                assert known.known_at(before) == known.recorded


def test_twins_share_birth_house_and_name_and_nothing_else(scene):
    by_household: dict[int, list[Person]] = {}
    for person in scene.world.people:
        if person.case is Case.TWIN:
            by_household.setdefault(person.household, []).append(person)
    assert len(by_household) >= 2
    for first, second in by_household.values():
        assert relation(first, second) == "twins"
        assert first.truth.family == second.truth.family
        assert first.truth.address == second.truth.address
        assert first.truth.given != second.truth.given
        assert (first.truth.birth_order, second.truth.birth_order) == (1, 2)
        shared = {r.source for r in first.registrations} & {r.source for r in second.registrations}
        assert len(shared) >= 2


def test_twins_have_neighbouring_numbers_where_they_were_registered_together(scene):
    for first, second in pairwise(p for p in scene.world.people if p.case is Case.TWIN):
        if first.household != second.household:
            continue
        ours, theirs = first.registrations[0], second.registrations[0]
        assert int(theirs.value.strip("BGWL-")) - int(ours.value.strip("BGWL-")) == 1


def test_father_and_son_share_name_and_house(scene):
    pairs = [(a, b) for a, b in pairwise(scene.world.people) if relation(a, b).startswith("father")]
    fathers_and_sons = [p for p in scene.world.people if p.case is Case.FATHER_SON]
    assert len(fathers_and_sons) == 8
    for father in fathers_and_sons[::2]:
        son = next(p for p in fathers_and_sons if p.household == father.household and p != father)
        assert (father.truth.suffix, son.truth.suffix) == ("Sr", "Jr")
        assert relation(father, son) == "father and son of one name"
        years = (son.truth.birth_date - father.truth.birth_date).days / 365.25
        assert 20 <= years <= 35
    assert all(a.case is b.case is Case.FATHER_SON for a, b in pairs)


def test_newborns_have_no_name_at_first_and_a_mother_of_age(scene):
    newborns = [p for p in scene.world.people if p.case is Case.NEWBORN]
    for child in newborns:
        first = child.registrations[0]
        assert first.recorded.given.startswith(("BABY BOY", "BABY GIRL"))
        assert first.corrected is not None
        assert first.corrected.given == child.truth.given
        mother = scene.world.person(child.mother)
        assert mother.truth.sex == "female"
        assert 16 <= mother.age_at(child.truth.birth_date) <= 50


def test_parents_are_grown_up_when_a_child_is_born(scene):
    for a in scene.world.people:
        children = [
            b
            for b in scene.world.people
            if b.household == a.household and b.truth.birth_date > a.truth.birth_date
        ]
        for child in children:
            gap = child.truth.birth_date.year - a.truth.birth_date.year
            assert gap < 18 or gap >= 20 or a.case is Case.PLAIN


def test_the_second_record_of_a_doubled_person_goes_into_the_first(scene):
    for person in scene.world.people:
        merged = [r for r in person.registrations if r.merged_into]
        assert bool(merged) == (person.case is Case.DUPLICATE)
        for known in merged:
            survivor = person.at_source(known.source)
            assert survivor is not None
            assert known.merged_into == survivor.value
            assert known.value != survivor.value


@pytest.mark.parametrize(
    ("case", "field"),
    [
        (Case.MISTYPED, ("family", "given")),
        (Case.NICKNAME, ("given",)),
        (Case.SWAPPED_DATE, ("birth_date",)),
        (Case.PLACEHOLDER, ("tax_number",)),
        (Case.MARRIED, ("family",)),
        (Case.MOVED, ("address",)),
    ],
)
def test_what_is_odd_about_a_case_shows_in_one_record(scene, case, field):
    for person in (p for p in scene.world.people if p.case is case):
        values = {
            tuple(getattr(r.recorded, name) for name in field)
            for r in person.registrations
            if case is not Case.PLACEHOLDER or r.recorded.tax_number
        }
        truth = tuple(getattr(person.truth, name) for name in field)
        assert values - {truth}, person.number


def test_national_numbers_are_of_a_range_never_issued_or_placeholders(scene):
    placeholders = set(scene.lists.plan.placeholder_ssns)
    numbers = {
        r.recorded.tax_number
        for p in scene.world.people
        for r in p.registrations
        if r.recorded.tax_number
    }
    assert numbers & placeholders
    assert all(n.startswith("9007") and len(n) == 9 for n in numbers - placeholders)


def test_phone_numbers_have_the_form_of_real_ones(scene):
    for person in scene.world.people:
        phone = person.truth.phone
        if phone:
            assert len(phone) == 10
            assert phone[:3] in {"508", "978", "413"}
            assert phone[3:6] != "555"
            assert phone[3] not in "01"


def test_nobody_lives_where_mail_could_arrive(scene):
    assert all(p.truth.address.zip_code.startswith("004") for p in scene.world.people)


def test_plain_letters_leave_no_accent():
    assert plain_letters("Zoë Mendonça-O'Brien") == "Zoe Mendonca-O'Brien"


def test_chance_elsewhere_does_not_change_the_world(scene):
    random.seed(7)
    assert build_world(scene.lists) == scene.world
